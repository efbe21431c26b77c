"""Mail through one SMTP submission account."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from aiosmtplib import SMTPException
from aiosmtplib.errors import SMTPResponseException

from clarion.types.v1.channel_pb2 import Channel
from clarion_channels.errortable import ErrorTable
from clarion_channels.mail.compose import FrameMismatch
from clarion_channels.mail.frames_source import FrameSource, FrameUnavailable
from clarion_channels.mail.headers import HeaderError, Mailbox
from clarion_channels.mail.return_path import ReturnAddress
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable, Report
from clarion_channels.providers.mailing import NotForMail, headers_of, mime_of
from clarion_channels.providers.smtp.answers import Reply, classify
from clarion_channels.providers.smtp.connection import Envelope, open_connection
from clarion_channels.providers.smtp.pool import ConnectionPool
from clarion_channels.providers.smtp.settings import SmtpSettings
from clarion_channels.providers.spread import Progress, spread

_NO_REPLY_CODE = -1
_CLOSING = 421


def utc_now() -> datetime:
    """The wall clock, aware."""
    return datetime.now(UTC)


class SmtpProvider:
    """A lane of mail. One transaction and one recipient per message, on kept connections.

    `return_address` gives the envelope sender of each mail; without it bounces go to the From address.
    """

    def __init__(
        self,
        settings: SmtpSettings,
        tls: ssl.SSLContext,
        frames: FrameSource,
        table: ErrorTable,
        return_address: ReturnAddress | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = "smtp"
        self.channel = Channel.CHANNEL_EMAIL
        self.max_batch = 10 * settings.pool_size
        self.max_in_flight = settings.pool_size
        self.timeout = settings.timeout
        self._settings = settings
        self._sender = Mailbox(settings.from_address, settings.from_name)
        self._frames = frames
        self._table = table
        self._return_address = return_address
        self._now = now
        self._open = partial(open_connection, settings, tls)
        self._pool = ConnectionPool(
            self._open,
            size=settings.pool_size,
            max_mails=settings.max_mails_per_connection,
            max_idle=settings.max_idle,
        )

    async def send(self, batch: Sequence[Message], report: Report) -> None:
        await spread(batch, report, self._send, width=self.max_in_flight, timeout=self.timeout)

    async def probe(self) -> None:
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                connection = await self._open()
                await connection.quit()
        except (SMTPException, OSError) as error:
            result = self._lost(error, content_written=False)
            raise ProviderUnavailable(f"smtp {self._settings.host}: {result.code} {result.detail}".rstrip()) from error

    async def close(self) -> None:
        await self._pool.close(self.timeout)

    async def _send(self, message: Message, progress: Progress) -> Result:
        try:
            envelope, content = await self._compose(message)
        except FrameUnavailable:
            return Result(Outcome.RETRY, code="local:frame_unavailable")
        except NotForMail as error:
            return Result(Outcome.BAD, code="local:not_for_mail", detail=str(error))
        except (HeaderError, FrameMismatch) as error:
            return Result(Outcome.BAD, code=f"local:{type(error).__name__}", detail=str(error))
        result, stale = await self._deliver(envelope, content, progress, fresh=False)
        if stale:
            result, _ = await self._deliver(envelope, content, progress, fresh=True)
        return result

    async def _compose(self, message: Message) -> tuple[Envelope, bytes]:
        headers = headers_of(message, self._sender, self._now(), self._settings.inbound_domain)
        content = await mime_of(message, headers, self._frames)
        delivery_id = message.delivery_id
        sender = self._return_address(delivery_id) if self._return_address else self._sender.address
        return Envelope(sender, headers.recipient.address, str(delivery_id)), content

    async def _deliver(
        self, envelope: Envelope, content: bytes, progress: Progress, *, fresh: bool
    ) -> tuple[Result, bool]:
        """The result, and whether it only says that a kept connection had ended before any content was written."""
        kept = False
        try:
            async with self._pool.lease(fresh=fresh) as connection:
                kept = connection.mails > 0
                reply = await connection.deliver(envelope, content, progress.written)
        except (SMTPException, OSError) as error:
            lost = self._lost(error, content_written=progress.unanswered)
            return lost, kept and not progress.unanswered
        stale = kept and reply.code == _CLOSING and not progress.unanswered
        progress.answered()
        return classify(self._table, reply), stale

    def _lost(self, error: SMTPException | OSError, *, content_written: bool) -> Result:
        """What it means that no reply decided on the mail."""
        if content_written:
            return Result(Outcome.UNKNOWN, code="lost_after_content", detail=type(error).__name__)
        if isinstance(error, SMTPResponseException) and error.code != _NO_REPLY_CODE:
            return classify(self._table, Reply(error.code, error.message))
        if _is_certificate_fault(error):
            return Result(Outcome.CRED, code="certificate", detail=type(error).__name__)
        if isinstance(error, SMTPException) and not isinstance(error, OSError | SMTPResponseException):
            return Result(Outcome.CRED, code="unsupported", detail=error.message[:256])
        return Result(Outcome.RETRY, code="connection", detail=type(error).__name__)


def _is_certificate_fault(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__
    return False
