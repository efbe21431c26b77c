"""The APNs provider behind the port."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from clarion.types.v1.address_pb2 import APNS_ENVIRONMENT_DEVELOPMENT
from clarion.types.v1.channel_pb2 import CHANNEL_IOS, Channel
from clarion_channels.errortable import ErrorTable, load
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, ProviderUnavailable, Receipts, Report
from clarion_channels.providers.apns.answer import Ending, classify, classify_ending, read_answer
from clarion_channels.providers.apns.connection import Exchange
from clarion_channels.providers.apns.flight import Flight
from clarion_channels.providers.apns.payload import ApnsRequest
from clarion_channels.providers.apns.pool import ApnsPool, DialFailed
from clarion_channels.providers.apns.settings import ApnsSettings, TokenAuth
from clarion_channels.providers.apns.token import ProviderToken
from clarion_channels.providers.es256 import load_p256_pem
from clarion_channels.push.ios import TOPIC_SUFFIX

_MAX_BATCH = 500
_EXPIRED, _NOT_ALLOWED = "ExpiredProviderToken", "TopicDisallowed"
_PROBED_DEVICE = "0" * 64
_CREDENTIALS_WORK = frozenset({Outcome.ACCEPTED, Outcome.BAD, Outcome.DEAD})


class ApnsProvider:
    """One team's or certificate's lane to APNs, production and development. Made inside a running loop."""

    name = "apns"
    channel: Channel.ValueType = CHANNEL_IOS
    max_batch = _MAX_BATCH

    def __init__(self, settings: ApnsSettings, table: ErrorTable) -> None:
        self.max_in_flight = settings.max_connections * settings.max_streams
        self.timeout = timedelta(seconds=settings.timeout_seconds)
        self._bundle_id = settings.bundle_id
        self._table = table
        self._token = _provider_token(settings)
        self._production = self._pool(settings, settings.production_host, settings.production_port)
        self._development = self._pool(settings, settings.development_host, settings.development_port)
        self._flights: set[Flight] = set()
        self._landed = asyncio.Event()

    async def send(self, batch: Sequence[Message], report: Report) -> None:
        flight = Flight(self._bundle_id, report, self._result)
        self._flights.add(flight)
        try:
            await flight.run(
                [
                    (self._production, [message for message in batch if not _is_development(message)]),
                    (self._development, [message for message in batch if _is_development(message)]),
                ],
                self.timeout.total_seconds(),
            )
        finally:
            self._flights.discard(flight)
            self._landed.set()

    async def probe(self) -> None:
        """Send to a device that cannot exist, in production: APNs judges the credentials before it looks for it."""
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def ended(exchange: Exchange, ending: Ending, cause: str) -> None:
            if not answer.done():
                answer.set_result(self._result(exchange, ending, cause))

        exchange: Exchange | None = None
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                connection = await self._production.acquire()
                exchange = connection.submit(_probe_request(self._bundle_id), ended)
                result = await answer
        except (DialFailed, TimeoutError) as error:
            raise ProviderUnavailable(str(error) or "APNs did not answer in time") from error
        finally:
            if exchange is not None:
                exchange.connection.expire(exchange)
        if result.outcome not in _CREDENTIALS_WORK:
            raise ProviderUnavailable(f"APNs answered {result.code}")

    async def close(self) -> None:
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                while self._flights:
                    self._landed.clear()
                    await self._landed.wait()
        except TimeoutError:
            pass  # what is still open is reported as its connection closes
        for pool in (self._production, self._development):
            pool.close()
        for pool in (self._production, self._development):
            await pool.wait_closed()

    def _result(self, exchange: Exchange, ending: Ending, cause: str) -> Result:
        if ending is not Ending.ANSWERED:
            return classify_ending(self._table, ending, cause)
        request = exchange.request
        answer = read_answer(
            exchange.apns_id or request.notification_id, exchange.status, exchange.body, request.device_token
        )
        if answer.description == _EXPIRED and self._token and not self._token.renew_refused(exchange.authorization):
            return Result(
                Outcome.CRED, code=f"{answer.status}:{_EXPIRED}", detail="a fresh token is expired: wrong clock?"
            )
        result = classify(self._table, answer)
        if answer.description == _NOT_ALLOWED and not self._is_own_topic(request):
            # Whoever registers a device says whose app it is: that must not stop everybody else's.
            return replace(result, outcome=Outcome.BAD, detail="the address names an app that the key is not for")
        return result

    def _is_own_topic(self, request: ApnsRequest) -> bool:
        return request.apns_topic == self._bundle_id + TOPIC_SUFFIX[request.type_name]

    def _pool(self, settings: ApnsSettings, host: str, port: int) -> ApnsPool:
        return ApnsPool(
            host,
            port,
            settings.tls_context(),
            self._token,
            max_connections=settings.max_connections,
            max_streams=settings.max_streams,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            ping_seconds=settings.ping_seconds,
        )


class Factory:
    """Entry point `apns`; needs no instance."""

    channel: Channel.ValueType = CHANNEL_IOS

    @staticmethod
    async def connect(settings: bytes, receipts: Receipts) -> ApnsProvider:
        """Validate the credential document; connections are made when the first message comes.

        Raises `pydantic.ValidationError`, and `OSError` for a CA file or certificate that cannot be loaded.
        """
        del receipts  # APNs has no receipt path
        return ApnsProvider(ApnsSettings.model_validate_json(settings), load("apns"))


def _provider_token(settings: ApnsSettings) -> ProviderToken | None:
    auth = settings.auth
    if not isinstance(auth, TokenAuth):
        return None
    key = load_p256_pem(auth.key_p8.get_secret_value().encode())
    return ProviderToken(key, auth.key_id, auth.team_id, time.time)


def _is_development(message: Message) -> bool:
    return message.address.ios.environment == APNS_ENVIRONMENT_DEVELOPMENT


def _probe_request(bundle_id: str) -> ApnsRequest:
    return ApnsRequest(
        device_token=_PROBED_DEVICE,
        payload=b'{"aps":{}}',
        notification_id=str(uuid4()),
        expiration=0,
        priority=5,
        type_name="alert",
        apns_topic=bundle_id,
        collapse_key="",
    )
