"""The runway: may fresh rows go straight to the bus, or do they rest in the ledger until the pump fetches them?

A lane has room while it holds less than about five seconds of its own measured rate; an app with older resting rows
queues behind them. Kept fresh by a job; between two looks the answer is the last one. A lane that is empty and that nobody
asks for is looked at in its turn only: at rest a daemon asks the bus for one lane a look.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle
from typing import Protocol

from clarion_kit.bus import BusUnavailable, LaneDepth
from clarion_kit.subjects import Lane
from clarion_ledger import flow
from clarion_ledger.db import Pool

REFRESH = timedelta(milliseconds=500)
RUNWAY_SECONDS = 5.0
LEAST_ROOM = 200
"""Messages a lane may always hold, whatever its rate: 20,000 ids when they come in full batches."""


@dataclass(slots=True)
class _Seen:
    at: float
    settled: int
    rate: float = 0.0
    room: int = LEAST_ROOM
    used: bool = True
    """It held messages, or somebody has asked for its room since."""


class Depths(Protocol):
    """The bus, as far as it is looked at here."""

    async def depth(self, lane: Lane) -> LaneDepth:
        """Raises BusUnavailable."""
        ...


class Runway:
    """The state of the lanes a daemon feeds."""

    def __init__(self, pool: Pool, bus: Depths, lanes: Sequence[Lane]) -> None:
        self._pool = pool
        self._bus = bus
        self._lanes = lanes
        self._seen: dict[Lane, _Seen] = {}
        self._resting: set[tuple[int, int, int]] = set()
        self._turns = cycle(lanes)

    def open_for(self, lane: Lane, app_id: int) -> bool:
        """Whether a fresh row of this app may be enqueued at once."""
        return self.room(lane) > 0 and (lane.channel or 0, lane.priority, app_id) not in self._resting

    def room(self, lane: Lane) -> int:
        """Messages the lane may take now; 0 where the bus was last seen away."""
        seen = self._seen.get(lane)
        if seen is None:
            return 0
        seen.used = True
        return seen.room

    def close(self, lane: Lane) -> None:
        """A publish was not confirmed: nothing more until the next look."""
        seen = self._seen.get(lane)
        if seen is not None:
            seen.room, seen.used = 0, True

    async def refresh(self) -> None:
        """Look at the lanes in use, at the next of the others and at who rests. Raises LedgerUnavailable; a bus that is away
        only closes its lanes."""
        turn = next(self._turns)
        away = False
        for lane in self._lanes:
            seen = self._seen.get(lane)
            if seen is not None and not seen.used and lane != turn:
                continue
            try:
                depth = await self._bus.depth(lane)
            except BusUnavailable:
                self._seen.pop(lane, None)
                away = True
                continue
            self._look(lane, depth.waiting + depth.pending, depth.settled)
        if away:  # what was not looked at now, next time
            for seen in self._seen.values():
                seen.used = True
        plans, deliveries = await flow.has_ready(self._pool)
        self._resting = {(0, priority, app_id) for priority, app_id in plans} | deliveries

    def _look(self, lane: Lane, held: int, settled: int) -> None:
        now = time.monotonic()
        seen = self._seen.setdefault(lane, _Seen(now, settled))
        elapsed = now - seen.at
        if elapsed > 0:
            rate = max(0, settled - seen.settled) / elapsed
            kept: float = 0.7 ** (elapsed / REFRESH.total_seconds())
            seen.rate = kept * seen.rate + (1 - kept) * rate
        seen.at, seen.settled, seen.used = now, settled, held > 0
        seen.room = max(0, int(max(LEAST_ROOM, RUNWAY_SECONDS * seen.rate)) - held)
