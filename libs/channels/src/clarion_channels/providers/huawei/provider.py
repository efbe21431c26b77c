"""The Huawei Push Kit provider behind the port."""

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from clarion.types.v1.channel_pb2 import CHANNEL_ANDROID, Channel
from clarion_channels.errortable import ErrorTable, load
from clarion_channels.http import Attempt, HttpAnswer, HttpPool, NoAnswer, NotSent, PoolOptions
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable, Receipts, Report
from clarion_channels.providers.huawei.answer import classify, refuses_access_token
from clarion_channels.providers.huawei.payload import MAX_TOKENS, PushRequest, build_requests
from clarion_channels.providers.huawei.settings import HuaweiSettings
from clarion_channels.providers.huawei.token import AccessToken, TokenRefused, TokenUnavailable, client_credentials

_PROBE_TOKEN = "clarion-probe-of-credentials"
_PROBE = json.dumps({"validate_only": True, "message": {"data": "{}", "token": [_PROBE_TOKEN]}}).encode()
_CREDENTIALS_WORK = frozenset({Outcome.ACCEPTED, Outcome.BAD, Outcome.DEAD})


class HuaweiProvider:
    """One app's lane. Made by `Factory`, inside a running loop."""

    name = "huawei"
    channel: Channel.ValueType = CHANNEL_ANDROID
    max_batch = MAX_TOKENS

    def __init__(self, settings: HuaweiSettings, table: ErrorTable) -> None:
        self.max_in_flight = settings.connections * settings.streams
        self.timeout = timedelta(seconds=settings.timeout_seconds)
        self._settings = settings
        self._table = table
        connect_timeout = timedelta(seconds=settings.connect_timeout_seconds)
        self._http = HttpPool(
            PoolOptions(settings.connections, settings.streams, connect_timeout, ca_file=settings.ca_file)
        )
        # Apart from the sending: a batch that fills every stream must not keep its own token from being fetched.
        self._token_http = HttpPool(PoolOptions(1, 1, connect_timeout, ca_file=settings.ca_file))
        wait = self.timeout / 2
        self._token = AccessToken(client_credentials(settings, self._token_http, wait), wait)

    async def send(self, batch: Sequence[Message], report: Report) -> None:
        built = build_requests(batch, self._settings, datetime.now(UTC))
        for message in built.late:
            report(message, Result(Outcome.RETRY, code="local:expired"))
        for message, fault in built.invalid:
            report(message, Result(Outcome.BAD, code=fault.code, detail=str(fault)))
        unreported = {number: (request, Attempt()) for number, request in enumerate(built.requests)}

        async def run(number: int, request: PushRequest, attempt: Attempt) -> None:
            results = await self._send_request(request, attempt)
            del unreported[number]
            for token, message in request.messages.items():
                result = results[token]
                report(message, result.with_receipts() if self._settings.callback_key.get_secret_value() else result)

        try:
            async with asyncio.TaskGroup() as tasks:
                for number, (request, attempt) in list(unreported.items()):
                    tasks.create_task(run(number, request, attempt))
        finally:
            # Empty unless this call was cancelled.
            for request, attempt in unreported.values():
                outcome = Outcome.UNKNOWN if attempt.handed_over else Outcome.RETRY
                for message in request.messages.values():
                    report(message, Result(outcome, code="local:cancelled"))

    async def probe(self) -> None:
        """Have Push Kit validate a message to a device that cannot exist."""
        try:
            result = (await self._exchange(_PROBE, {_PROBE_TOKEN}, Attempt()))[_PROBE_TOKEN]
        except (NotSent, NoAnswer) as error:
            raise ProviderUnavailable(f"no answer from Push Kit: {error}") from error
        if result.outcome not in _CREDENTIALS_WORK:
            raise ProviderUnavailable(f"{result.code}: {result.detail}")

    async def close(self) -> None:
        await self._http.close(self.timeout)
        await self._token.close()
        await self._token_http.close(timedelta(0))

    async def _send_request(self, request: PushRequest, attempt: Attempt) -> Mapping[str, Result]:
        try:
            return await self._exchange(request.body, request.messages, attempt)
        except NotSent as error:
            result = Result(Outcome.RETRY, code=error.code, detail=str(error)[:256])
        except NoAnswer as error:
            result = Result(Outcome.UNKNOWN, code="local:no_answer", detail=str(error)[:256])
        return dict.fromkeys(request.messages, result)

    async def _exchange(self, body: bytes, tokens: Collection[str], attempt: Attempt) -> Mapping[str, Result]:
        deadline = asyncio.get_running_loop().time() + self.timeout.total_seconds()
        try:
            authorization = await self._token.header()
            answer = await self._post(body, authorization, deadline, attempt)
            if refuses_access_token(answer):
                attempt.handed_over = False  # a refused request was not acted on
                replaced = await self._token.replace(authorization)
                if replaced != authorization:
                    answer = await self._post(body, replaced, deadline, attempt)
        except TokenRefused as error:
            return dict.fromkeys(tokens, Result(Outcome.CRED, code="local:token_refused", detail=str(error)[:256]))
        except TokenUnavailable as error:
            return dict.fromkeys(tokens, Result(Outcome.RETRY, code="local:token_unavailable", detail=str(error)[:256]))
        return classify(self._table, answer, tokens, datetime.now(UTC))

    async def _post(self, body: bytes, authorization: str, deadline: float, attempt: Attempt) -> HttpAnswer:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise NotSent("local:timeout", "no time left for the request")
        headers = {"authorization": authorization, "content-type": "application/json"}
        return await self._http.post(self._settings.send_url, headers, body, timedelta(seconds=left), attempt)


class Factory:
    """Entry point `huawei`; needs no instance."""

    channel: Channel.ValueType = CHANNEL_ANDROID

    @staticmethod
    async def connect(settings: bytes, receipts: Receipts) -> HuaweiProvider:
        """Validate the credential document; connections and tokens are made when the first message comes.

        Raises `pydantic.ValidationError`, and `OSError` for a CA file that cannot be read.
        """
        del receipts  # Huawei's receipts are HTTP callbacks, which the tracker takes
        return HuaweiProvider(HuaweiSettings.model_validate_json(settings), load("huawei"))
