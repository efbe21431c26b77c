"""A fixed number of SMPP sessions, bound again whenever one ends."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

from clarion_channels.outcome import Outcome, Result
from clarion_channels.providers.smpp.session import Session

_log = logging.getLogger(__name__)


class DialFailed(Exception):
    """No session could be bound; `result` says what that means for a message."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"{result.code} {result.detail}".rstrip())
        self.result = result


def full_jitter(failures: int, base: timedelta, cap: timedelta, uniform: Callable[[float, float], float]) -> float:
    """Seconds to wait before the next try: evenly spread below min(cap, base · 2^(failures - 1))."""
    ceiling = min(cap.total_seconds(), base.total_seconds() * 2.0 ** min(failures - 1, 30))
    return uniform(0.0, ceiling)


class SessionPool:
    """Keeps `size` sessions bound from `start` to `close`."""

    def __init__(
        self,
        dial: Callable[[], Awaitable[Session]],
        *,
        size: int,
        reconnect_base: timedelta,
        reconnect_cap: timedelta,
        bind_wait: timedelta,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._dial = dial
        self._size = size
        self._base = reconnect_base
        self._cap = reconnect_cap
        self._bind_wait_seconds = bind_wait.total_seconds()
        self._uniform = uniform
        self._sessions: set[Session] = set()
        self._bound = asyncio.Event()
        self._last_failure: Result | None = None
        self._closing = False
        self._keeper: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to bind; must be called in the loop that uses the pool."""
        self._keeper = asyncio.create_task(self._keep_all(), name="smpp sessions")

    async def session(self) -> Session:
        """The least loaded bound session.

        Raises `DialFailed` after `bind_wait` without one, at once while the SMSC refuses our credentials.
        """
        if self._closing:
            raise DialFailed(Result(Outcome.RETRY, code="closed"))
        if not self._usable() and self._last_failure is not None and self._last_failure.outcome is Outcome.CRED:
            raise DialFailed(self._last_failure)
        try:
            async with asyncio.timeout(self._bind_wait_seconds):
                while not (usable := self._usable()):
                    self._bound.clear()
                    await self._bound.wait()
        except TimeoutError:
            raise DialFailed(self._last_failure or Result(Outcome.RETRY, code="not_bound")) from None
        return min(usable, key=lambda session: session.load)

    def any_bound(self) -> Session | None:
        """A bound session if there is one now."""
        return next(iter(self._usable()), None)

    async def close(self) -> None:
        """Unbind every session and stop binding. Idempotent."""
        self._closing = True
        async with asyncio.TaskGroup() as tasks:
            for session in self._sessions:
                tasks.create_task(session.unbind())
        if self._keeper is not None:
            keeper, self._keeper = self._keeper, None
            keeper.cancel()
            await asyncio.wait([keeper])
            if not keeper.cancelled() and (fault := keeper.exception()) is not None:
                raise fault

    def _usable(self) -> list[Session]:
        if self._keeper is not None and self._keeper.done():
            self._keeper.result()
        return [] if self._closing else [session for session in self._sessions if session.usable]

    async def _keep_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._size):
                tasks.create_task(self._keep_one())

    async def _keep_one(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            begun = loop.time()
            try:
                session = await self._dial()
            except DialFailed as failure:
                _log.warning("SMPP bind failed: %s", failure)
                self._last_failure = failure.result
            else:
                await self._serve(session)
            # A session that ends soon after its bind counts as a failure, or a refusing SMSC would be hammered.
            failures = 1 if loop.time() - begun > self._cap.total_seconds() else failures + 1
            await asyncio.sleep(full_jitter(failures, self._base, self._cap, self._uniform))

    async def _serve(self, session: Session) -> None:
        self._last_failure = None
        self._sessions.add(session)
        self._bound.set()
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            session.abort()
