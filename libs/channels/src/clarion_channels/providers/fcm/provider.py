"""The FCM provider behind the port."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from clarion.types.v1.channel_pb2 import CHANNEL_ANDROID, Channel
from clarion_channels.errortable import ErrorTable, load
from clarion_channels.http import Attempt, HttpAnswer, HttpPool, NoAnswer, NotSent, PoolOptions, send_each
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable, Receipts, Report
from clarion_channels.providers.fcm.answer import classify
from clarion_channels.providers.fcm.payload import build_body
from clarion_channels.providers.fcm.settings import FcmSettings
from clarion_channels.providers.fcm.token import AccessToken, TokenRefused, TokenTransport, TokenUnavailable
from clarion_channels.push.content import InvalidMessage

_MAX_BATCH = 500
_UNAUTHENTICATED = 401
_NOT_OUR_TOKEN = "401:THIRD_PARTY_AUTH_ERROR"
_PROBE = b'{"validate_only":true,"message":{"token":"clarion-probe","data":{}}}'
_CREDENTIALS_WORK = frozenset({Outcome.ACCEPTED, Outcome.BAD, Outcome.DEAD})


class FcmProvider:
    """One Firebase project's lane. Made by `Factory`, inside a running loop."""

    name = "fcm"
    channel: Channel.ValueType = CHANNEL_ANDROID
    max_batch = _MAX_BATCH

    def __init__(self, settings: FcmSettings, table: ErrorTable) -> None:
        self.max_in_flight = settings.connections * settings.streams
        self.timeout = timedelta(seconds=settings.timeout_seconds)
        self._url = settings.send_url
        self._table = table
        self._http = HttpPool(
            PoolOptions(
                clients=settings.connections,
                streams=settings.streams,
                connect_timeout=timedelta(seconds=settings.connect_timeout_seconds),
                ca_file=settings.ca_file,
            )
        )
        self._token = AccessToken(
            settings.credentials(), TokenTransport(settings.ca_file, self.timeout / 2), self.timeout / 2
        )

    async def send(self, batch: Sequence[Message], report: Report) -> None:
        await send_each(batch, report, self._send_one)

    async def probe(self) -> None:
        """Have FCM validate a message to a device that cannot exist."""
        try:
            result = await self._exchange(_PROBE, "clarion-probe", Attempt())
        except (NotSent, NoAnswer) as error:
            raise ProviderUnavailable(f"no answer from FCM: {error}") from error
        if result.outcome not in _CREDENTIALS_WORK:
            raise ProviderUnavailable(f"{result.code}: {result.detail}")

    async def close(self) -> None:
        await self._http.close(self.timeout)
        await self._token.close()

    async def _send_one(self, message: Message, attempt: Attempt) -> Result:
        try:
            body = build_body(message, datetime.now(UTC))
        except InvalidMessage as error:
            return Result(Outcome.BAD, code=error.code, detail=str(error))
        return await self._exchange(body, message.address.android.token, attempt)

    async def _exchange(self, body: bytes, device_token: str, attempt: Attempt) -> Result:
        deadline = asyncio.get_running_loop().time() + self.timeout.total_seconds()
        try:
            authorization = await self._token.header()
            answer = await self._post(body, authorization, deadline, attempt)
            result = classify(self._table, answer, device_token, datetime.now(UTC))
            if answer.status == _UNAUTHENTICATED and result.code != _NOT_OUR_TOKEN:
                attempt.handed_over = False  # a refused request was not acted on
                replaced = await self._token.replace(authorization)
                if replaced == authorization:
                    return result
                answer = await self._post(body, replaced, deadline, attempt)
                result = classify(self._table, answer, device_token, datetime.now(UTC))
        except TokenRefused as error:
            return Result(Outcome.CRED, code="local:token_refused", detail=str(error))
        except TokenUnavailable as error:
            return Result(Outcome.RETRY, code="local:token_unavailable", detail=str(error))
        return result

    async def _post(self, body: bytes, authorization: str, deadline: float, attempt: Attempt) -> HttpAnswer:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise NotSent("local:timeout", "no time left for the request")
        headers = {"authorization": authorization, "content-type": "application/json"}
        return await self._http.post(self._url, headers, body, timedelta(seconds=left), attempt)


class Factory:
    """Entry point `fcm`; needs no instance."""

    channel: Channel.ValueType = CHANNEL_ANDROID

    @staticmethod
    async def connect(settings: bytes, receipts: Receipts) -> FcmProvider:
        """Validate the credential document; connections and tokens are made when the first message comes.

        Raises `pydantic.ValidationError`, and `OSError` for a CA file that cannot be read.
        """
        del receipts  # FCM has no receipt path
        return FcmProvider(FcmSettings.model_validate_json(settings), load("fcm"))
