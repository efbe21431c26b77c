"""Deaths of daemons: killed anywhere, at a named point, frozen past a lease, stopped while something is away."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

from clarion_kit import crash, mesh
from tests.adversity.faults.base import Fault, Part, demand, fired
from tests.adversity.world import LEASE, STOP_GRACE

_WORK_SECONDS = 40.0
"""How long an armed replica may wait for work to die of."""
_BUSY = ("dispatcher_ios", "dispatcher_android", "dispatcher_email")


class _Death(Fault):
    """One replica of some daemon."""

    daemons: ClassVar[Sequence[str]]
    replica: str = ""
    status: int | None = None

    def choose(self) -> str:
        self.replica = self.one_of(self.world.fleet.names(self.one_of(self.daemons)))
        return self.replica

    async def heal(self) -> None:
        if self.replica and not self.world.fleet.running(self.replica):
            await self.world.fleet.start(self.replica)


class Killed(_Death):
    """SIGKILL at any moment."""

    async def inject(self) -> None:
        await self.world.fleet.kill(self.choose())

    async def prove(self) -> None:
        fired(bool(self.replica), "no replica was killed")


class AtPoint(_Death):
    """Ended by a crash point, at the next piece of work."""

    points: ClassVar[Sequence[str]]
    share = 3

    async def inject(self) -> None:
        fleet = self.world.fleet
        await fleet.kill(self.choose())
        await fleet.start(
            self.replica, {"CLARION_CRASH_POINT": self.one_of(self.points)}, may_end=True, serving_within=None
        )

    async def hold(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_WORK_SECONDS):
                self.status = await self.world.fleet.until_ended(self.replica)

    async def heal(self) -> None:
        if self.status is None:
            # Nothing came that it could have died of; it must not die of something later.
            await self.world.fleet.kill(self.replica)
        await super().heal()

    async def prove(self) -> None:
        fired(self.status == crash.EXIT_STATUS, f"{self.replica} ended with {self.status}, not at its point")


class GatewayBeforeCommit(AtPoint):
    row, name = 1, "gateway dies before COMMIT"
    parts, daemons, points = (Part.GATEWAY,), (mesh.GATEWAY,), ("accept.before_commit",)


class GatewayAfterCommit(AtPoint):
    row, name = 2, "gateway dies after COMMIT, before its answer"
    parts, daemons, points = (Part.GATEWAY,), (mesh.GATEWAY,), ("accept.after_commit",)


class GatewayKilled(Killed):
    row, name = 1, "gateway killed at any moment"
    parts, daemons = (Part.GATEWAY,), (mesh.GATEWAY,)
    share = 6


class PlannerAtPoint(AtPoint):
    row, name = 18, "planner dies around its COMMIT: what it planned is handed out again"
    parts, daemons, points = (Part.PLANNER,), ("planner",), ("plan.before_commit", "plan.after_commit")


class DispatcherAfterSend(AtPoint):
    row, name = 20, "dispatcher dies after the provider's OK, before its record"
    parts, daemons, points = (Part.DISPATCHERS,), _BUSY, ("record.before_commit",)


class DispatcherAtPoint(AtPoint):
    row, name = 20, "dispatcher dies around its claim, or after its record"
    parts, daemons = (Part.DISPATCHERS,), _BUSY
    points = ("claim.before_commit", "claim.after_commit", "record.after_commit")


class DispatcherKilled(Killed):
    row, name = 20, "dispatcher killed with calls in flight"
    parts, daemons = (Part.DISPATCHERS,), mesh.DISPATCHERS


class DispatcherFrozen(_Death):
    row, name = 21, "dispatcher frozen past its lease, then resumed"
    parts, daemons = (Part.DISPATCHERS,), mesh.DISPATCHERS
    share = 1

    async def inject(self) -> None:
        self.world.fleet.freeze(self.choose())

    async def hold(self) -> None:
        await asyncio.sleep(LEASE.total_seconds() + 4)

    async def heal(self) -> None:
        self.world.fleet.thaw(self.replica)

    async def prove(self) -> None:
        fired(self.world.fleet.running(self.replica), f"{self.replica} did not outlive its freeze")


class SweeperFrozen(_Death):
    row, name = 8, "one of several sweepers frozen"
    parts, daemons = (Part.SCHEDULER,), ("scheduler",)
    hold_seconds = (2.0, 6.0)

    async def inject(self) -> None:
        self.world.fleet.freeze(self.choose())

    async def heal(self) -> None:
        self.world.fleet.thaw(self.replica)

    async def prove(self) -> None:
        fired(self.world.fleet.running(self.replica), f"{self.replica} did not outlive its freeze")


class SweeperKilled(Killed):
    row, name = 8, "one of several sweepers killed"
    parts, daemons = (Part.SCHEDULER,), ("scheduler",)


class Restarted(_Death):
    row, name = 30, "one replica of any daemon stopped and started"
    parts = (Part.GATEWAY, Part.PLANNER, Part.DISPATCHERS, Part.SCHEDULER, Part.PEERS, Part.SIDE)
    daemons = mesh.DAEMONS
    share = 6

    async def inject(self) -> None:
        self.status = await self.world.fleet.stop(self.choose(), STOP_GRACE)

    async def hold(self) -> None:
        """Nothing: it is started again at once."""

    async def prove(self) -> None:
        demand(self.status == 0, f"{self.replica} ended with {self.status} when it was asked to")


class PeerKilled(Killed):
    row, name = 30, "preference, template or rate limiter killed"
    parts, daemons = (Part.PEERS,), ("preference", "template", "rate_limiter")


class SideKilled(Killed):
    row, name = 30, "tracker or monitor killed"
    parts, daemons = (Part.SIDE,), ("tracker", "monitor")
    share = 2


class StoppedWhileAway(_Death):
    """SIGTERM while one server hangs or refuses."""

    row, name = 31, "SIGTERM while NATS or Valkey is away"
    parts = (
        Part.GATEWAY,
        Part.PLANNER,
        Part.DISPATCHERS,
        Part.SCHEDULER,
        Part.PEERS,
        Part.SIDE,
        Part.NATS,
        Part.VALKEY,
    )
    daemons = (mesh.GATEWAY, "planner", "scheduler", "rate_limiter", *mesh.DISPATCHERS)
    share = 2

    async def inject(self) -> None:
        lines = self.world.lines
        line = lines.valkey if self.choose() == "rate_limiter" else lines.nats
        line.blackhole()
        self.status = await self.world.fleet.stop(self.replica, STOP_GRACE)

    async def hold(self) -> None:
        """Nothing: the stop was the fault."""

    async def heal(self) -> None:
        self.world.lines.nats.heal()
        self.world.lines.valkey.heal()
        await super().heal()

    async def prove(self) -> None:
        demand(self.status != -signal.SIGKILL, f"{self.replica} did not end inside its grace")
