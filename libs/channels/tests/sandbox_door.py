"""The sandbox's doors for the tests of HTTP providers, and a server that takes their callbacks."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from clarion_sandbox.server import Sandbox
from clarion_sandbox.settings import Settings

from .h2_peer import make_ca


@dataclass(frozen=True)
class Call:
    """One callback: path with query, headers by lower-case name, body."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Takes every POST with 200."""

    port: int = 0
    calls: list[Call] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    async def to(self, path: str, count: int) -> list[Call]:
        """The calls to a path, once there are `count`."""
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: len(self._to(path)) >= count)
        return self._to(path)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines) if name}
        body = await reader.readexactly(int(headers["content-length"]))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        async with self.arrived:
            self.calls.append(Call(line.split(" ")[1], headers, body))
            self.arrived.notify_all()

    def _to(self, path: str) -> list[Call]:
        return [call for call in self.calls if call.path == path]


@dataclass(frozen=True)
class Practice:
    """A running sandbox, the file by which to trust it, and where it posts callbacks to."""

    sandbox: Sandbox
    ca_file: Path
    receiver: Receiver

    def account(self, provider: str) -> dict[str, str]:
        """What sandbox.json says of a provider."""
        entry = self.sandbox.description()[provider]
        assert isinstance(entry, dict)
        return entry


@asynccontextmanager
async def practice(folder: Path) -> AsyncIterator[Practice]:
    """A sandbox in `folder` that reports at once."""
    ca = make_ca(folder)
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving(ca.server_context(alpn=False)))
        settings = Settings(
            dir=folder / "sandbox",
            tls_cert=ca.server_file,
            tls_key=ca.server_file,
            advertise_host="localhost",
            callback_urls={"huawei": f"{receiver.url}/huawei"},
            callback_ca=ca.ca_file,
            callback_delay_ms=0,
        )
        yield Practice(await stack.enter_async_context(Sandbox.start(settings)), ca.ca_file, receiver)


@asynccontextmanager
async def receiving(tls: ssl.SSLContext) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "localhost", 0, family=socket.AF_INET, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
