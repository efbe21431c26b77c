"""The provider behind the port of clarion_channels, and its factory."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from clarion.types.v1.channel_pb2 import CHANNEL_SMS, Channel
from clarion_channels.errortable import ErrorTable, load
from clarion_channels.http import Attempt, HttpAnswer, HttpPool, NoAnswer, NotSent, PoolOptions, send_each
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable, Receipts, Report
from clarion_example_provider.settings import Settings

_CONNECTIONS, _STREAMS = 2, 50


class ExampleProvider:
    """One account: `POST /messages` for each message."""

    name = "example"
    channel: Channel.ValueType = CHANNEL_SMS
    max_batch = 100
    max_in_flight = _CONNECTIONS * _STREAMS

    def __init__(self, settings: Settings, table: ErrorTable) -> None:
        self.timeout = timedelta(seconds=settings.timeout_seconds)
        self._settings = settings
        self._table = table
        self._headers = {
            "authorization": f"Bearer {settings.api_key.get_secret_value()}",
            "content-type": "application/json",
        }
        options = PoolOptions(_CONNECTIONS, _STREAMS, connect_timeout=self.timeout, ca_file=settings.ca_file)
        self._http = HttpPool(options)

    async def send(self, batch: Sequence[Message], report: Report) -> None:
        await send_each(batch, report, self._send_one)

    async def probe(self) -> None:
        """An empty message is refused for its content, once the key was accepted."""
        try:
            answer = await self._post({}, Attempt())
        except (NotSent, NoAnswer) as away:
            raise ProviderUnavailable(f"the carrier does not answer: {away}") from away
        if self._table.lookup(answer.status).outcome is Outcome.CRED:
            raise ProviderUnavailable(f"the carrier refuses the key: {answer.status}")

    async def close(self) -> None:
        await self._http.close(self.timeout)

    async def _send_one(self, message: Message, attempt: Attempt) -> Result:
        answer = await self._post(
            {
                "id": str(message.provider_request_id),
                "from": self._settings.sender,
                "to": message.address.sms.e164,
                "text": message.content.sms.text,
            },
            attempt,
        )
        found = _object(answer.body)
        if answer.status == 202:
            return Result(Outcome.ACCEPTED, code="202", provider_message_id=found.get("id", ""))
        verdict = self._table.lookup(answer.status, found.get("error", ""))
        return Result(
            verdict.outcome,
            code=verdict.code(answer.status, found.get("error", "")),
            retry_after=answer.retry_after(datetime.now(UTC)),
        )

    async def _post(self, document: dict[str, str], attempt: Attempt) -> HttpAnswer:
        url = f"{self._settings.base_url}/messages"
        return await self._http.post(url, self._headers, json.dumps(document).encode(), self.timeout, attempt)


class Factory:
    """What the entry point `example` names."""

    channel: Channel.ValueType = CHANNEL_SMS

    @staticmethod
    async def connect(settings: bytes, receipts: Receipts) -> ExampleProvider:
        """Raises `pydantic.ValidationError`, which names every fault of the settings."""
        del receipts  # the carrier sends none
        return ExampleProvider(
            Settings.model_validate_json(settings), load("answers", package="clarion_example_provider")
        )


def _object(body: bytes) -> dict[str, str]:
    """The texts of a JSON object; empty where the body is none."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
