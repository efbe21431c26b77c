"""The SMTP listeners: one with STARTTLS, one with implicit TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from .relay import Relay
from .session import SmtpSession

_HANDSHAKE_SECONDS = 10.0


class SmtpPorts(NamedTuple):
    """Where the two listeners are."""

    submission: int
    implicit_tls: int


class _Host:
    """The open sessions of both listeners, and the owner of TLS handshakes in progress."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self.sessions: set[SmtpSession] = set()
        self._handshakes: set[asyncio.Task[None]] = set()

    def upgrade(self, session: SmtpSession, transport: asyncio.Transport) -> None:
        """Start TLS on the connection, then call ``session.secured``."""
        task = asyncio.create_task(self._handshake(session, transport))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _handshake(self, session: SmtpSession, transport: asyncio.Transport) -> None:
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, session, self._tls, server_side=True, ssl_handshake_timeout=_HANDSHAKE_SECONDS
            )
        except OSError:
            # A client that cannot agree on TLS (ssl.SSLError, reset, timeout) has lost its connection, nothing else.
            transport.abort()
            session.connection_lost(None)
            return
        if secured is not None:
            session.secured(secured)

    def close(self) -> None:
        for task in self._handshakes:
            task.cancel()
        for session in list(self.sessions):
            session.close()


@asynccontextmanager
async def listen(
    relay: Relay, host: str, port: int, implicit_tls_port: int, tls: ssl.SSLContext
) -> AsyncIterator[SmtpPorts]:
    """Serve SMTP while inside; gives the ports.

    Raises:
        OSError: an address is taken.
    """
    loop = asyncio.get_running_loop()
    owner = _Host(tls)
    plain = await loop.create_server(lambda: SmtpSession(relay, owner, secure=False), host, port)
    try:
        secure = await loop.create_server(
            lambda: SmtpSession(relay, owner, secure=True), host, implicit_tls_port, ssl=tls
        )
        try:
            yield SmtpPorts(plain.sockets[0].getsockname()[1], secure.sockets[0].getsockname()[1])
        finally:
            secure.close()
    finally:
        plain.close()
        owner.close()
