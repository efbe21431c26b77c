"""HTTP by granian's embedded server (adr/0002): HTTP/1.1 and HTTP/2, TLS where files are given.

Its drain waits for half-sent requests and for handlers without a bound of its own, so both get one here; then leaving
takes at most as long as the longer of the two.

It reads its certificate once. When the files change, another server takes over the socket that listens: whoever connects
waits in the socket's queue until one of the two accepts, so nobody is refused, and a request ends where it began. A handshake
that the former one has begun when it stops is cut, as an idle connection is: clients connect again.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from granian._granian import RSGIHTTPProtocol, SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.rsgi import Scope
from granian.server.embed import Server

from clarion_kit.errors import Unavailable
from clarion_kit.rpc.server import PortInUse
from clarion_kit.tls import FileWatch, TlsFiles
from clarion_tracker.adapters.served_certificate import UnusableCertificate, copied
from clarion_tracker.ports import BodyTooLarge, Handler, Reply, Request

log = logging.getLogger(__name__)

_MAX_HEADER_BYTES = 16 << 10
_MAX_CONNECTIONS = 4_096
_BACKLOG = 1_024
_MARGIN_SECONDS = 1.0
_START_SECONDS = 30
LOOK = timedelta(seconds=1)


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
    """An `HttpServer` on host and port; port 0: any. `look`: how often the certificate's files are looked at."""

    def __init__(
        self, host: str, port: int, tls: TlsFiles | None, limits: Limits = Limits(), *, look: timedelta = LOOK
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._limits = limits
        self._look_seconds = look.total_seconds()
        self._running: list[_Running] = []

    @asynccontextmanager
    async def serve(self, handler: Handler) -> AsyncIterator[int]:
        """As the port says. Raises PortInUse, UnusableCertificate."""
        try:
            listener = _listening(self._host, self._port)
        except OSError as taken:
            raise PortInUse(f"{self._host}:{self._port}") from taken
        with listener:
            # Before the first server reads them: what changes later is seen.
            watch = FileWatch(self._tls) if self._tls is not None else None
            await self._begin(handler, listener)
            renewing = asyncio.create_task(self._renew(watch, handler, listener)) if watch is not None else None
            try:
                yield listener.getsockname()[1]
            finally:
                if renewing is not None:
                    renewing.cancel()
                    await asyncio.wait({renewing})
                # While it is open somewhere, who connects waits in its queue.
                listener.close()
                await asyncio.gather(*(self._end(running) for running in list(self._running)))

    async def ping(self) -> None:
        """Raises HttpStopped before it serves, and when it ended by itself or was left."""
        if not self._running or self._running[-1].serving.done():
            raise HttpStopped

    async def _begin(self, handler: Handler, listener: socket.socket) -> None:
        """Another server on the socket, which has read its certificate. Raises UnusableCertificate."""
        application = _Application(handler, self._limits.answer)
        with copied(self._tls) if self._tls is not None else nullcontext((None, None)) as (certificate, key):
            server = self._bound(application, certificate, key)
            # The holder owns this descriptor of the same socket, and closes it.
            descriptor = os.dup(listener.fileno())
            server.take(SocketHolder(descriptor, False, _BACKLOG))  # type: ignore[call-arg]  # not in its stub
            self._running.append(_Running(server, asyncio.create_task(server.serve())))
            async with asyncio.timeout(_START_SECONDS):
                await application.begun.wait()

    async def _end(self, running: "_Running") -> None:
        """Stop accepting, answer what was begun."""
        running.server.stop()  # type: ignore[no-untyped-call]
        _, unfinished = await asyncio.wait({running.serving}, timeout=self._limits.drain_seconds)
        if unfinished:
            log.warning("stopped with HTTP requests unanswered")
            running.serving.cancel()
        self._running.remove(running)

    async def _renew(self, watch: FileWatch, handler: Handler, listener: socket.socket) -> None:
        while True:
            await asyncio.sleep(self._look_seconds)
            if not watch.changed():
                continue
            former = self._running[-1]
            try:
                await self._begin(handler, listener)
            except UnusableCertificate as fault:
                log.error("%s; the former one goes on", fault)
                continue
            log.info("certificate changed: new connections get the new one")
            await self._end(former)

    def _bound(self, application: "_Application", certificate: Path | None, key: Path | None) -> "_BoundServer":
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
            ssl_cert=certificate,
            ssl_key=key,
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
    """RSGI entry. `begun` is set when its server serves."""

    def __init__(self, handler: Handler, limit: timedelta) -> None:
        self._handler = handler
        self._limit_seconds = limit.total_seconds()
        self.begun = asyncio.Event()

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        # The library goes on from here to serving without giving way to anybody.
        self.begun.set()

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

    def take(self, holder: SocketHolder) -> None:
        self._holder = holder

    def _init_shared_socket(self) -> None:
        self._shd = self._holder  # type: ignore[assignment]  # granian annotates neither attribute
        self._ssp = None


@dataclass(frozen=True, slots=True)
class _Running:
    """A server and its task."""

    server: _BoundServer
    serving: asyncio.Task[None]


def _listening(host: str, port: int) -> socket.socket:
    """Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)
