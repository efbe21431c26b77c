"""Addresses that a provider called dead, on their way to the preference service.

Best effort: what is lost here is learned again at the next send to the address.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

QUEUE = 10_000
BATCH = 500


@dataclass(frozen=True, slots=True)
class DeadAddress:
    """Dead as of `since` (aware UTC): a later registration wins."""

    app_id: int
    address_id: UUID
    since: datetime


class DeadAddresses:
    """A bounded queue and the job that empties it."""

    def __init__(self, report: Callable[[Sequence[DeadAddress]], Awaitable[None]]) -> None:
        self._report = report
        self._queue: deque[DeadAddress] = deque(maxlen=QUEUE)

    def put(self, dead: DeadAddress) -> None:
        self._queue.append(dead)

    async def flush(self) -> None:
        """Report what is queued. Raises what `report` raises, with nothing lost."""
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            try:
                await self._report(batch)
            except BaseException:
                self._queue.extendleft(reversed(batch))
                raise
