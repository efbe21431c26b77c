"""A customer's server: takes the callbacks of providers over plain HTTP on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ReceivedCall:
    """One POST: path, headers by lower-case name, body."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers 200, but for the first ``refusals`` calls 503."""

    refusals: int = 0
    port: int = 0
    calls: list[ReceivedCall] = field(default_factory=list)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/receipts"

    async def wait_for(self, count: int) -> list[ReceivedCall]:
        """All calls, once there are ``count``."""
        async with asyncio.timeout(5), self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= count)
        return self.calls

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines) if name}
        body = await reader.readexactly(int(headers["content-length"]))
        status = "503 Service Unavailable" if len(self.calls) < self.refusals else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        async with self._arrived:
            self.calls.append(ReceivedCall(line.split(" ")[1], headers, body))
            self._arrived.notify_all()


@asynccontextmanager
async def receiving(refusals: int = 0) -> AsyncIterator[Receiver]:
    """A receiver while inside."""
    receiver = Receiver(refusals)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
