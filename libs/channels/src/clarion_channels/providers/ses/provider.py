"""The SES provider behind the port."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from clarion.types.v1.channel_pb2 import CHANNEL_EMAIL, Channel
from clarion_channels.errortable import ErrorTable
from clarion_channels.http import Attempt, HttpPool, NoAnswer, NotSent, PoolOptions, send_each
from clarion_channels.mail.compose import FrameMismatch
from clarion_channels.mail.frames_source import FrameSource, FrameUnavailable
from clarion_channels.mail.headers import HeaderError, Mailbox
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable, Report
from clarion_channels.providers.mailing import NotForMail, headers_of, mime_of
from clarion_channels.providers.ses.answer import ERROR_TYPE, classify
from clarion_channels.providers.ses.payload import TooLarge, build_body
from clarion_channels.providers.ses.settings import SesSettings
from clarion_channels.providers.ses.sigv4 import Scope, sign

_MAX_BATCH = 200
_HEADERS = {"content-type": "application/json"}
_PROBE = b"{}"
"""Refused for its content, but only after the signature was accepted."""
_CREDENTIALS_WORK = frozenset({Outcome.ACCEPTED, Outcome.BAD})


class SesProvider:
    """One SES account and region. Made by `Factory`, inside a running loop."""

    name = "ses"
    channel: Channel.ValueType = CHANNEL_EMAIL
    max_batch = _MAX_BATCH

    def __init__(self, settings: SesSettings, frames: FrameSource, table: ErrorTable) -> None:
        self.max_in_flight = settings.connections * settings.streams
        self.timeout = timedelta(seconds=settings.timeout_seconds)
        self._settings = settings
        self._key = settings.key()
        self._scope = Scope(settings.region, "ses")
        self._sender = Mailbox(settings.from_address, settings.from_name)
        self._frames = frames
        self._table = table
        self._http = HttpPool(
            PoolOptions(
                clients=settings.connections,
                streams=settings.streams,
                connect_timeout=timedelta(seconds=settings.connect_timeout_seconds),
                ca_file=settings.ca_file,
                kept_headers=frozenset({"retry-after", ERROR_TYPE}),
            )
        )

    async def send(self, batch: Sequence[Message], report: Report) -> None:
        await send_each(batch, report, self._send_one)

    async def probe(self) -> None:
        """Have SES refuse an empty request, which it does only for credentials that it knows."""
        try:
            result = await self._post(_PROBE, Attempt())
        except (NotSent, NoAnswer) as error:
            raise ProviderUnavailable(f"no answer from SES: {error}") from error
        if result.outcome not in _CREDENTIALS_WORK:
            raise ProviderUnavailable(f"{result.code}: {result.detail}")

    async def close(self) -> None:
        await self._http.close(self.timeout)

    async def _send_one(self, message: Message, attempt: Attempt) -> Result:
        try:
            body = await self._body(message)
        except FrameUnavailable:
            return Result(Outcome.RETRY, code="local:frame_unavailable")
        except NotForMail as error:
            return Result(Outcome.BAD, code="local:not_for_mail", detail=str(error))
        except TooLarge as error:
            return Result(Outcome.BAD, code="local:mail_too_large", detail=str(error))
        except (HeaderError, FrameMismatch) as error:
            return Result(Outcome.BAD, code=f"local:{type(error).__name__}", detail=str(error))
        result = await self._post(body, attempt)
        return result.with_receipts() if self._settings.topic_arns else result

    async def _body(self, message: Message) -> bytes:
        headers = headers_of(message, self._sender, datetime.now(UTC), self._settings.inbound_domain)
        return build_body(
            await mime_of(message, headers, self._frames),
            self._sender.address,
            headers.recipient.address,
            message.delivery_id,
            self._settings.configuration_set,
            self._settings.tags,
        )

    async def _post(self, body: bytes, attempt: Attempt) -> Result:
        url = self._settings.send_url
        headers = sign(self._key, self._scope, "POST", url, _HEADERS, body, datetime.now(UTC))
        answer = await self._http.post(url, headers, body, self.timeout, attempt)
        return classify(self._table, answer, datetime.now(UTC))
