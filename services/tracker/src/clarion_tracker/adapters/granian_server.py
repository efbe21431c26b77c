"""HTTP by granian's embedded server (adr/0002): HTTP/1.1 and HTTP/2, TLS where files are given.

Its drain waits for half-sent requests and for handlers without a bound of its own, so both get one here; then leaving
takes at most as long as the longer of the two.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from granian._granian import RSGIHTTPProtocol, SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.rsgi import Scope
from granian.server.embed import Server

from clarion_kit.errors import Unavailable
from clarion_kit.rpc.server import PortInUse
from clarion_kit.tls import TlsFiles
from clarion_tracker.ports import BodyTooLarge, Handler, Reply, Request

log = logging.getLogger(__name__)

_MAX_HEADER_BYTES = 16 << 10
_MAX_CONNECTIONS = 4_096
_BACKLOG = 1_024
_MARGIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a request's head may take to come, and its answer to be made."""

    head: timedelta = timedelta(seconds=3)
    answer: timedelta = timedelta(seconds=3)

    @property
    def drain_seconds(self) -> float:
        return max(self.head, self.answer).total_seconds() + _MARGIN_SECONDS


class HttpStopped(Unavailable):
    """The server does not serve."""

    dependency = "http"


class GranianServer:
    """An `HttpServer` on host and port; port 0: any."""

    def __init__(self, host: str, port: int, tls: TlsFiles | None, limits: Limits = Limits()) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._limits = limits
        self._serving: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def serve(self, handler: Handler) -> AsyncIterator[int]:
        """As the port says. Raises PortInUse, and ValueError for a certificate or key that cannot be used."""
        server = self._bound(_Application(handler, self._limits.answer))
        try:
            port = server.bind()
        except OSError as taken:
            raise PortInUse(f"{self._host}:{self._port}") from taken
        self._serving = asyncio.create_task(server.serve())
        try:
            yield port
        finally:
            server.stop()  # type: ignore[no-untyped-call]
            _, unfinished = await asyncio.wait({self._serving}, timeout=self._limits.drain_seconds)
            if unfinished:
                log.warning("stopped with HTTP requests unanswered")
                self._serving.cancel()

    async def ping(self) -> None:
        """Raises HttpStopped before it serves, and when it ended by itself or was left."""
        if self._serving is None or self._serving.done():
            raise HttpStopped

    def _bound(self, application: "_Application") -> "_BoundServer":
        return _BoundServer(
            application,
            address=self._host,
            port=self._port,
            interface=Interfaces.RSGI,
            http=HTTPModes.auto,
            websockets=False,
            backlog=_BACKLOG,
            backpressure=_MAX_CONNECTIONS,
            http1_settings=HTTP1Settings(
                header_read_timeout=int(self._limits.head.total_seconds() * 1000), max_buffer_size=_MAX_HEADER_BYTES
            ),
            http2_settings=HTTP2Settings(max_headers_size=_MAX_HEADER_BYTES),
            log_enabled=False,
            ssl_cert=self._tls.certificate if self._tls else None,
            ssl_key=self._tls.key if self._tls else None,
            ssl_protocol_min=SSLProtocols.tls12,
        )


class _RsgiBody:
    """A body as it comes in, piece by piece."""

    def __init__(self, protocol: RSGIHTTPProtocol) -> None:
        self._protocol = protocol

    async def read(self, limit: int) -> bytes:
        body = bytearray()
        async for piece in self._protocol:
            body += piece
            if len(body) > limit:
                raise BodyTooLarge
        return bytes(body)


class _Application:
    """RSGI entry."""

    def __init__(self, handler: Handler, limit: timedelta) -> None:
        self._handler = handler
        self._limit_seconds = limit.total_seconds()

    async def __rsgi__(self, scope: Scope, protocol: RSGIHTTPProtocol) -> None:
        headers = dict(scope.headers.items())
        # HTTP/2 names the host apart from the headers, and may bring cookies in several of them (RFC 9113 §8.2.3).
        headers.setdefault("host", scope.authority or "")
        if "cookie" in headers:
            headers["cookie"] = "; ".join(scope.headers.get_all("cookie"))  # type: ignore[attr-defined]  # not in its stub
        request = Request(
            scope.method,
            scope.path,
            headers.get("user-agent", ""),
            scope.query_string,
            headers,
            _RsgiBody(protocol),
        )
        try:
            async with asyncio.timeout(self._limit_seconds):
                reply = await self._handler(request)
        except TimeoutError:
            reply = Reply(503, body=b"no answer in time\n")
        answered = [
            ("content-type", reply.content_type),
            ("content-length", str(len(reply.body))),
            *reply.headers.items(),
        ]
        if request.method == "HEAD":
            protocol.response_empty(reply.status, answered)
        else:
            protocol.response_bytes(reply.status, answered, reply.body)


class _BoundServer(Server):
    """Serves a socket of ours that listens before it serves: the port is known, and nobody who connects early is refused.

    The library binds inside its worker, does not tell the port, and shares one that is taken (SO_REUSEPORT).
    """

    _holder: SocketHolder | None = None

    def bind(self) -> int:
        """Listen; gives the port. Raises OSError."""
        family = socket.AF_INET6 if ":" in self.bind_addr else socket.AF_INET
        listener = socket.create_server((self.bind_addr, self.bind_port), family=family, backlog=self.backlog)
        port: int = listener.getsockname()[1]
        # The holder owns the descriptor from here on and closes it.
        self._holder = SocketHolder(listener.detach(), False, self.backlog)  # type: ignore[call-arg]  # not in its stub
        return port

    def _init_shared_socket(self) -> None:
        self._shd = self._holder  # type: ignore[assignment]  # granian annotates neither attribute
        self._ssp = None
