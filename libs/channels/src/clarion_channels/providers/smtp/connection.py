"""One kept SMTP connection: connect, carry mails one after the other, quit.

aiosmtplib connects, secures and authenticates. It pairs one reply with one command, so from then on a `Conversation` of our
own speaks: MAIL, RCPT and DATA are one write and one wait where the server offers PIPELINING (RFC 2920).
"""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiosmtplib import SMTP, SMTPException
from aiosmtplib.errors import SMTPServerDisconnected

from clarion_channels.providers.smtp.answers import Reply
from clarion_channels.providers.smtp.conversation import Conversation
from clarion_channels.providers.smtp.settings import SmtpSettings

_RESET = b"RSET\r\n"
_DATA = b"DATA\r\n"
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


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the server offered in its answer to EHLO."""

    size: bool = False
    dsn: bool = False
    pipelining: bool = False


class Connection:
    """An authenticated connection over TLS. Open it with `open_connection`; it carries one mail at a time.

    Its caller bounds every wait: one deadline for a mail costs less than one for each command.
    """

    def __init__(self, conversation: Conversation, extensions: Extensions) -> None:
        self._conversation = conversation
        self._extensions = extensions
        self._mails = 0
        self._needs_reset = False

    @property
    def mails(self) -> int:
        """Mails begun on this connection."""
        return self._mails

    @property
    def usable(self) -> bool:
        return self._conversation.usable

    async def deliver(self, envelope: Envelope, message: bytes, on_content: Callable[[], None]) -> Reply:
        """Offer one mail; gives the reply that decided on it, be it to MAIL, RCPT, DATA or the content.

        `message` has CRLF line ends and its dots not stuffed. `on_content` is called once content is written:
        from then on a lost connection leaves the mail's fate unknown. Raises `SMTPException` (lost, malformed reply)
        when no reply decided; after that, or when cancelled, the connection must be aborted.
        """
        self._mails += 1
        commands = [self._mail(envelope, len(message)), self._rcpt(envelope), _DATA]
        if self._needs_reset:
            commands.insert(0, _RESET)
        self._needs_reset = True
        refusal = await self._offer(commands)
        if refusal is not None:
            return refusal
        reply = await self._content(message, on_content)
        self._needs_reset = False
        return reply

    def hang_up(self) -> None:
        """Close with a QUIT whose reply nobody waits for. Idempotent."""
        if self.usable:
            self._conversation.write(b"QUIT\r\n", 1)
        self._conversation.close()

    async def quit(self) -> None:
        """Close once the server answered a QUIT, or did not."""
        try:
            self._conversation.write(b"QUIT\r\n", 1)
            await self._conversation.reply()
        except SMTPException:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once. Idempotent."""
        self._conversation.abort()

    def _mail(self, envelope: Envelope, size: int) -> bytes:
        line = f"MAIL FROM:<{envelope.sender}>"
        if self._extensions.size:
            line += f" SIZE={size}"
        if self._extensions.dsn:
            line += " RET=HDRS" + (f" ENVID={_xtext(envelope.envelope_id)}" if envelope.envelope_id else "")
        return f"{line}\r\n".encode("ascii")

    def _rcpt(self, envelope: Envelope) -> bytes:
        line = f"RCPT TO:<{envelope.recipient}>"
        if self._extensions.dsn:
            line += f" NOTIFY=FAILURE,DELAY ORCPT=rfc822;{_xtext(envelope.recipient)}"
        return f"{line}\r\n".encode("ascii")

    async def _offer(self, commands: Sequence[bytes]) -> Reply | None:
        """The reply that refused the mail; None where the server waits for its content."""
        at_once = self._extensions.pipelining
        if at_once:
            self._conversation.write(b"".join(commands), len(commands))
        refusal: Reply | None = None
        for command in commands:
            if not at_once:
                self._conversation.write(command, 1)
            try:
                reply = await self._reply()
                if refusal is not None and command is _DATA and reply.code == _START_INPUT:
                    # RFC 2920 §3.1: it may wait for the content of a mail that it has refused.
                    self._conversation.write(_END_OF_DATA, 1)
                    await self._reply()
            except SMTPServerDisconnected:
                if refusal is None:
                    raise
                break
            wanted = reply.code == _START_INPUT if command is _DATA else reply.positive or command is _RESET
            if refusal is None and not wanted:
                refusal = reply
                if not at_once:
                    break
        return refusal

    async def _content(self, message: bytes, on_content: Callable[[], None]) -> Reply:
        if not message.endswith(b"\r\n"):
            message += b"\r\n"
        self._conversation.write(message.replace(b"\r\n.", b"\r\n..") + _END_OF_DATA, 1)
        on_content()
        return await self._reply()

    async def _reply(self) -> Reply:
        reply = await self._conversation.reply()
        if reply.code == _CLOSING:
            self.abort()
        return reply


def _xtext(text: str) -> str:
    """RFC 3461 §4: printable ASCII, "+" and "=" as hexadecimal."""
    return text.replace("+", "+2B").replace("=", "+3D")


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
        if client.transport is None:
            raise SMTPServerDisconnected("Connection lost")
    except BaseException:
        client.close()
        raise
    offered = Extensions(*map(client.supports_extension, ("size", "dsn", "pipelining")))
    return Connection(Conversation(client.transport), offered)
