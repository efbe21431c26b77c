"""Connections to one APNs environment."""

import asyncio
import ssl
from collections import deque

from aioapns.connection import AuthorizationHeaderProvider

from clarion_channels.providers.apns.connection import ApnsConnection

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_GOODBYE_SECONDS = 1.0


class DialFailed(Exception):
    """No connection could be made; the text says why, without secrets."""


class ApnsPool:
    """Hands out connections with a free stream and opens further ones, one at a time, while all are full.

    Waiting is by wake-up, in order of arrival. After a failed dial the next one waits 0.1 s, doubling up to 5 s;
    meanwhile `acquire` fails at once unless another connection is up. aioapns' own pool polls every 10 ms while it is
    full and sends lost requests again by itself, which is the ledger's decision here.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: ssl.SSLContext,
        auth_provider: AuthorizationHeaderProvider | None,
        *,
        max_connections: int,
        max_streams: int,
        connect_timeout_seconds: float,
        ping_seconds: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._max_connections = max_connections
        self._connections: list[ApnsConnection] = []
        self._host = host
        self._port = port
        self._tls = tls
        self._auth_provider = auth_provider
        self._max_streams = max_streams
        self._connect_timeout_seconds = connect_timeout_seconds
        self._ping_seconds = ping_seconds
        self._open: set[ApnsConnection] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._dialing = False
        self._pause_seconds = 0.0
        self._no_dial_before = 0.0
        self._last_failure = ""
        self._closed = False

    async def acquire(self) -> ApnsConnection:
        """A connection with a free stream, to be used before the next await.

        Waits until there is one: the caller bounds it. Raises `DialFailed`.
        """
        waited = False
        while True:
            if self._closed:
                raise DialFailed("closed")
            connection = self.with_free_stream()
            if connection is not None:
                return connection
            if self._may_dial():
                await self._dial()
            else:
                await self._wait(first=waited)
                waited = True

    def close(self) -> None:
        self._closed = True
        for connection in list(self._open):
            connection.close()
        self._wake(len(self._waiters))

    async def wait_closed(self) -> None:
        """After `close`: give peers a second for the TLS goodbye, then cut."""
        try:
            async with asyncio.timeout(_GOODBYE_SECONDS):
                for connection in list(self._open):
                    await connection.closed.wait()
        except TimeoutError:
            for connection in list(self._open):
                connection.abort()  # the event loop calls connection_lost in its next turn
            await asyncio.sleep(0)

    async def _connect(self) -> ApnsConnection:
        # Raises OSError or TimeoutError. Requests before the peer's SETTINGS would overrun its stream limit.
        connection: ApnsConnection | None = None
        try:
            async with asyncio.timeout(self._connect_timeout_seconds):
                transport, connection = await self._loop.create_connection(
                    self._new_connection, self._host, self._port, ssl=self._tls
                )
                if not connection.closed.is_set():
                    self._open.add(connection)
                tls = transport.get_extra_info("ssl_object")
                if tls is None or tls.selected_alpn_protocol() != "h2":
                    raise ConnectionError("the peer does not speak HTTP/2")
                await connection.ready.wait()
                if connection.retired:
                    raise ConnectionError("closed by the peer before its SETTINGS")
        except BaseException:
            if connection is not None:
                connection.abort()
            raise
        return connection

    def _new_connection(self) -> ApnsConnection:
        return ApnsConnection(
            self._host, self._port, self._auth_provider, self._max_streams, self._ping_seconds, self._changed
        )

    def with_free_stream(self) -> ApnsConnection | None:
        """A connection with a free stream right now, to be used before the next await."""
        for connection in self._connections:
            if not connection.is_busy:
                return connection
        return None

    def _may_dial(self) -> bool:
        if self._dialing or len(self._connections) >= self._max_connections:
            return False
        if any(connection.is_warming for connection in self._connections):
            return False
        if self._loop.time() >= self._no_dial_before:
            return True
        if not self._connections:
            raise DialFailed(self._last_failure)
        return False

    async def _dial(self) -> None:
        self._dialing = True
        try:
            self._connections.append(await self._connect())
            self._pause_seconds = 0.0
        except (OSError, TimeoutError) as error:
            self._pause_seconds = min(max(2 * self._pause_seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            self._no_dial_before = self._loop.time() + self._pause_seconds
            self._last_failure = f"cannot connect to {self._host}: {type(error).__name__}"
            if not self._connections:
                raise DialFailed(self._last_failure) from error
        finally:
            self._dialing = False
            self._wake(len(self._waiters))

    async def _wait(self, *, first: bool) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()
        if first:
            self._waiters.appendleft(waiter)
        else:
            self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake(1)  # the turn that this caller cannot take any more
            else:
                self._waiters.remove(waiter)
            raise

    def _wake(self, count: int) -> None:
        while count > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1

    def _changed(self, connection: ApnsConnection) -> None:
        if connection.closed.is_set():
            self._open.discard(connection)
        if connection.retired:
            if connection in self._connections:
                self._connections.remove(connection)
            self._wake(len(self._waiters))  # one may dial in its place, or all learn that nobody can
        else:
            self._wake(connection.free_streams)
