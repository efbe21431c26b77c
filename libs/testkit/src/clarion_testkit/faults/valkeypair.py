"""A Valkey primary with a replica that takes over, behind one address for clients."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis

from clarion_local.ports import LOOPBACK
from clarion_local.private_file import password_kept_in, write_private
from clarion_local.servers.valkey import ValkeyServer
from clarion_testkit.faults.asking import until
from clarion_testkit.faults.proxy import FaultProxy
from clarion_testkit.faults.signals import Signals
from clarion_testkit.faults.tool import Tool

_LINK_LIMIT: Final = timedelta(seconds=20)
_STOP_GRACE: Final = timedelta(seconds=3)


class ValkeyPair(Tool):
    """A primary and its replica under `folder`, with one password; clients come through `proxy`.

    Replication is asynchronous: what the primary acknowledged last may be missing on the replica.
    """

    def __init__(self, folder: Path) -> None:
        self.primary = ValkeyServer(folder / "primary")
        self.replica = ValkeyServer(folder / "replica")
        self.proxy = FaultProxy(0)

    def url(self) -> str:
        """Where clients connect, password included; stays the same after `promote`. Raises RuntimeError before the
        start."""
        one = urlsplit(self.primary.url())
        return urlunsplit(one._replace(netloc=f"{one.netloc.rpartition(':')[0]}:{self.proxy.port}"))

    async def start(self) -> None:
        """Start both; returns when the replica follows. Raises StartFailed, OSError, TimeoutError."""
        await self.primary.start()
        password = password_kept_in(self.primary.folder / "password")
        self.replica.folder.mkdir(mode=0o700, parents=True)
        write_private(self.replica.folder / "password", password + "\n")
        await self.replica.start()
        async with Redis.from_url(self.primary.url()) as primary, Redis.from_url(self.replica.url()) as replica:
            # It would wait five seconds for more replicas to come.
            await primary.config_set("repl-diskless-sync-delay", 0)
            await replica.config_set("primaryauth", password)
            await replica.replicaof(LOOPBACK, self.primary.port)

            async def follows() -> bool:
                return bool((await replica.info("replication"))["master_link_status"] == "up")

            await until(follows, _LINK_LIMIT)
        await self.proxy.start()
        await self.proxy.repoint(self.primary.port)

    async def stop(self) -> None:
        await self.proxy.stop()
        await asyncio.gather(self.primary.stop(_STOP_GRACE), self.replica.stop(_STOP_GRACE))

    async def kill_primary(self) -> None:
        """SIGKILL; clients lose their connections, and new ones are reset until `promote`."""
        async with Signals() as signals:
            await signals.kill(self.primary.process.pid)

    async def promote(self) -> None:
        """Make the replica a primary and lead clients to it, resetting connections that are still open."""
        async with Redis.from_url(self.replica.url()) as replica:
            await replica.replicaof("NO", "ONE")
        await self.proxy.repoint(self.replica.port)
