"""A second HTTPS listener, on h2: the same doors, and faults of HTTP/2 itself, which granian cannot produce."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

from clarion_sandbox.http2_faults import Http2Script

from .h2_connection import Connection, Service
from .router import Router


class _Work:
    """Keeps the tasks of requests being answered."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def listen(
    router: Router, script: Http2Script, host: str, port: int, *, certificate: Path, key: Path, max_streams: int
) -> AsyncIterator[int]:
    """Serve HTTP/2 over TLS while inside; gives the port. On leaving, every connection is cut.

    Raises:
        OSError: the address is taken, or certificate or key cannot be used (``ssl.SSLError``).
    """
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    tls.set_alpn_protocols(["h2"])
    work = _Work()
    service = Service(router, lambda: script.on_connection(max_streams), script.on_request, work.run)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(service), host, port, ssl=tls, backlog=1024
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(service.connections):
            connection.cut()
        await work.stop()
        await server.wait_closed()
