"""Listeners inside that nobody may reach: every connection to one is counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_READ_BYTES = 1 << 16
_READ_SECONDS = 5.0


@dataclass(slots=True)
class Trap:
    """One port on some addresses of this machine."""

    port: int = 0
    hits: int = 0

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits += 1
        try:
            async with asyncio.timeout(_READ_SECONDS):
                await reader.read(_READ_BYTES)
                writer.write(_ANSWER)
                await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()

    @staticmethod
    @asynccontextmanager
    async def set(*addresses: str, port: int = 0) -> AsyncIterator["Trap"]:
        """Listens on the first address, and on the others as far as this machine has them, at the same port."""
        trap = Trap()
        async with AsyncExitStack() as listening:
            for address in addresses or ("127.0.0.1", "::1"):
                try:
                    server = await asyncio.start_server(trap._met, address, trap.port or port)
                except OSError:
                    if not trap.port:
                        raise
                    continue
                await listening.enter_async_context(server)
                trap.port = server.sockets[0].getsockname()[1]
            yield trap
