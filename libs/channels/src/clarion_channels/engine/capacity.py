"""How many deliveries a dispatcher may hold at once; urgent work always finds a fifth of it free.

A large one takes several slots, so that memory is bounded as well. Its size is known only once it is claimed: what it takes
beyond its first slot may pass the limit, by one claim at most for each of those that claim.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from clarion_kit.vocabulary import Priority

URGENT_SHARE = 0.2
SLOT_BYTES = 16 << 10


def slots_of(content: bytes) -> int:
    """How many slots a delivery takes, by its sealed content."""
    return 1 + len(content) // SLOT_BYTES


@dataclass(slots=True)
class _Taker:
    """Someone in the queue; `taken` becomes how many it was given."""

    wanted: int
    taken: asyncio.Future[int]


class Capacity:
    """Counts deliveries from claim to record; takers are served in order, urgent ones first."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._for_others = total - int(total * URGENT_SHARE)
        self._held = 0
        self._urgent: deque[_Taker] = deque()
        self._others: deque[_Taker] = deque()
        self.empty = asyncio.Event()
        self.empty.set()

    @property
    def held(self) -> int:
        return self._held

    async def take(self, wanted: int, priority: Priority) -> int:
        """Wait until there is room, then take between 1 and `wanted`; gives how many."""
        taker = _Taker(wanted, asyncio.get_running_loop().create_future())
        (self._urgent if priority is Priority.URGENT else self._others).append(taker)
        self._serve()
        try:
            return await taker.taken
        except asyncio.CancelledError:
            if not taker.taken.cancelled():
                self.give_back(taker.taken.result())
            raise

    def give_back(self, count: int) -> None:
        """Free `count` slots; fewer than none: take more without waiting."""
        self._held -= count
        if self._held == 0:
            self.empty.set()
        self._serve()

    def _serve(self) -> None:
        self._serve_queue(self._urgent, self._total)
        self._serve_queue(self._others, self._for_others)

    def _serve_queue(self, queue: deque[_Taker], limit: int) -> None:
        while queue and self._held < limit:
            taker = queue.popleft()
            if taker.taken.cancelled():
                continue
            taken = min(taker.wanted, limit - self._held)
            self._held += taken
            self.empty.clear()
            taker.taken.set_result(taken)
