"""Outages in real time (rows 6, 9, 16), and a caller who does not ask again."""

import asyncio
from pathlib import Path

from clarion_client import Channel, ClarionError, Priority, RetryPolicy
from tests.adversity import shop
from tests.adversity.checker import Evidence, check
from tests.adversity.episodes.base import Episode
from tests.adversity.evidence import gather
from tests.adversity.load import Rate
from tests.adversity.report import Report
from tests.adversity.told import Told, Word
from tests.adversity.trial import trial
from tests.adversity.world import open_world

_FROZEN_SECONDS = 60.0
_AWAY_SECONDS = 300.0
"""The NATS client gives up by default after 60 attempts, 2 s apart."""
_TRICKLE = Rate(8, batchers=0, callers=2)
_MEMORY_LIMIT_BYTES = 250 << 20


class RealTime(Episode):
    name = "Postgres frozen for a minute, NATS away for five"

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        async with open_world(folder, replicas=1) as world, trial(world, _TRICKLE, seed, report) as running:
            await running.accepts(20, 60)
            async with world.frozen(world.servers.postgres.process):
                await asyncio.sleep(_FROZEN_SECONDS)
            running.struck(6, "Postgres frozen for 60 s, in real time")
            await running.accepts(5, 60)
            await running.recovered("Postgres frozen for 60 s, in real time")
            await world.lines.nats.refuse()
            await world.lines.nats.reset()
            for _ in range(int(_AWAY_SECONDS // 60)):
                before = world.register.accepted
                await asyncio.sleep(60)
                if world.register.accepted - before < 30:
                    report.complaints.append("the gateway accepted next to nothing while NATS was away")
            world.lines.nats.heal()
            running.struck(9, "NATS away for 5 min, in real time")
            running.struck(16, "NATS away for longer than its client's default reconnects, in real time")
            await running.recovered("NATS away for 5 min, in real time")


class CallerWithoutRetry(Episode):
    """A caller who sends once and believes in it, while gateways die before their COMMIT."""

    name = "a caller who never asks again"
    sends = 20

    async def run(self, folder: Path, seed: int, report: Report) -> None:
        async with open_world(folder, replicas=1) as world:
            fleet = world.fleet
            client = world.connect(RetryPolicy(max_attempts=1))
            believed: dict[str, Told] = {}
            async with client:
                await fleet.kill("gateway")
                await fleet.start("gateway", {"CLARION_CRASH_POINT": "accept.before_commit"}, may_end=True)
                for number in range(self.sends):
                    one = shop.notification(
                        f"believed-{number}", "p0", Channel.SMS, shop.AT_LEAST_ONCE, Priority.NORMAL
                    )
                    believed[one.event_id] = Told(Channel.SMS, False, "control", Word.OK, "believed")
                    try:
                        await client.send(one)
                    except ClarionError:
                        continue
            evidence = await gather(world.pool, world.app_id, world.sandbox_ledger, believed)
        verdict = check(Evidence(believed, evidence.stored, evidence.received))
        report.negative_controls[self.name] = len(verdict.missing) > 0
