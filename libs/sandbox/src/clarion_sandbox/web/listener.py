"""The HTTPS listener: granian's embedded server (HTTP/2 and HTTP/1.1 over TLS); handlers know nothing of it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from granian._granian import ListenerSpec, RSGIHTTPProtocol, SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.rsgi import Scope
from granian.server.embed import Server

from clarion_sandbox.answers import Special

from .cut import cut_connection
from .http import Reply, Request
from .router import Router

_MAX_BODY_BYTES = 16 << 20
_HANG_SECONDS = 600
_STOP_SECONDS = 1.5
_MAX_HEADER_BYTES = 16 << 10


class _Application:
    """RSGI entry: reads the body, asks the router, writes the answer or keeps silent."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Release every request that hangs."""
        self._stopping.set()

    async def __rsgi__(self, scope: Scope, protocol: RSGIHTTPProtocol) -> None:
        headers = scope.headers
        length = headers.get("content-length")
        if length is not None and length.isdecimal() and int(length) <= _MAX_BODY_BYTES:
            body: bytes | None = await protocol()
        else:
            body = await _read_bounded(protocol)
        if body is None:
            protocol.response_empty(413, [])
            return
        authority = scope.authority or headers.get("host") or ""
        outcome = await self._router(Request(scope.method, scope.path, scope.query_string, authority, headers, body))
        if isinstance(outcome, Reply):
            protocol.response_bytes(outcome.status, outcome.headers, outcome.body)
        else:
            await self._stay_silent(outcome, scope.client)

    async def _stay_silent(self, outcome: Special, client: str) -> None:
        if outcome is Special.HANG:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _HANG_SECONDS)
        cut_connection(client)


class _BoundServer(Server):
    """The embedded server, bound before it serves: the port is known, and a taken one is an error at once.

    Stock granian binds by host and port inside the worker and cannot tell which port it got.
    """

    _holder: SocketHolder | None = None

    def bind(self) -> int:
        """Bind; gives the port."""
        self._holder = ListenerSpec(self.bind_addr, self.bind_port, self.backlog).build()
        with socket.socket(fileno=os.dup(self._holder.get_fd())) as listener:
            port: int = listener.getsockname()[1]
        return port

    def _init_shared_socket(self) -> None:
        self._shd = self._holder  # type: ignore[assignment]  # granian annotates neither attribute
        self._ssp = None


@asynccontextmanager
async def listen(
    router: Router, host: str, port: int, *, certificate: Path, key: Path, max_streams: int
) -> AsyncIterator[int]:
    """Serve HTTPS while inside; gives the port.

    On leaving, hanging requests are cut, requests being answered are finished, and the port is free.

    Raises:
        OSError: the address is taken.
        ValueError: certificate or key cannot be used.
    """
    application = _Application(router)
    server = _BoundServer(
        application,
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.auto,
        websockets=False,
        backlog=1024,
        backpressure=20_000,
        http1_settings=HTTP1Settings(),
        http2_settings=HTTP2Settings(max_concurrent_streams=max_streams, max_headers_size=_MAX_HEADER_BYTES),
        log_enabled=False,
        ssl_cert=certificate,
        ssl_key=key,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    bound = server.bind()
    serving = asyncio.create_task(server.serve())
    try:
        yield bound
    finally:
        application.stop()
        # One turn of the loop lets hanging handlers end before the server starts to wait for them.
        await asyncio.sleep(0)
        server.stop()  # type: ignore[no-untyped-call]
        with suppress(TimeoutError):
            await asyncio.wait_for(serving, _STOP_SECONDS)


async def _read_bounded(protocol: RSGIHTTPProtocol) -> bytes | None:
    body = bytearray()
    async for chunk in protocol:
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            return None
    return bytes(body)
