"""Addresses that a provider called dead, or opted out, on their way to the preference service.

Each waits a while, so that a lane which calls too many dead is stopped before they are disabled or suppressed. Best effort: what is
lost here is learned again at the next send to the address.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

QUEUE = 10_000
BATCH = 500
SETTLING = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class DeadAddress:
    """Dead as of `since` (aware UTC): a later registration wins. `opted_out`: it is good, and its owner sent STOP."""

    lane_id: int
    app_id: int
    address_id: UUID
    since: datetime
    opted_out: bool = False


class DeadAddresses:
    """A bounded queue and the job that empties it."""

    def __init__(
        self, report: Callable[[Sequence[DeadAddress]], Awaitable[None]], settling: timedelta = SETTLING
    ) -> None:
        self._report = report
        self._settling = settling.total_seconds()
        self._queue: deque[tuple[float, DeadAddress]] = deque(maxlen=QUEUE)

    def put(self, dead: DeadAddress) -> None:
        self._queue.append((time.monotonic() + self._settling, dead))

    def forget(self, lane_id: int) -> None:
        """Drop what a lane said that is not believed any more."""
        self._queue = deque((entry for entry in self._queue if entry[1].lane_id != lane_id), maxlen=QUEUE)

    async def flush(self) -> None:
        """Report what has waited long enough. Raises what `report` raises, with nothing lost."""
        now = time.monotonic()
        while self._queue and self._queue[0][0] <= now:
            batch: list[tuple[float, DeadAddress]] = []
            while self._queue and self._queue[0][0] <= now and len(batch) < BATCH:
                batch.append(self._queue.popleft())
            try:
                await self._report([dead for _, dead in batch])
            except BaseException:
                self._queue.extendleft(reversed(batch))
                raise
