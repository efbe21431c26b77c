"""What a notification must be like before it is stored: every fault named, nothing half taken.

Works on the message of the contract, because copying each of 5,000 a second into a second form would cost as much as
accepting it.
"""

from datetime import datetime, timedelta
from typing import Literal

from clarion.notification.v1.notification_service_pb2 import ChannelMode, EscalateUntil, Notification
from clarion_channels.content_rules import check_attachments, check_content
from clarion_gateway.moments import moment
from clarion_kit.errors import DomainError, ErrorReason, FieldFault
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel
from clarion_ledger.scheduling import check_wall_ahead, first_moment, read_wall, read_window

MAX_RECIPIENTS = 100
MAX_AHEAD = timedelta(days=366)
MAX_DATA_BYTES = 64 << 10
_MIN_ESCALATION, _MAX_ESCALATION = 10**9, 7 * 86_400 * 10**9
"""Nanoseconds."""
_CHANNELS = frozenset(channel.value for channel in Channel)


def check(notification: Notification, now: datetime) -> None:
    """Raises INVALID_FIELD with every fault, or EXPIRY_IN_PAST."""
    faults = Faults()
    with faults.within("notification."):
        faults.text("event_id", notification.event_id, max_bytes=128)
        _recipients(notification, faults)
        faults.name("category", notification.category)
        faults.require("priority", 0 <= notification.priority <= 3, "unknown")
        faults.text("collapse_key", notification.collapse_key, max_bytes=64, required=False)
        faults.text("digest_key", notification.digest_key, max_bytes=64, required=False)
        _body(notification, faults)
        check_attachments(notification, faults)
        _policy(notification, faults)
        deliver_at = _given(notification, "deliver_at", faults)
        expire_at = _given(notification, "expire_at", faults)
        if deliver_at is not None:
            faults.require("deliver_at", deliver_at <= now + MAX_AHEAD, "more than 366 days ahead")
        if notification.deliver_at_local:
            deliver_at = _local(notification, now, faults)
        if notification.HasField("send_window"):
            read_window(faults, notification.send_window)
    faults.raise_if_any()
    if expire_at is not None and expire_at <= max(now, deliver_at or now):
        raise DomainError(
            ErrorReason.EXPIRY_IN_PAST,
            "expire_at must be later than now and deliver_at",
            fields=[FieldFault("notification.expire_at", "must be later than now and deliver_at")],
        )


def _local(notification: Notification, now: datetime, faults: Faults) -> datetime | None:
    """When the first zone on earth comes to the local due time."""
    faults.require("deliver_at_local", not notification.HasField("deliver_at"), "not with deliver_at")
    wall = read_wall(faults, "deliver_at_local", notification.deliver_at_local)
    if wall is None:
        return None
    check_wall_ahead(faults, wall, now)
    return first_moment(wall)


def _recipients(notification: Notification, faults: Faults) -> None:
    ids = notification.recipient_ids
    faults.require("recipient_ids", 1 <= len(ids) <= MAX_RECIPIENTS, f"1 to {MAX_RECIPIENTS} are required")
    for position, recipient_id in enumerate(ids[:MAX_RECIPIENTS]):
        faults.text(f"recipient_ids[{position}]", recipient_id, max_bytes=128)
    if len(ids) > 1:
        faults.require("recipient_ids", len(set(ids)) == len(ids), "an id is given twice")


def _body(notification: Notification, faults: Faults) -> None:
    match notification.WhichOneof("body"):
        case "template":
            template = notification.template
            with faults.within("template."):
                faults.name("name", template.name)
                faults.require("data", template.data.ByteSize() <= MAX_DATA_BYTES, f"over {MAX_DATA_BYTES} bytes")
                faults.text("locale", template.locale, max_bytes=35, required=False)
        case "content":
            with faults.within("content."):
                check_content(notification.content, faults)
        case _:
            faults.add("body", "a template or content is required")


def _policy(notification: Notification, faults: Faults) -> None:
    policy = notification.channel_policy
    with faults.within("channel_policy."):
        escalates = policy.mode == ChannelMode.CHANNEL_MODE_ESCALATE
        faults.require("mode", policy.mode in ChannelMode.values(), "unknown")
        faults.require("mode", not (escalates and notification.digest_key), "an escalation takes no digest key")
        faults.require("until", policy.until in EscalateUntil.values(), "unknown")
        if policy.HasField("escalate_after"):
            within = _MIN_ESCALATION <= policy.escalate_after.ToNanoseconds() <= _MAX_ESCALATION
            faults.require("escalate_after", within, "1 second to 7 days")
        channels = policy.channels
        faults.require("channels", all(channel in _CHANNELS for channel in channels), "unknown channel")
        faults.require("channels", len(set(channels)) == len(channels), "a channel is given twice")


def _given(notification: Notification, name: Literal["deliver_at", "expire_at"], faults: Faults) -> datetime | None:
    return moment(faults, name, getattr(notification, name)) if notification.HasField(name) else None
