"""Callbacks: what a provider tells its customer later, mostly POSTed over HTTP/1.1 to the customer's own server.

A call that is not taken (for HTTP: answered by a 2xx) is made again after a second, five times at most, as the real ones do over hours.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import urlsplit

from .ledger import Ledger

_ANSWER_SECONDS = 10.0
_AGAIN_SECONDS = 1.0
_MAX_TRIES = 5
_MAX_OPEN = 64
_MAX_WAITING = 100_000


class Call(NamedTuple):
    """One POST: header fields beyond Host, Content-Length and Connection, and the body."""

    headers: Mapping[str, str]
    body: bytes


Prepare = Callable[[], Call]
"""Makes a call at the moment it is sent, so that a signature carries that moment."""

Errand = Callable[[], Awaitable[bool]]
"""One try to hand something over; says whether it was taken. May raise OSError, EOFError and ValueError."""


class Callbacks:
    """The calls of all providers."""

    def __init__(self, ledger: Ledger, tls: ssl.SSLContext) -> None:
        """``tls`` says which servers of https URLs are trusted."""
        self._ledger = ledger
        self._tls = tls
        self._open = asyncio.Semaphore(_MAX_OPEN)
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, provider: str, url: str, calls: Sequence[Prepare], delay_seconds: float) -> None:
        """Make ``calls`` to ``url`` one after the other, the first after a delay."""
        self.run(provider, url, [partial(self._is_taken, url, prepare) for prepare in calls], delay_seconds)

    def run(self, provider: str, url: str, errands: Sequence[Errand], delay_seconds: float) -> None:
        """Do ``errands`` to ``url`` one after the other, the first after a delay, each up to five times."""
        if len(self._tasks) >= _MAX_WAITING:
            self._ledger.refuse(provider, answer="callback given up", destination=url)
            return
        task = asyncio.create_task(self._run_in_order(provider, url, errands, delay_seconds))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Forget what was not sent yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run_in_order(self, provider: str, url: str, errands: Sequence[Errand], delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
        for errand in errands:
            if not await self._done(errand):
                self._ledger.refuse(provider, answer="callback given up", destination=url)

    async def _done(self, errand: Errand) -> bool:
        for tried in range(_MAX_TRIES):
            if tried:
                await asyncio.sleep(_AGAIN_SECONDS)
            try:
                async with self._open, asyncio.timeout(_ANSWER_SECONDS):
                    if await errand():
                        return True
            except (OSError, TimeoutError, EOFError, ValueError):
                continue
        return False

    async def _is_taken(self, url: str, prepare: Prepare) -> bool:
        return 200 <= await _post(url, prepare(), self._tls) < 300


async def _post(url: str, call: Call, tls: ssl.SSLContext) -> int:
    """The status of the answer; raises OSError, EOFError, and ValueError for what is no HTTP answer."""
    target = urlsplit(url)
    secure = target.scheme == "https"
    reader, writer = await asyncio.open_connection(
        target.hostname, target.port or (443 if secure else 80), ssl=tls if secure else None
    )
    try:
        path = (target.path or "/") + (f"?{target.query}" if target.query else "")
        fields = {"Host": target.netloc, "Content-Length": str(len(call.body)), "Connection": "close", **call.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + call.body)
        await writer.drain()
        line = await reader.readuntil(b"\r\n")
        return int(line.split(b" ", 2)[1])
    finally:
        writer.transport.abort()
