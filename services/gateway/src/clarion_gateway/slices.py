"""Large calls are prepared in slices, so that the few notifications of others pass between them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

SLICE = 20
"""Notifications checked and sealed in one piece: under a millisecond of the event loop."""


PASSES = 4
"""How often the event loop goes round between two slices: a call comes to its handler, and its answer out, by several such
steps."""


class Slices:
    """One call of an app at a time, and of all apps one slice each in turn; between two slices the event loop looks at
    everything else. What waits here is bounded by the calls that the server takes."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._calls: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def call_of(self, app_id: int) -> AsyncIterator[None]:
        """Around a whole call: the app's earlier calls are prepared by then, so they can be stored meanwhile."""
        call = self._calls.setdefault(app_id, asyncio.Lock())
        async with call:
            yield

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Around one slice. Nobody else's begins before the event loop went round."""
        async with self._turn:
            yield
            for _ in range(PASSES):
                await asyncio.sleep(0)
