"""From a notification of the contract to an item of the ledger: check, default, hash, seal."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from clarion.notification.v1.notification_service_pb2 import Notification
from clarion_gateway import validation
from clarion_gateway.acceptor import Acceptor
from clarion_gateway.admission import Admission
from clarion_gateway.slices import SLICE, Slices
from clarion_gateway.templates import Templates
from clarion_kit.errors import DomainError, ErrorReason, FieldFault, invalid_fields
from clarion_kit.rpc.caller import Caller
from clarion_kit.sealing import AppSealer
from clarion_kit.telemetry.tracing import current_traceparent
from clarion_kit.vocabulary import Priority
from clarion_ledger.accept import Accepted, AcceptItem, AcceptResult, EventIdReused
from clarion_ledger.config import ConfigCache
from clarion_ledger.keys import KeyRing
from clarion_ledger.scheduling import first_moment, last_moment

_HASH_VERSION = b"\x01"


class Intake:
    """Accepts notifications of the contract; each on its own."""

    def __init__(
        self, config: ConfigCache, keys: KeyRing, templates: Templates, acceptor: Acceptor, admission: Admission
    ) -> None:
        self._config = config
        self._keys = keys
        self._templates = templates
        self._acceptor = acceptor
        self._admission = admission
        self._slices = Slices()

    async def take(self, caller: Caller, notifications: Sequence[Notification]) -> list[Accepted | DomainError]:
        """Results in order: accepted, or why not. Raises OVERLOADED, STORAGE_FULL, LedgerUnavailable for all of them."""
        sealer = await self._sealer_for(caller, notifications)
        if len(notifications) <= SLICE:
            prepared = self._each(caller, notifications, sealer)
        else:
            prepared = await self._in_slices(caller, notifications, sealer)
        prepared = await self._within_quota(caller, prepared)
        items = [item for item in prepared if isinstance(item, AcceptItem)]
        results = iter(await self._acceptor.accept(items) if items else [])
        return [_answer(item, next(results)) if isinstance(item, AcceptItem) else item for item in prepared]

    async def _sealer_for(self, caller: Caller, notifications: Sequence[Notification]) -> AppSealer:
        """What seals them, once the templates and categories that they name are known."""
        names = [n.template.name for n in notifications if n.WhichOneof("body") == "template"]
        if names:
            await self._templates.load(caller.app_id, names)
        categories = self._config.snapshot.categories
        if any((caller.app_id, name) not in categories for name in {n.category for n in notifications}):
            await self._config.look_again()
        return await self._keys.sealer(caller.app_id)

    async def _in_slices(
        self, caller: Caller, notifications: Sequence[Notification], sealer: AppSealer
    ) -> list[AcceptItem | DomainError]:
        prepared: list[AcceptItem | DomainError] = []
        async with self._slices.call_of(caller.app_id):
            for start in range(0, len(notifications), SLICE):
                async with self._slices.turn():
                    prepared += self._each(caller, notifications[start : start + SLICE], sealer)
        return prepared

    def _each(
        self, caller: Caller, notifications: Sequence[Notification], sealer: AppSealer
    ) -> list[AcceptItem | DomainError]:
        now = datetime.now(UTC)
        traceparent = current_traceparent()
        prepared: list[AcceptItem | DomainError] = []
        for notification in notifications:
            try:
                prepared.append(self._prepare(caller, notification, sealer, now, traceparent))
            except DomainError as refused:
                prepared.append(refused)
        return prepared

    async def _within_quota(
        self, caller: Caller, prepared: Sequence[AcceptItem | DomainError]
    ) -> list[AcceptItem | DomainError]:
        """What the key's quota of the day has no room for is refused."""
        good = sum(isinstance(item, AcceptItem) for item in prepared)
        refusals = iter(await self._admission.notifications(caller, good))
        return [(next(refusals) or item) if isinstance(item, AcceptItem) else item for item in prepared]

    def _prepare(
        self, caller: Caller, notification: Notification, sealer: AppSealer, now: datetime, traceparent: str
    ) -> AcceptItem:
        validation.check(notification, now)
        if notification.test:
            caller.require("template:write")
        category = self._config.snapshot.category(caller.app_id, notification.category)
        if notification.digest_key and not category.digest_window:
            raise invalid_fields([FieldFault("notification.digest_key", "the category has no digest window")])
        channels = caller.channels_to_name(notification.channel_policy.channels)
        if notification.WhichOneof("body") == "template":
            self._templates.check(caller.app_id, notification.template, digest=bool(notification.digest_key))
        event_id = notification.event_id
        notification.ClearField("event_id")
        original = notification.SerializeToString(deterministic=True)
        payload = original
        if channels:
            notification.channel_policy.channels.extend(channel.value for channel in channels)  # type: ignore[misc]
            payload = notification.SerializeToString()
        priority = Priority(notification.priority or Priority.NORMAL)
        return AcceptItem(
            app_id=caller.app_id,
            event_id=event_id,
            payload_hash=hashlib.sha256(_HASH_VERSION + original).digest(),
            category_id=category.category_id,
            priority=priority,
            recipient_count=len(notification.recipient_ids),
            deliver_at=_due(notification),
            expire_at=_deadline(notification, now, category.time_to_live),
            time_to_live=category.time_to_live,
            payload=sealer.seal("notification", event_id.encode(), "payload", payload),
            traceparent=traceparent,
            enqueue=self._acceptor.goes_straight(priority, caller.app_id),
            test=notification.test,
        )

    async def check(self, caller: Caller, notification: Notification) -> None:
        """What `take` would refuse, with nothing stored; an event id is not required. Raises what `take` gives."""
        sealer = await self._sealer_for(caller, [notification])
        event_id = notification.event_id
        notification.event_id = event_id or "explain"
        self._prepare(caller, notification, sealer, datetime.now(UTC), "")


def _answer(item: AcceptItem, result: AcceptResult) -> Accepted | DomainError:
    if isinstance(result, Accepted):
        return result
    if isinstance(result, EventIdReused):
        return DomainError(
            ErrorReason.EVENT_ID_REUSED,
            "this event id was used for another payload",
            metadata={"event_id": item.event_id, "notification_id": str(result.notification_id)},
        )
    return DomainError(ErrorReason.INVALID_FIELD, "the notification cannot be stored")


def _due(notification: Notification) -> datetime | None:
    """When it is planned: a local due time is that of the first zone on earth, and its deliveries wait for their own."""
    if notification.deliver_at_local:
        return first_moment(datetime.fromisoformat(notification.deliver_at_local))
    return _time(notification, "deliver_at")


def _deadline(notification: Notification, now: datetime, time_to_live: timedelta) -> datetime | None:
    """None: its time to live after it is due. Of a local due time that counts from the last zone on earth."""
    if notification.deliver_at_local and not notification.HasField("expire_at"):
        return max(now, last_moment(datetime.fromisoformat(notification.deliver_at_local))) + time_to_live
    return _time(notification, "expire_at")


def _time(notification: Notification, name: Literal["deliver_at", "expire_at"]) -> datetime | None:
    if not notification.HasField(name):
        return None
    moment: datetime = getattr(notification, name).ToDatetime(tzinfo=UTC)
    return moment
