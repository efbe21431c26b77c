"""Whose turn it is to plan: what is urgent goes first, then what is normal, and bulk goes on for all that.

A chunk is planned in pieces of some milliseconds of CPU each, with waits for other daemons and the ledger between them.
Before a piece a chunk lets more urgent ones that are in progress come to their end, in all no longer than its patience.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

from clarion_kit.vocabulary import Priority

PATIENCE = timedelta(milliseconds=150)
"""How long one chunk lets others pass in all: however many they are, each loop plans some chunks a second."""

Pause = Callable[[], Awaitable[None]]
"""Awaited before each piece of CPU."""


async def no_pause() -> None:
    """For who has nobody to let pass."""


class Turns:
    """The turns of one planner."""

    def __init__(self, patience: timedelta = PATIENCE) -> None:
        self._patience_seconds = patience.total_seconds()
        self._running: Counter[Priority] = Counter()
        self._clear = {priority: asyncio.Event() for priority in Priority}
        """Set while nothing more urgent than this is in progress."""
        for clear in self._clear.values():
            clear.set()
        self._bulk = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, priority: Priority) -> AsyncIterator[Pause]:
        """Within it a chunk is planned; gives what it is to await before each piece of CPU. While anything more urgent goes
        on, bulk is planned one chunk at a time: pieces that are due together would run one behind the other."""
        pause = _Turn(self._clear[priority], self._patience_seconds).pause
        async with AsyncExitStack() as held:
            self._note(priority, 1)
            held.callback(self._note, priority, -1)
            await pause()
            if priority is Priority.BULK and not (self._bulk.locked() and self._clear[priority].is_set()):
                await held.enter_async_context(self._bulk)
            yield pause

    def _note(self, priority: Priority, count: int) -> None:
        self._running[priority] += count
        for later, clear in self._clear.items():
            if any(self._running[earlier] for earlier in Priority if earlier < later):
                clear.clear()
            else:
                clear.set()


class _Turn:
    """One chunk, and how long it still lets others pass."""

    def __init__(self, clear: asyncio.Event, patience_seconds: float) -> None:
        self._clear = clear
        self._left_seconds = patience_seconds

    async def pause(self) -> None:
        await asyncio.sleep(0)
        while self._left_seconds > 0 and not self._clear.is_set():
            began = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._left_seconds):
                    await self._clear.wait()
            self._left_seconds -= time.monotonic() - began
