"""A Postgres primary that acknowledges only what a standby has on disk too, and the standby that takes over."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from clarion_local.servers.postgres import SUPERUSER, PostgresServer
from clarion_testkit.faults.asking import until
from clarion_testkit.faults.signals import Signals
from clarion_testkit.faults.tool import Tool

STANDBY: Final = "standby"

_SYNC_LIMIT: Final = timedelta(seconds=30)
_STOP_GRACE: Final = timedelta(seconds=5)


class PostgresPair(Tool):
    """A primary and its synchronous standby under `folder`, with the same passwords."""

    def __init__(self, folder: Path, *, database: str = "clarion", settings: Mapping[str, str] | None = None) -> None:
        """`settings` are for both."""
        self.primary = PostgresServer(folder / "primary", database=database, settings=settings)
        self.standby = PostgresServer(folder / STANDBY, database=database, settings=settings)

    def url(self, user: str = SUPERUSER, password: str | None = None, database: str | None = None) -> str:
        """Both servers, for a driver that connects to the one that takes writes; `user` and so on as of one server.

        The syntax is that of libpq (PostgreSQL 18 documentation, 32.1.1.2); asyncpg reads it too.
        """
        one = urlsplit(self.primary.url(user, password, database))
        who, _, address = one.netloc.rpartition("@")
        other = urlsplit(self.standby.url(user, password, database)).netloc.rpartition("@")[2]
        return urlunsplit(one._replace(netloc=f"{who}@{address},{other}", query="target_session_attrs=read-write"))

    async def start(self) -> None:
        """Start both; returns when a commit waits for the standby. Raises what PostgresServer raises, TimeoutError."""
        await self.primary.start()
        await self.standby.copy(self.primary, STANDBY)
        await self.standby.start()
        connection = await asyncpg.connect(self.primary.url(), timeout=10)
        try:
            # Not before there is one: the primary's own first statements would wait for it.
            await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
            await connection.execute("SELECT pg_reload_conf()")
            await _synchronous(connection)
        finally:
            await connection.close(timeout=5)

    async def stop(self) -> None:
        # Together: the primary's shutdown waits for the standby to receive its last words.
        await asyncio.gather(self.primary.stop(_STOP_GRACE), self.standby.stop(_STOP_GRACE))

    async def kill_primary(self) -> None:
        """SIGKILL to every process of the primary. What is committed is on the standby."""
        async with Signals() as signals:
            await signals.kill(self.primary.process.pid, tree=True)

    async def promote(self) -> None:
        """Let the standby take writes, without a standby of its own. End the primary first, or there are two."""
        await self.standby.promote()


async def _synchronous(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    async def is_synchronous() -> bool:
        state = await connection.fetchval(
            "SELECT sync_state FROM pg_stat_replication WHERE application_name = $1 AND state = 'streaming'", STANDBY
        )
        return bool(state == "sync")

    await until(is_synchronous, _SYNC_LIMIT)
