"""How many deliveries a dispatcher may hold at once; urgent work always finds a fifth of it free."""

import asyncio
from collections import deque

from clarion_kit.vocabulary import Priority

URGENT_SHARE = 0.2


class Capacity:
    """Counts deliveries from claim to record; takers wait in order, urgent ones first."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._for_others = total - int(total * URGENT_SHARE)
        self._held = 0
        self._urgent: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()
        self.empty = asyncio.Event()
        self.empty.set()

    @property
    def held(self) -> int:
        return self._held

    async def take(self, wanted: int, priority: Priority) -> int:
        """Wait until there is room, then take between 1 and `wanted`; gives how many."""
        waiters = self._urgent if priority is Priority.URGENT else self._others
        while (room := self._room(priority)) < 1:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiters.append(waiter)
            try:
                await waiter
            finally:
                if not waiter.done() or waiter.cancelled():
                    waiters.remove(waiter)
        taken = min(wanted, room)
        self._held += taken
        self.empty.clear()
        return taken

    def give_back(self, count: int) -> None:
        self._held -= count
        if self._held == 0:
            self.empty.set()
        if self._room(Priority.URGENT) > 0:
            _wake(self._urgent)
        if self._room(Priority.NORMAL) > 0:
            _wake(self._others)

    def _room(self, priority: Priority) -> int:
        return (self._total if priority is Priority.URGENT else self._for_others) - self._held


def _wake(waiters: deque[asyncio.Future[None]]) -> None:
    while waiters:
        waiter = waiters.popleft()
        if not waiter.done():
            waiter.set_result(None)
            return
