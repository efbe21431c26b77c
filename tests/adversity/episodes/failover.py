"""Servers that fail over, and a backlog that must not be published again and again (rows 49, 50)."""

import asyncio
from pathlib import Path

from clarion_kit.subjects import Stream
from clarion_local.servers.nats import NatsServer
from clarion_local.servers.postgres import PostgresServer
from clarion_local.servers.valkey import ValkeyServer
from clarion_testkit.faults.standby import PostgresPair
from clarion_testkit.faults.valkeypair import ValkeyPair
from tests.adversity.episodes.base import GENTLE, Episode
from tests.adversity.load import Rate
from tests.adversity.report import Report
from tests.adversity.trial import trial
from tests.adversity.world import Servers, mesh_around, started

_BEFORE = 300
_TAKES_OVER_WITHIN_SECONDS = 30.0
_BACKLOG_ROWS = 30_000
_PAUSE_SECONDS = 10.0
"""5 min at 1:30."""
_MOST_PER_ROW = 1.1 / 100


class Standby(Episode):
    name = "the primaries of Postgres and Valkey killed, their replicas take over"

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        async with PostgresPair(folder / "pair") as pair, ValkeyPair(folder / "valkeys") as valkeys:
            servers = Servers(pair.primary, NatsServer(folder / "nats"), valkeys.primary)
            async with (
                started(servers, but=(pair.primary, valkeys.primary)),
                mesh_around(servers, folder, database_url=pair.url(), valkey_url=valkeys.url()) as world,
                trial(world, GENTLE, seed, report) as running,
            ):
                await running.accepts(_BEFORE, 60)
                await valkeys.kill_primary()
                await asyncio.sleep(1)
                await valkeys.promote()
                running.struck(50, "the primary of Valkey killed, its replica takes over")
                await running.accepts(_BEFORE, 60)
                await pair.kill_primary()
                await pair.promote()
                report.log.recovered(self.name, await running.accepts(1, _TAKES_OVER_WITHIN_SECONDS))
                running.struck(49, "the primary of Postgres killed, its standby takes over")
                await running.accepts(_BEFORE, 60)
                await running.recovered(self.name)


class Backlog(Episode):
    name = "a backlog with its consumers paused"

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        servers = Servers(
            PostgresServer(folder / "postgres"), NatsServer(folder / "nats"), ValkeyServer(folder / "valkey")
        )
        fast = Rate(3_000, backlog=10 * _BACKLOG_ROWS)
        async with started(servers), mesh_around(servers, folder) as world, trial(world, fast, seed, report) as running:
            await world.lines.nats.refuse()
            await world.lines.nats.reset()
            await running.accepts(_BACKLOG_ROWS, 120)
            running.load.stop()
            # What they could not publish meanwhile waits in their clients' buffers and would come on top.
            for name in ("gateway", "scheduler"):
                await world.fleet.kill(name)
            world.fleet.freeze("planner")
            world.lines.nats.heal()
            _, before = await world.bus.stream_identity(Stream.PLAN)
            for name in ("gateway", "scheduler"):
                await world.fleet.start(name)
            await asyncio.sleep(_PAUSE_SECONDS)
            world.fleet.thaw("planner")
            rows = world.register.accepted
            await running.recovered(self.name)
            _, after = await world.bus.stream_identity(Stream.PLAN)
            running.struck(50, self.name)
            if after - before > rows * _MOST_PER_ROW:
                report.complaints.append(f"{after - before} messages were published for a backlog of {rows} rows")
