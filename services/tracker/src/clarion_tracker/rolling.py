"""The roll-up of events into statistics, done by one tracker at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from prometheus_client import Counter, Gauge

from clarion_kit.clock import Clock
from clarion_tracker.statistics import Kept

STEP = 10_000
"""Most events counted in one transaction: some tenths of a second."""
PRUNE_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Step:
    """What one step counted; `more`: it took as many as it may. Whatever was committed by `as_of` is counted."""

    events: int
    more: bool
    as_of: datetime


class Rollups(Protocol):
    """Counts in hours and days, and the cursor that they follow the events by."""

    async def mine(self) -> bool:
        """Whether counting is this tracker's job for now. Raises Unavailable."""
        ...

    async def step(self, most: int) -> Step:
        """Count what happened next: counts and cursor move together or not at all. Raises Unavailable."""
        ...

    async def prune(self, kept: Kept, limit: int) -> int:
        """Forget counts past their time, up to `limit` of each kind; gives how many. Raises Unavailable."""
        ...


class Roller:
    """Follows the events of the ledger. Two that think it is their job do no harm: they wait for each other and count on."""

    def __init__(self, rollups: Rollups, kept: Kept, counted: Counter, lag: Gauge, clock: Clock) -> None:
        self._rollups = rollups
        self._kept = kept
        self._counted = counted
        self._lag = lag
        self._clock = clock

    async def run(self, stopping: Callable[[], bool]) -> None:
        """Count all there is, where that is this tracker's job. Raises Unavailable."""
        while not stopping():
            # Asked before every step: catching up may take longer than the lease.
            if not await self._rollups.mine():
                self._lag.set(0)
                return
            step = await self._rollups.step(STEP)
            self._counted.inc(step.events)
            self._lag.set(max(0.0, (self._clock.now() - step.as_of).total_seconds()))
            if not step.more:
                return

    async def prune(self, stopping: Callable[[], bool]) -> None:
        """Forget old counts, where that is this tracker's job. Raises Unavailable."""
        while not stopping() and await self._rollups.mine():
            if not await self._rollups.prune(self._kept, PRUNE_LIMIT):
                return
