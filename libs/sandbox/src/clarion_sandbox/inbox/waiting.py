"""Waiting for the next message, within bounds."""

import asyncio
from collections.abc import Callable

MAX_WAITERS = 32
MAX_WAIT_SECONDS = 20.0
_LOOK_EVERY_SECONDS = 0.2


class TooManyWaiters(Exception):
    """As many pages wait as may."""


class Arrivals:
    """Lets requests wait for a message newer than the one they know.

    The ledger is looked at five times a second instead of waking waiters: under load, thousands of messages a second
    would each answer every waiting page.
    """

    def __init__(self, newest: Callable[[], int]) -> None:
        self._newest = newest
        self._waiting = 0
        self._closed = asyncio.Event()

    async def beyond(self, known: int, seconds: float) -> None:
        """Return once the newest is another than ``known``, after ``seconds``, or when closed.

        Raises:
            TooManyWaiters: there are ``MAX_WAITERS`` already.
        """
        if self._waiting >= MAX_WAITERS:
            raise TooManyWaiters
        deadline = asyncio.get_running_loop().time() + min(seconds, MAX_WAIT_SECONDS)
        self._waiting += 1
        try:
            while self._newest() == known and not self._closed.is_set():
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    return
                await self._pause(min(left, _LOOK_EVERY_SECONDS))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Release every waiter, for good."""
        self._closed.set()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closed.wait(), seconds)
        except TimeoutError:
            return
