"""Postgres: connections that die, a server that freezes, crashes, or is slow."""

import asyncio
from typing import ClassVar

from clarion_testkit.faults.connection import Direction
from tests.adversity.faults.base import Fault, Part, fired

_ALL_DAEMONS = (Part.GATEWAY, Part.PLANNER, Part.DISPATCHERS, Part.SCHEDULER, Part.PEERS)


class ConnectionsDie(Fault):
    row, name = 3, "connections to Postgres reset amid statements and commits"
    parts: ClassVar = (Part.POSTGRES,)
    share = 6
    cut = 0

    async def inject(self) -> None:
        line = self.world.lines.postgres
        self.cut = line.open_connections
        await line.reset()

    async def heal(self) -> None:
        """Nothing: new connections are made at once."""

    async def prove(self) -> None:
        fired(self.cut > 0, "no connection was open")


class BackendsEnded(Fault):
    row, name = 3, "statements of the gateways ended by the server"
    parts: ClassVar = (Part.POSTGRES,)
    share = 4
    ended = 0

    async def inject(self) -> None:
        self.ended = await self.world.pool.fetchval(
            """SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
               WHERE application_name = 'clarion-gateway'"""
        )

    async def heal(self) -> None:
        """Nothing: new connections are made at once."""

    async def prove(self) -> None:
        fired(self.ended > 0, "no session was ended")


class CommitAnswerLost(Fault):
    row, name = 3, "the answer to a COMMIT is lost"
    parts: ClassVar = (Part.POSTGRES,)
    share = 4
    dropped: asyncio.Event

    async def inject(self) -> None:
        self.dropped = self.world.lines.postgres.drop_next_reply()

    async def hold(self) -> None:
        async with asyncio.timeout(10):
            await self.dropped.wait()

    async def heal(self) -> None:
        """Nothing: the trap is spent."""

    async def prove(self) -> None:
        fired(self.dropped.is_set(), "no answer was dropped")


class PostgresFrozen(Fault):
    row, name = 6, "Postgres frozen"
    parts: ClassVar = (Part.POSTGRES, *_ALL_DAEMONS)
    share = 3
    frozen_seconds = (1.5, 2.5)
    """60 s at 1:30."""
    stood = False

    async def inject(self) -> None:
        async with self.world.frozen(self.world.servers.postgres.process):
            await asyncio.sleep(self.random.uniform(*self.frozen_seconds))
            self.stood = True

    async def hold(self) -> None:
        """Nothing: it was frozen by `inject`."""

    async def heal(self) -> None:
        """Nothing: it goes on by itself."""

    async def prove(self) -> None:
        fired(self.stood, "the server did not stand still")


class PostgresUnreachable(Fault):
    row, name = 6, "Postgres hangs: nothing comes back from it"
    parts: ClassVar = (Part.POSTGRES, *_ALL_DAEMONS)
    share = 3
    hold_seconds = (1.5, 2.5)
    heard = 0

    async def inject(self) -> None:
        line = self.world.lines.postgres
        self.heard = line.bytes_through[Direction.TO_SERVER]
        line.blackhole(Direction.TO_CLIENT)

    async def heal(self) -> None:
        self.world.lines.postgres.heal()

    async def prove(self) -> None:
        fired(self.world.lines.postgres.bytes_through[Direction.TO_SERVER] > self.heard, "nobody asked meanwhile")
