"""The token of an async client: issued once, renewed ahead, one request at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import grpc

from clarion_client._status import out_of_time
from clarion_client._token import REFRESH_PAUSE, Token
from clarion_client.errors import Cancelled, ClarionError


class AsyncTokens:
    """Owns the request in flight (a task, cancelled by `close`), so that a caller who gives up does not end it for
    the others. A token that is due for renewal still serves while the new one is fetched."""

    def __init__(self, issue: Callable[[], Awaitable[Token]], now: Callable[[], float] = time.monotonic) -> None:
        self._issue = issue
        self._now = now
        self._token: Token | None = None
        self._flight: asyncio.Task[Token] | None = None
        self._no_refresh_before = 0.0

    async def get(self, timeout_seconds: float) -> Token:
        """A token that should be valid. Raises what IssueToken raises, DeadlineExceeded, Cancelled after `close`."""
        now = self._now()
        token = self._token
        if token is not None and now < token.ends_at:
            if now >= max(token.refresh_at, self._no_refresh_before):
                self._fly()
            return token
        flight = self._fly()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(flight)
        except TimeoutError:
            raise out_of_time("a token") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if flight.cancelled() and (task is None or not task.cancelling()):
                raise Cancelled("the client was closed", code=grpc.StatusCode.CANCELLED) from None
            raise

    def reject(self, refused: Token) -> None:
        """The server did not take `refused`: forget it, unless it was replaced meanwhile."""
        if self._token is refused:
            self._token = None

    async def close(self, grace: timedelta) -> None:
        """Ends the request in flight; those who wait for it raise Cancelled."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight], timeout=grace.total_seconds())

    def _fly(self) -> asyncio.Task[Token]:
        if self._flight is None or self._flight.done():
            self._no_refresh_before = self._now() + REFRESH_PAUSE.total_seconds()
            self._flight = asyncio.create_task(self._fetch(), name="clarion token")
            self._flight.add_done_callback(_retrieve)
        return self._flight

    async def _fetch(self) -> Token:
        self._token = token = await self._issue()
        return token


def _retrieve(flight: asyncio.Task[Token]) -> None:
    # A renewal ahead of time has no one waiting; its failure shows when the old token has ended.
    if not flight.cancelled() and not isinstance(flight.exception(), ClarionError | None):
        flight.get_loop().call_exception_handler({"message": "token renewal failed", "exception": flight.exception()})
