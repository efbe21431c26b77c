"""The Twilio provider behind the port."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from clarion.types.v1.channel_pb2 import CHANNEL_SMS, Channel
from clarion_channels.errortable import ErrorTable, load
from clarion_channels.http import Attempt, HttpPool, NoAnswer, NotSent, PoolOptions, send_each
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable, Receipts, Report
from clarion_channels.providers.twilio.answer import classify
from clarion_channels.providers.twilio.payload import InvalidMessage, build_form, validity_seconds
from clarion_channels.providers.twilio.settings import TwilioSettings

_MAX_BATCH = 500
_CREDENTIALS_WORK = frozenset({Outcome.BAD})


class TwilioProvider:
    """The lane of one sender. Made by `Factory`, inside a running loop."""

    name = "twilio"
    channel: Channel.ValueType = CHANNEL_SMS
    max_batch = _MAX_BATCH

    def __init__(self, settings: TwilioSettings, table: ErrorTable) -> None:
        self.max_in_flight = settings.connections * settings.streams
        self.timeout = timedelta(seconds=settings.timeout_seconds)
        self._settings = settings
        self._table = table
        user, password = settings.basic_credentials()
        self._headers = {
            "authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode('ascii')}",
            "content-type": "application/x-www-form-urlencoded",
        }
        connect_timeout = timedelta(seconds=settings.connect_timeout_seconds)
        self._http = HttpPool(
            PoolOptions(settings.connections, settings.streams, connect_timeout, ca_file=settings.ca_file)
        )

    async def send(self, batch: Sequence[Message], report: Report) -> None:
        await send_each(batch, report, self._send_one)

    async def probe(self) -> None:
        """Send a request without a number: only where the credentials are good does Twilio complain of that."""
        try:
            result = await self._exchange(b"Body=probe", "", Attempt())
        except (NotSent, NoAnswer) as error:
            raise ProviderUnavailable(f"no answer from Twilio: {error}") from error
        if result.outcome not in _CREDENTIALS_WORK:
            raise ProviderUnavailable(f"{result.code}: {result.detail}")

    async def close(self) -> None:
        await self._http.close(self.timeout)

    async def _send_one(self, message: Message, attempt: Attempt) -> Result:
        now = datetime.now(UTC)
        if validity_seconds(message.expire_at, now) < 1:
            return Result(Outcome.RETRY, code="local:expired")
        try:
            form = build_form(message, self._settings, now)
        except InvalidMessage as error:
            return Result(Outcome.BAD, code=error.code, detail=str(error))
        return await self._exchange(form, message.address.sms.e164, attempt)

    async def _exchange(self, form: bytes, number: str, attempt: Attempt) -> Result:
        answer = await self._http.post(self._settings.send_url, self._headers, form, self.timeout, attempt)
        result = classify(self._table, answer, number, datetime.now(UTC))
        return result.with_receipts() if self._settings.status_callback else result


class Factory:
    """Entry point `twilio`; needs no instance."""

    channel: Channel.ValueType = CHANNEL_SMS

    @staticmethod
    async def connect(settings: bytes, receipts: Receipts) -> TwilioProvider:
        """Validate the credential document; connections are made when the first message comes.

        Raises `pydantic.ValidationError`, and `OSError` for a CA file that cannot be read.
        """
        del receipts  # Twilio's receipts are HTTP callbacks, which the tracker takes
        return TwilioProvider(TwilioSettings.model_validate_json(settings), load("twilio"))
