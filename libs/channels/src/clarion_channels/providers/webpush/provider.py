"""The Web Push provider behind the port."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from clarion.types.v1.channel_pb2 import CHANNEL_WEB, Channel
from clarion_channels.clicks import NO_CLICKS, Clicks
from clarion_channels.errortable import ErrorTable, load
from clarion_channels.http import Attempt, NotSent, PoolOptions, send_each
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Receipts, Report
from clarion_channels.providers.webpush.answer import classify
from clarion_channels.providers.webpush.encryption import InvalidKeys, encrypt
from clarion_channels.providers.webpush.endpoint import AllowedHosts, ForbiddenEndpoint
from clarion_channels.providers.webpush.origins import OriginPools
from clarion_channels.providers.webpush.payload import request_headers
from clarion_channels.providers.webpush.settings import WebPushSettings
from clarion_channels.providers.webpush.vapid import Vapid, load_vapid_key
from clarion_channels.push.content import InvalidMessage, too_large
from clarion_channels.push.web import MAX_PLAINTEXT_BYTES, build_plaintext

_MAX_BATCH = 500


class WebPushProvider:
    """The lane of an application's VAPID keys to all push services. Made by `Factory`, inside a running loop."""

    name = "webpush"
    channel: Channel.ValueType = CHANNEL_WEB
    max_batch = _MAX_BATCH

    def __init__(self, settings: WebPushSettings, table: ErrorTable) -> None:
        self.max_in_flight = settings.connections * settings.streams
        self.timeout = timedelta(seconds=settings.timeout_seconds)
        self._table = table
        self._allowed = AllowedHosts(settings.allowed_hosts)
        self._vapids = [
            Vapid(load_vapid_key(key.get_secret_value()), settings.vapid_subject, time.time)
            for key in (settings.vapid_private_key, *settings.former_vapid_private_keys)
        ]
        self._pools = OriginPools(
            PoolOptions(
                clients=settings.connections,
                streams=settings.streams,
                connect_timeout=timedelta(seconds=settings.connect_timeout_seconds),
                ca_file=settings.ca_file,
            ),
            max_origins=settings.max_origins,
            resolve_again_seconds=settings.resolve_again_seconds,
            allow_private_addresses=settings.allow_private_addresses,
        )

    async def send(self, batch: Sequence[Message], report: Report) -> None:
        await send_each(batch, report, self._send_one)

    async def probe(self) -> None:
        """Nothing to ask: there is no one host to connect to, and a key is judged per subscription."""

    async def close(self) -> None:
        await self._pools.close(self.timeout)

    async def _send_one(self, message: Message, attempt: Attempt) -> Result:
        if message.address.WhichOneof("kind") != "web" or message.content.WhichOneof("content") != "push":
            return Result(Outcome.BAD, code="local:not_for_web", detail="address or content is not for browsers")
        bound_to = message.address.web.application_server_key.rstrip("=")
        fitting = [vapid for vapid in self._vapids if bound_to in ("", vapid.public_key)]
        if not fitting:
            return Result(Outcome.BAD, code="local:vapid_key", detail="subscribed with a key that the account lacks")
        deadline = asyncio.get_running_loop().time() + self.timeout.total_seconds()
        for vapid in fitting:
            result = await self._send_as(vapid, message, attempt, deadline)
            if result.outcome is not Outcome.CRED:
                break
        return result

    async def _send_as(self, vapid: Vapid, message: Message, attempt: Attempt, deadline: float) -> Result:
        subscription = message.address.web
        now = datetime.now(UTC)
        try:
            content = message.content
            clicks = Clicks(content.links) if content.HasField("links") else NO_CLICKS
            plaintext = build_plaintext(content.push, str(message.delivery_id), content.event_token, clicks)
            if len(plaintext) > MAX_PLAINTEXT_BYTES:
                raise too_large(len(plaintext), MAX_PLAINTEXT_BYTES, "Web Push")
            origin = self._allowed.origin_of(subscription.endpoint)
            body = encrypt(plaintext, subscription.p256dh, subscription.auth)
            headers = {**request_headers(message, now), "authorization": vapid.header(str(origin))}
            async with asyncio.timeout_at(deadline - self.timeout.total_seconds() / 2):
                lease = await self._pools.lease(origin)
            async with lease as pool:
                left = deadline - asyncio.get_running_loop().time()
                answer = await pool.post(subscription.endpoint, headers, body, timedelta(seconds=left), attempt)
        except InvalidMessage as error:
            return Result(Outcome.BAD, code=error.code, detail=str(error))
        except ForbiddenEndpoint as error:
            return Result(Outcome.BAD, code="local:endpoint", detail=str(error))
        except TimeoutError as error:
            raise NotSent("local:resolve", "the host name of the push service was not resolved in time") from error
        except InvalidKeys:
            return Result(Outcome.BAD, code="local:keys", detail="the subscription's keys cannot be used")
        secrets = (subscription.endpoint, subscription.p256dh, subscription.auth, headers["authorization"])
        return classify(self._table, answer, secrets, datetime.now(UTC))


class Factory:
    """Entry point `webpush`; needs no instance."""

    channel: Channel.ValueType = CHANNEL_WEB

    @staticmethod
    async def connect(settings: bytes, receipts: Receipts) -> WebPushProvider:
        """Validate the credential document; connections are made when the first message for a push service comes.

        Raises `pydantic.ValidationError`, and `OSError` for a CA file that cannot be read.
        """
        del receipts  # Web Push has no receipt path that push services implement
        return WebPushProvider(WebPushSettings.model_validate_json(settings), load("webpush"))
