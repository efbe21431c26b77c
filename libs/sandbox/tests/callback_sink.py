"""A plain HTTP server that keeps what the sandbox posts to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Taken:
    """One POST; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Sink:
    """Answers 204, or 503 as often as `refusals` says; refused calls are kept as well."""

    port: int = 0
    refusals: int = 0
    calls: list[Taken] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def wait_for(self, count: int) -> list[Taken]:
        """The calls, once there are `count`."""
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.calls) >= count)
        return list(self.calls)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines) if name}
        body = await reader.readexactly(int(headers["content-length"]))
        status = b"503 Service Unavailable" if self.refusals else b"204 No Content"
        self.refusals = max(self.refusals - 1, 0)
        # Known before it is answered: a caller that goes on at the answer must find it here.
        async with self.arrived:
            self.calls.append(Taken(line.split(" ")[1], headers, body))
            self.arrived.notify_all()
        writer.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def sink(refusals: int = 0) -> AsyncIterator[Sink]:
    """A sink on a free port of 127.0.0.1."""
    receiver = Sink(refusals=refusals)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
