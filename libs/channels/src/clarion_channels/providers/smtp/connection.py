"""One kept SMTP connection: connect, carry mails one after the other, quit.

MAIL, RCPT and DATA are not pipelined: aiosmtplib pairs one reply with one command and drops what arrives beyond it.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from aiosmtplib import SMTP, SMTPException
from aiosmtplib.errors import SMTPServerDisconnected

from clarion_channels.providers.smtp.answers import Reply
from clarion_channels.providers.smtp.settings import SmtpSettings

_END_OF_DATA = b".\r\n"
_START_INPUT = 354
_CLOSING = 421
_FORBIDDEN_IN_PATH = frozenset("\r\n\0<> ")


@dataclass(frozen=True, slots=True)
class Envelope:
    """Return path and recipient of one mail, both ASCII and checked (`mail.headers.check_address`).

    `envelope_id` comes back in what a server reports of the mail (RFC 3461 §4.4).
    """

    sender: str
    recipient: str
    envelope_id: str = ""

    def __post_init__(self) -> None:
        if _FORBIDDEN_IN_PATH.intersection(self.sender + self.recipient + self.envelope_id):
            raise ValueError("an envelope path holds a character that could end it")


class Connection:
    """An authenticated connection over TLS. Open it with `open_connection`; it carries one mail at a time.

    Its caller bounds every wait: one deadline for a mail costs less than aiosmtplib's own for each command.
    """

    def __init__(self, client: SMTP) -> None:
        self._client = client
        self._mails = 0
        self._needs_reset = False
        self._sizes = client.supports_extension("size")
        self._reports = client.supports_extension("dsn")

    @property
    def mails(self) -> int:
        """Mails begun on this connection."""
        return self._mails

    @property
    def usable(self) -> bool:
        return self._client.is_connected

    async def deliver(self, envelope: Envelope, message: bytes, on_content: Callable[[], None]) -> Reply:
        """Offer one mail; gives the reply that decided on it, be it to MAIL, RCPT, DATA or the content.

        `message` has CRLF line ends and its dots not stuffed. `on_content` is called once content is written:
        from then on a lost connection leaves the mail's fate unknown. Raises `SMTPException` (lost, timed out,
        malformed reply) when no reply decided; after that, or when cancelled, the connection must be aborted.
        """
        self._mails += 1
        if self._needs_reset:
            await self._command(b"RSET")
        self._needs_reset = True
        for command in (self._mail(envelope, len(message)), self._rcpt(envelope)):
            reply = await self._command(*command)
            if not reply.positive:
                return reply
        reply = await self._command(b"DATA")
        if reply.code != _START_INPUT:
            return reply
        reply = await self._content(message, on_content)
        self._needs_reset = False
        return reply

    def hang_up(self) -> None:
        """Close with a QUIT whose reply nobody waits for. Idempotent."""
        protocol = self._client.protocol
        if protocol is not None and protocol.is_connected:
            protocol.write(b"QUIT\r\n")
        self._client.close()

    async def quit(self) -> None:
        """Close once the server answered a QUIT, or did not."""
        try:
            await self._client.quit()
        except SMTPException:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once, without TLS's farewell: a silent peer could delay that for long. Idempotent."""
        transport = self._client.transport
        self._client.close()
        if transport is not None:
            # uvloop's transports do not derive from asyncio's, so there is nothing to check at run time.
            cast(asyncio.WriteTransport, transport).abort()

    def _mail(self, envelope: Envelope, size: int) -> list[bytes]:
        words = [b"MAIL", b"FROM:<%b>" % envelope.sender.encode("ascii")]
        if self._sizes:
            words.append(b"SIZE=%d" % size)
        if self._reports:
            words += [b"RET=HDRS", *([b"ENVID=%b" % _xtext(envelope.envelope_id)] if envelope.envelope_id else [])]
        return words

    def _rcpt(self, envelope: Envelope) -> list[bytes]:
        words = [b"RCPT", b"TO:<%b>" % envelope.recipient.encode("ascii")]
        if self._reports:
            words += [b"NOTIFY=FAILURE,DELAY", b"ORCPT=rfc822;%b" % _xtext(envelope.recipient)]
        return words

    async def _command(self, *words: bytes) -> Reply:
        response = await self._client.execute_command(*words)
        return self._reply(response.code, response.message)

    async def _content(self, message: bytes, on_content: Callable[[], None]) -> Reply:
        protocol = self._client.protocol
        if protocol is None:
            raise SMTPServerDisconnected("Connection lost before the content")
        if not message.endswith(b"\r\n"):
            message += b"\r\n"
        stuffed = message.replace(b"\r\n.", b"\r\n..")
        protocol.write(stuffed + _END_OF_DATA)
        on_content()
        response = await protocol.read_response()
        return self._reply(response.code, response.message)

    def _reply(self, code: int, text: str) -> Reply:
        if code == _CLOSING:
            self.abort()
        return Reply(code, text)


def _xtext(text: str) -> bytes:
    """RFC 3461 §4: printable ASCII, "+" and "=" as hexadecimal."""
    return text.replace("+", "+2B").replace("=", "+3D").encode("ascii")


async def open_connection(settings: SmtpSettings, tls: ssl.SSLContext) -> Connection:
    """Connect, secure, authenticate; the caller bounds the wait.

    Raises `SMTPException` and `OSError` (`ssl.SSLError` among them).
    """
    client = SMTP(
        hostname=settings.host,
        port=settings.port,
        username=settings.username or None,
        password=settings.password.get_secret_value() if settings.username else None,
        use_tls=settings.security == "tls",
        start_tls=settings.security == "starttls",
        tls_context=tls,
        local_hostname=settings.local_hostname,
        timeout=None,
    )
    await client.connect()
    try:
        if client.is_ehlo_or_helo_needed:
            await client.ehlo()
    except BaseException:
        client.close()
        raise
    return Connection(client)
