"""The SMTP listener for bounce mail, by aiosmtpd: no relaying, no authentication, bounded in every direction."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from aiosmtpd.smtp import SMTP, Envelope, Session

from clarion_kit.errors import Unavailable
from clarion_kit.rpc.server import PortInUse
from clarion_kit.tls import RenewingContext, TlsFiles
from clarion_tracker.bounces import MAX_MAIL_BYTES, BounceDoor

MAX_CONNECTIONS = 100
IDLE = timedelta(seconds=30)
_MAX_COMMANDS = 100


class ListenerStopped(Unavailable):
    """The listener does not listen."""

    dependency = "smtp"


class _Handler:
    """aiosmtpd's hooks."""

    def __init__(self, door: BounceDoor) -> None:
        self._door = door

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        answer = await self._door.recipient(address, len(envelope.rcpt_tos))
        if answer.code == 250:
            envelope.rcpt_tos.append(address)
        return str(answer)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        return str(await self._door.mail(envelope.rcpt_tos, content if isinstance(content, bytes) else b""))


class _Connection(SMTP):
    """One connection; `open_ones` holds all of them."""

    def __init__(
        self, handler: _Handler, open_ones: "set[_Connection]", hostname: str, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(
            handler,
            data_size_limit=MAX_MAIL_BYTES,
            hostname=hostname,
            ident="Clarion",
            tls_context=tls,
            timeout=IDLE.total_seconds(),
            command_call_limit=_MAX_COMMANDS,
            loop=asyncio.get_running_loop(),
        )
        self._open_ones = open_ones

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if len(self._open_ones) >= MAX_CONNECTIONS and isinstance(transport, asyncio.Transport):
            transport.write(b"421 4.3.2 too many connections\r\n")
            transport.close()
            return
        self._open_ones.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self._open_ones:
            self._open_ones.discard(self)
            super().connection_lost(error)

    def close(self) -> None:
        """Ends the connection at once: what was not answered for is sent again."""
        if self.transport is not None:
            self.transport.close()


class SmtpListener:
    """Listens on host and port; port 0: any. STARTTLS is offered where files are given, with the
    certificate that they hold when somebody connects."""

    def __init__(self, host: str, port: int, hostname: str, tls: TlsFiles | None) -> None:
        self._host = host
        self._port = port
        self._hostname = hostname
        self._tls = tls
        self._server: asyncio.Server | None = None

    @asynccontextmanager
    async def serve(self, door: BounceDoor) -> AsyncIterator[int]:
        """Serve while entered; gives the port. Raises PortInUse, and OSError or ssl.SSLError for an unusable certificate."""
        tls = RenewingContext(self._tls, TlsFiles.server_context) if self._tls is not None else None
        open_ones: set[_Connection] = set()
        handler = _Handler(door)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Connection(handler, open_ones, self._hostname, tls.latest() if tls is not None else None),
                self._host,
                self._port,
            )
        except OSError as taken:
            raise PortInUse(f"{self._host}:{self._port}") from taken
        try:
            port: int = self._server.sockets[0].getsockname()[1]
            yield port
        finally:
            self._server.close()
            for connection in list(open_ones):
                connection.close()

    async def ping(self) -> None:
        """Raises ListenerStopped unless it listens."""
        if self._server is None or not self._server.is_serving():
            raise ListenerStopped
