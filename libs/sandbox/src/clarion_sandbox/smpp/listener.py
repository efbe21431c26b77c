"""The SMPP listener."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .centre import MessageCentre
from .session import SmppSession


@asynccontextmanager
async def listen(centre: MessageCentre, host: str, port: int) -> AsyncIterator[int]:
    """Serve SMPP while inside; gives the port.

    Raises:
        OSError: the address is taken.
    """
    sessions: set[SmppSession] = set()
    server = await asyncio.get_running_loop().create_server(lambda: SmppSession(centre, sessions), host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for session in list(sessions):
            session.close()
        centre.close()
