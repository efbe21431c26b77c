"""A bounded set of kept connections to one server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from aiosmtplib.errors import SMTPServerDisconnected

from clarion_channels.providers.smtp.connection import Connection


class ConnectionPool:
    """At most `size` connections, opened on demand, the last used first.

    A connection ends after `max_mails` mails, after `max_idle` without one, and whenever a mail on it raised.
    """

    def __init__(
        self, open_one: Callable[[], Awaitable[Connection]], *, size: int, max_mails: int, max_idle: timedelta
    ) -> None:
        self._open_one = open_one
        self._size = size
        self._max_mails = max_mails
        self._max_idle_seconds = max_idle.total_seconds()
        self._slots = asyncio.Semaphore(size)
        self._idle: dict[Connection, asyncio.TimerHandle] = {}
        self._leased: set[Connection] = set()
        self._closed = False

    @asynccontextmanager
    async def lease(self, *, fresh: bool = False) -> AsyncIterator[Connection]:
        """A connection of one's own, a new one if `fresh`; waits for a slot.

        Raises what opening one raises, and `SMTPServerDisconnected` once the pool is closed. Nothing is awaited
        after the caller's block, so that its result cannot be lost there.
        """
        async with self._slots:
            if self._closed:
                raise SMTPServerDisconnected("the pool is closed")
            connection = self._take()
            if connection is not None and fresh:
                connection.abort()
                connection = None
            if connection is None:
                connection = await self._open_one()
            self._leased.add(connection)
            try:
                yield connection
            except BaseException:
                connection.abort()
                raise
            finally:
                self._leased.discard(connection)
            self._give_back(connection)

    async def close(self, timeout: timedelta) -> None:
        """Wait at most `timeout` for what is leased, then close every connection. Idempotent."""
        self._closed = True
        acquired = 0
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                while acquired < self._size:
                    await self._slots.acquire()
                    acquired += 1
                while (connection := self._take()) is not None:
                    await connection.quit()
        except TimeoutError:
            for connection in self._leased:
                connection.abort()
            while (connection := self._take()) is not None:
                connection.abort()
        finally:
            for _ in range(acquired):
                self._slots.release()

    def _take(self) -> Connection | None:
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            if connection.usable:
                return connection
        return None

    def _give_back(self, connection: Connection) -> None:
        if not connection.usable:
            return
        if self._closed or connection.mails >= self._max_mails:
            connection.hang_up()
            return
        timer = asyncio.get_running_loop().call_later(self._max_idle_seconds, self._expire, connection)
        self._idle[connection] = timer

    def _expire(self, connection: Connection) -> None:
        del self._idle[connection]
        connection.hang_up()
