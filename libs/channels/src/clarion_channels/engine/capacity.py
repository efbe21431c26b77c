"""How many deliveries a dispatcher may hold at once; urgent work always finds a fifth of it free, and bulk fills a quarter.

A flood of bulk must not stand between a normal delivery and its provider: what is in hand shares one event loop, and a
quarter of the slots keeps the accounts as busy as all of them would.

A large delivery takes several slots, so that memory is bounded as well. Its size is known only once it is claimed: what it
takes beyond its first slot may pass the limit, by one claim at most for each of those that claim.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from clarion_kit.vocabulary import Priority

URGENT_SHARE = 0.2
BULK_SHARE = 0.25
SLOT_BYTES = 16 << 10


def slots_of(content: bytes) -> int:
    """How many slots a delivery takes, by its sealed content."""
    return 1 + len(content) // SLOT_BYTES


@dataclass(slots=True)
class _Taker:
    """Someone in the queue; `taken` becomes how many it was given."""

    wanted: int
    priority: Priority
    taken: asyncio.Future[int]


class Capacity:
    """Counts deliveries from claim to record; takers are served in order, urgent ones first. None waits behind bulk that has
    its share."""

    def __init__(self, total: int) -> None:
        for_others = total - int(total * URGENT_SHARE)
        self._limits = {Priority.URGENT: total, Priority.NORMAL: for_others, Priority.BULK: for_others}
        self._most_bulk = max(1, int(total * BULK_SHARE))
        self._held = Counter[Priority]()
        self._urgent: deque[_Taker] = deque()
        self._others: deque[_Taker] = deque()
        self.empty = asyncio.Event()
        self.empty.set()

    @property
    def held(self) -> int:
        return self._held.total()

    async def take(self, wanted: int, priority: Priority) -> int:
        """Wait until there is room, then take between 1 and `wanted`; gives how many."""
        taker = _Taker(wanted, priority, asyncio.get_running_loop().create_future())
        (self._urgent if priority is Priority.URGENT else self._others).append(taker)
        self._serve()
        try:
            return await taker.taken
        except asyncio.CancelledError:
            if not taker.taken.cancelled():
                self.give_back({priority: taker.taken.result()})
            raise

    def give_back(self, slots: Mapping[Priority, int]) -> None:
        """Free so many slots of each priority; fewer than none: take more without waiting."""
        self._held.subtract(slots)
        if self.held == 0:
            self.empty.set()
        self._serve()

    def _serve(self) -> None:
        self._serve_queue(self._urgent)
        self._serve_queue(self._others)

    def _serve_queue(self, queue: deque[_Taker]) -> None:
        for _ in range(len(queue)):
            taker = queue.popleft()
            if taker.taken.cancelled():
                continue
            room = self._room(taker.priority)
            if room > 0:
                taken = min(taker.wanted, room)
                self._held[taker.priority] += taken
                self.empty.clear()
                taker.taken.set_result(taken)
            else:
                queue.append(taker)

    def _room(self, priority: Priority) -> int:
        room = self._limits[priority] - self.held
        return min(room, self._most_bulk - self._held[Priority.BULK]) if priority is Priority.BULK else room
