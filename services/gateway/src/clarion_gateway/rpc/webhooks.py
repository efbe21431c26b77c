"""WebhookService."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.webhook.v1 import webhook_service_pb2 as pb
from clarion.webhook.v1.webhook_service_pb2_grpc import WebhookServiceServicer
from clarion_channels.public_hosts import ForbiddenUrl, Resolve, Unresolved, public_address, target_of
from clarion_gateway.rpc.fields import app_id_of
from clarion_kit.errors import DomainError, ErrorReason, FieldFault, invalid_fields, unavailable
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel, EventKind, Word
from clarion_ledger import webhooks
from clarion_ledger.db import Pool
from clarion_ledger.keys import KeyRing
from clarion_ledger.webhooks import Status, Tested, TooMany, Webhook

MAX_CATEGORIES = 50
MAX_WORDS = 50
FORMER_VALID_FOR = timedelta(hours=24)
LONGEST_FORMER = timedelta(days=7)
TEST_PATIENCE = timedelta(seconds=8)
RESOLVE_TIMEOUT = timedelta(seconds=2)

WordT = TypeVar("WordT", bound=Word)


class WebhookRpc(WebhookServiceServicer):
    """Webhooks of apps. `private_hosts`: http and hosts that are not public pass, for practice."""

    def __init__(
        self, pool: Pool, keys: KeyRing, *, private_hosts: bool = False, resolve: Resolve | None = None
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._private_hosts = private_hosts
        self._resolve = resolve

    async def PutWebhook(
        self,
        request: pb.PutWebhookRequest,
        context: grpc.aio.ServicerContext[pb.PutWebhookRequest, pb.PutWebhookResponse],
    ) -> pb.PutWebhookResponse:
        faults = Faults()
        faults.name("app", request.app)
        with faults.within("webhook."):
            wanted = _wanted(request.webhook, faults)
        faults.raise_if_any()
        await self._check_url(wanted.url)
        app_id = await app_id_of(self._pool, request.app)
        try:
            stored, status, secret = await webhooks.put(self._pool, self._keys, app_id, wanted)
        except TooMany:
            raise invalid_fields([FieldFault("webhook", f"an app has at most {webhooks.MAX_WEBHOOKS}")]) from None
        shown = webhooks.shown_secret(secret) if secret is not None else ""
        return pb.PutWebhookResponse(webhook=_webhook(stored, status), signing_secret=shown)

    async def ListWebhooks(
        self,
        request: pb.ListWebhooksRequest,
        context: grpc.aio.ServicerContext[pb.ListWebhooksRequest, pb.ListWebhooksResponse],
    ) -> pb.ListWebhooksResponse:
        app_id = await app_id_of(self._pool, request.app)
        found = await webhooks.every(self._pool, self._keys, app_id)
        return pb.ListWebhooksResponse(webhooks=[_webhook(webhook, status) for webhook, status in found])

    async def DeleteWebhook(
        self,
        request: pb.DeleteWebhookRequest,
        context: grpc.aio.ServicerContext[pb.DeleteWebhookRequest, pb.DeleteWebhookResponse],
    ) -> pb.DeleteWebhookResponse:
        app_id = await self._named(request.app, request.name)
        await webhooks.delete(self._pool, app_id, request.name)
        return pb.DeleteWebhookResponse()

    async def RotateWebhookSecret(
        self,
        request: pb.RotateWebhookSecretRequest,
        context: grpc.aio.ServicerContext[pb.RotateWebhookSecretRequest, pb.RotateWebhookSecretResponse],
    ) -> pb.RotateWebhookSecretResponse:
        valid_for = _former_valid_for(request)
        app_id = await self._named(request.app, request.name)
        rotated = await webhooks.rotate(self._pool, self._keys, app_id, request.name, valid_for)
        if rotated is None:
            raise _unknown(request.name)
        secret, ends_at = rotated
        return pb.RotateWebhookSecretResponse(
            signing_secret=webhooks.shown_secret(secret), former_ends_at=_stamp(ends_at)
        )

    async def TestWebhook(
        self,
        request: pb.TestWebhookRequest,
        context: grpc.aio.ServicerContext[pb.TestWebhookRequest, pb.TestWebhookResponse],
    ) -> pb.TestWebhookResponse:
        app_id = await self._named(request.app, request.name)
        tested = await webhooks.test(self._pool, app_id, request.name, TEST_PATIENCE)
        if tested is None:
            raise _unknown(request.name)
        if not isinstance(tested, Tested):
            raise unavailable("tracker")
        return pb.TestWebhookResponse(
            delivered=not tested.error,
            http_status=tested.status,
            error=tested.error,
            duration_ms=round(tested.duration / timedelta(milliseconds=1)),
        )

    async def ListWebhookFailures(
        self,
        request: pb.ListWebhookFailuresRequest,
        context: grpc.aio.ServicerContext[pb.ListWebhookFailuresRequest, pb.ListWebhookFailuresResponse],
    ) -> pb.ListWebhookFailuresResponse:
        app_id = await self._named(request.app, request.name)
        found = await webhooks.failures(self._pool, app_id, request.name)
        if found is None:
            raise _unknown(request.name)
        return pb.ListWebhookFailuresResponse(
            failures=[
                pb.WebhookFailure(
                    at=_stamp(failure.at),
                    message_id=failure.message_id,
                    changes=failure.changes,
                    attempt=failure.attempt,
                    http_status=failure.status,
                    error=failure.error,
                )
                for failure in found
            ]
        )

    async def _named(self, app: str, name: str) -> int:
        """Raises INVALID_FIELD, APP_NOT_FOUND, LedgerUnavailable."""
        faults = Faults()
        faults.name("app", app)
        faults.name("name", name)
        faults.raise_if_any()
        return await app_id_of(self._pool, app)

    async def _check_url(self, url: str) -> None:
        """The guard of every dial, once ahead of them; a name that cannot be resolved yet may be by then."""
        try:
            target = target_of(url, private=self._private_hosts)
            await public_address(target, timeout=RESOLVE_TIMEOUT, private=self._private_hosts, resolve=self._resolve)
        except ForbiddenUrl as forbidden:
            raise invalid_fields([FieldFault("webhook.url", str(forbidden))]) from None
        except Unresolved:
            return


def _wanted(webhook: pb.Webhook, faults: Faults) -> Webhook:
    faults.name("name", webhook.name)
    faults.require("url", bool(webhook.url), "required")
    faults.require("categories", len(webhook.categories) <= MAX_CATEGORIES, f"at most {MAX_CATEGORIES}")
    for name in webhook.categories[:MAX_CATEGORIES]:
        faults.name("categories", name)
    return Webhook(
        webhook.name,
        webhook.url,
        webhook.enabled,
        _words(faults, "kinds", webhook.kinds, EventKind),
        _words(faults, "channels", webhook.channels, Channel),
        tuple(sorted(set(webhook.categories))),
    )


def _words(faults: Faults, field: str, numbers: Sequence[int], kind: type[WordT]) -> tuple[WordT, ...]:
    found = sorted({kind(number) for number in numbers[:MAX_WORDS]})
    faults.require(field, len(numbers) <= MAX_WORDS, f"at most {MAX_WORDS}")
    faults.require(field, all(word.known for word in found), "an unknown number")
    return tuple(found)


def _former_valid_for(request: pb.RotateWebhookSecretRequest) -> timedelta:
    """Raises INVALID_FIELD."""
    if not request.HasField("former_valid_for"):
        return FORMER_VALID_FOR
    fault = FieldFault("former_valid_for", "0 seconds to 7 days")
    try:
        wanted = request.former_valid_for.ToTimedelta()
    except (ValueError, OverflowError):
        raise invalid_fields([fault]) from None
    if not timedelta(0) <= wanted <= LONGEST_FORMER:
        raise invalid_fields([fault])
    return wanted


def _webhook(webhook: Webhook, status: Status) -> pb.Webhook:
    return pb.Webhook(
        name=webhook.name,
        url=webhook.url,
        enabled=webhook.enabled,
        kinds=webhook.kinds,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
        channels=webhook.channels,  # type: ignore[arg-type]
        categories=webhook.categories,
        status=pb.WebhookStatus(
            reached=_stamp(status.reached),
            last_success=_stamp(status.delivered_at),
            failing_since=_stamp(status.failing_since),
            tries=status.tries,
            last_error=status.last_error,
            disabled_at=_stamp(status.disabled_at),
            disabled_reason=status.disabled_reason,
            gaps=status.gaps,
        ),
    )


def _stamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _unknown(name: str) -> DomainError:
    return DomainError(ErrorReason.WEBHOOK_NOT_FOUND, f"there is no webhook {name!r}", metadata={"name": name})
