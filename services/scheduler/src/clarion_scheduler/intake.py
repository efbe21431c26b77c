"""From what the contract says to rows of the ledger: check, default, hash, seal; for calls and for firings alike."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from clarion.broadcast.v1.broadcast_service_pb2 import StartBroadcastRequest
from clarion.notification.v1.notification_service_pb2 import ChannelPolicy, Notification, TemplateRef
from clarion.schedule.v1.schedule_service_pb2 import PutScheduleRequest
from clarion_kit.errors import DomainError, ErrorReason, FieldFault, invalid_fields
from clarion_kit.rpc.caller import Caller
from clarion_kit.telemetry.tracing import current_traceparent
from clarion_kit.vocabulary import Priority
from clarion_ledger import broadcasts, recurring
from clarion_ledger.accept import Accepted, AcceptItem, EventIdReused, accept
from clarion_ledger.broadcasts import NewBroadcast, Started
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool
from clarion_ledger.keys import KeyRing
from clarion_ledger.recurring import Recurring
from clarion_scheduler.ports import Templates
from clarion_scheduler.validation import Times, check_broadcast, check_schedule

_HASH_VERSION = b"\x01"
_NOW = Times(None, None, None)


@dataclass(frozen=True, slots=True)
class Made:
    """What a firing made: a notification or broadcast, and the template it sends (empty: none)."""

    made_id: UUID
    template: str


class Intake:
    """Accepts broadcasts, schedules and what schedules fire."""

    def __init__(self, pool: Pool, config: ConfigCache, keys: KeyRing, templates: Templates) -> None:
        self._pool = pool
        self._config = config
        self._keys = keys
        self._templates = templates

    async def start(self, caller: Caller, request: StartBroadcastRequest) -> Started:
        """Durable when this returns. Raises INVALID_FIELD, EXPIRY_IN_PAST, CATEGORY_NOT_FOUND, TEMPLATE_NOT_FOUND,
        MISSING_VARIABLE, SCOPE_MISSING, EVENT_ID_REUSED, STORAGE_FULL, LedgerUnavailable."""
        times = check_broadcast(request, datetime.now(UTC))
        await self._config.category(caller.app_id, request.category)
        await self._check_template(caller.app_id, request, "data")
        hashed = _hash(request)
        _restrict(caller, request.channel_policy)
        return await self._start(caller.app_id, request, times, hashed)

    async def put(self, caller: Caller, request: PutScheduleRequest) -> Recurring:
        """Create or replace a schedule. Raises INVALID_FIELD, CATEGORY_NOT_FOUND, TEMPLATE_NOT_FOUND, MISSING_VARIABLE,
        SCOPE_MISSING, LedgerUnavailable."""
        now = datetime.now(UTC)
        rule = check_schedule(request, now)
        body = request.notification if request.WhichOneof("body") == "notification" else request.broadcast
        category = await self._config.category(caller.app_id, body.category)
        if isinstance(body, Notification) and body.digest_key and not category.digest_window:
            raise invalid_fields([FieldFault("notification.digest_key", "the category has no digest window")])
        path = "notification.template.data" if isinstance(body, Notification) else "broadcast.data"
        await self._check_template(caller.app_id, body, path)
        _restrict(caller, body.channel_policy)
        sealer = await self._keys.sealer(caller.app_id)
        return await recurring.put(
            self._pool,
            caller.app_id,
            request.name,
            rule,
            category_id=category.category_id,
            broadcasts=request.WhichOneof("body") == "broadcast",
            body=sealer.seal("recurring", request.name.encode(), "body", request.SerializeToString()),
            now=now,
            template=_template_name(body),
        )

    async def fire(self, one: Recurring, fire_at: datetime) -> Made:
        """Make what a schedule sends at this fire time; again, it is the same one. Raises CATEGORY_NOT_FOUND,
        EVENT_ID_REUSED, STORAGE_FULL, LedgerUnavailable, Unsealable, DecodeError."""
        sealer = await self._keys.sealer(one.app_id)
        request = PutScheduleRequest.FromString(sealer.open("recurring", one.name.encode(), "body", one.body))
        event_id = recurring.event_id(one.schedule_id, fire_at)
        if request.WhichOneof("body") == "broadcast":
            request.broadcast.event_id = event_id
            started = await self._start(one.app_id, request.broadcast, _NOW, _hash(request.broadcast))
            return Made(started.broadcast_id, _template_name(request.broadcast))
        accepted = await self._accept(one.app_id, event_id, request.notification)
        return Made(accepted.notification_id, _template_name(request.notification))

    async def _start(self, app_id: int, request: StartBroadcastRequest, times: Times, hashed: bytes) -> Started:
        category = await self._config.category(app_id, request.category)
        sealer = await self._keys.sealer(app_id)
        event_id = request.event_id
        started = await broadcasts.start(
            self._pool,
            NewBroadcast(
                app_id=app_id,
                event_id=event_id,
                payload_hash=hashed,
                category_id=category.category_id,
                priority=Priority(request.priority or Priority.BULK),
                deliver_at=times.deliver_at,
                expire_at=times.expire_at,
                time_to_live=category.time_to_live,
                pace=request.pace_per_second,
                payload=sealer.seal("broadcast", event_id.encode(), "payload", request.SerializeToString()),
                traceparent=current_traceparent(),
                last_at=times.last_at,
                template=request.template,
            ),
        )
        if not started.same:
            raise _reused(event_id, str(started.broadcast_id))
        return started

    async def _accept(self, app_id: int, event_id: str, notification: Notification) -> Accepted:
        category = await self._config.category(app_id, notification.category)
        sealer = await self._keys.sealer(app_id)
        payload = notification.SerializeToString(deterministic=True)
        [result] = await accept(
            self._pool,
            [
                AcceptItem(
                    app_id=app_id,
                    event_id=event_id,
                    payload_hash=hashlib.sha256(_HASH_VERSION + payload).digest(),
                    category_id=category.category_id,
                    priority=Priority(notification.priority or Priority.NORMAL),
                    recipient_count=len(notification.recipient_ids),
                    deliver_at=None,
                    expire_at=None,
                    time_to_live=category.time_to_live,
                    payload=sealer.seal("notification", event_id.encode(), "payload", payload),
                    traceparent="",
                    enqueue=False,
                )
            ],
        )
        if isinstance(result, Accepted):
            return result
        if isinstance(result, EventIdReused):
            raise _reused(event_id, str(result.notification_id))
        raise DomainError(ErrorReason.INVALID_FIELD, "the notification cannot be stored")

    async def _check_template(self, app_id: int, body: Notification | StartBroadcastRequest, path: str) -> None:
        reference = _template(body)
        if reference is not None:
            digest = isinstance(body, Notification) and bool(body.digest_key)
            await self._templates.check(app_id, reference, path, digest=digest)


def _template(body: Notification | StartBroadcastRequest) -> TemplateRef | None:
    if isinstance(body, Notification):
        return body.template if body.WhichOneof("body") == "template" else None
    if not body.template:
        return None
    return TemplateRef(name=body.template, version=body.template_version, data=body.data, locale=body.locale)


def _template_name(body: Notification | StartBroadcastRequest) -> str:
    reference = _template(body)
    return reference.name if reference is not None else ""


def _restrict(caller: Caller, policy: ChannelPolicy) -> None:
    """Name the channels that the token may use, where the client named none. Raises SCOPE_MISSING."""
    channels = caller.channels_to_name(policy.channels)
    policy.channels.extend(channel.value for channel in channels)  # type: ignore[misc]


def _hash(request: StartBroadcastRequest) -> bytes:
    """Of what the client asked for, without the event id: protobuf bytes are made deterministic."""
    original = StartBroadcastRequest()
    original.CopyFrom(request)
    original.ClearField("event_id")
    return hashlib.sha256(_HASH_VERSION + original.SerializeToString(deterministic=True)).digest()


def _reused(event_id: str, known_id: str) -> DomainError:
    return DomainError(
        ErrorReason.EVENT_ID_REUSED,
        "this event id was used for another payload",
        metadata={"event_id": event_id, "broadcast_id": known_id},
    )
