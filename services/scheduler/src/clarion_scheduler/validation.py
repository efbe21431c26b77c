"""What a broadcast or a schedule must be like before it is stored: every fault named, nothing half taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from clarion.broadcast.v1.broadcast_service_pb2 import StartBroadcastRequest
from clarion.notification.v1.notification_service_pb2 import ChannelMode, ChannelPolicy, Notification
from clarion.recipient.v1.recipient_service_pb2 import AttributeMatch
from clarion.schedule.v1.schedule_service_pb2 import PutScheduleRequest
from clarion.types.v1.content_pb2 import Content
from clarion_channels.content_rules import check_attachments, check_content
from clarion_kit.errors import DomainError, ErrorReason, FieldFault
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel
from clarion_ledger.recurring import BadCron, Rule, check_cron
from clarion_ledger.scheduling import (
    MAX_AHEAD,
    check_wall_ahead,
    first_moment,
    known_zone,
    last_moment,
    read_wall,
    read_window,
)

MAX_RECIPIENTS = 100
MAX_DATA_BYTES = 64 << 10
MAX_PACE = 100_000
MAX_CONDITIONS = 8
MAX_VALUES = 100
MAX_VALUE_BYTES = 256
_CHANNELS = frozenset(channel.value for channel in Channel)
_ESCALATE_AFTER = (timedelta(seconds=1), timedelta(days=7))


@dataclass(frozen=True, slots=True)
class Times:
    """When something goes. `deliver_at` None: now. `last_at`: when its recipients' last clock comes to a local time."""

    deliver_at: datetime | None
    expire_at: datetime | None
    last_at: datetime | None


def check_broadcast(request: StartBroadcastRequest, now: datetime) -> Times:
    """Raises INVALID_FIELD with every fault, or EXPIRY_IN_PAST."""
    faults = Faults()
    faults.text("event_id", request.event_id, max_bytes=128)
    _broadcast(request, faults)
    deliver_at = _moment(faults, "deliver_at", request.deliver_at) if request.HasField("deliver_at") else None
    expire_at = _moment(faults, "expire_at", request.expire_at) if request.HasField("expire_at") else None
    last_at = None
    if deliver_at is not None:
        faults.require("deliver_at", deliver_at <= now + MAX_AHEAD, "more than 366 days ahead")
    if request.deliver_at_local:
        faults.require("deliver_at_local", not request.HasField("deliver_at"), "not with deliver_at")
        wall = read_wall(faults, "deliver_at_local", request.deliver_at_local)
        if wall is not None:
            check_wall_ahead(faults, wall, now)
            deliver_at, last_at = first_moment(wall), last_moment(wall)
    faults.raise_if_any()
    if expire_at is not None and expire_at <= max(now, deliver_at or now):
        fault = "must be later than now and than it is due"
        raise DomainError(ErrorReason.EXPIRY_IN_PAST, f"expire_at {fault}", fields=[FieldFault("expire_at", fault)])
    return Times(deliver_at, expire_at, last_at)


def check_schedule(request: PutScheduleRequest, now: datetime) -> Rule:
    """When it fires. Raises INVALID_FIELD with every fault."""
    faults = Faults()
    faults.name("name", request.name)
    zone = request.time_zone or "UTC"
    known = faults.require("time_zone", known_zone(zone), 'must be an IANA time zone, e.g. "Asia/Seoul"')
    start_at = _moment(faults, "start_at", request.start_at) if request.HasField("start_at") else None
    end_at = _moment(faults, "end_at", request.end_at) if request.HasField("end_at") else None
    if end_at is not None:
        faults.require("end_at", end_at > max(now, start_at or now), "must be later than now and start_at")
    if start_at is not None:
        faults.require("start_at", start_at <= now + MAX_AHEAD, "more than 366 days ahead")
    rule = Rule(request.cron, zone, start_at or now, end_at)
    _fires(rule, now, faults, known=known)
    match request.WhichOneof("body"):
        case "notification":
            with faults.within("notification."):
                _unset(request.notification, faults)
                _notification(request.notification, faults)
        case "broadcast":
            with faults.within("broadcast."):
                _unset(request.broadcast, faults)
                _broadcast(request.broadcast, faults)
        case _:
            faults.add("body", "a notification or a broadcast is required")
    faults.raise_if_any()
    return rule


def _fires(rule: Rule, now: datetime, faults: Faults, *, known: bool) -> None:
    try:
        check_cron(rule.cron)
        if known and not faults.found:
            faults.require("cron", bool(rule.fires_after(now, 1)), "never fires")
    except BadCron as bad:
        faults.add("cron", str(bad))


def _unset(body: Notification | StartBroadcastRequest, faults: Faults) -> None:
    """What each firing has of its own."""
    faults.require("event_id", not body.event_id, "each firing has its own")
    for name in ("deliver_at", "expire_at"):
        faults.require(name, not body.HasField(name), "each firing has its own")
    faults.require("deliver_at_local", not body.deliver_at_local, "each firing has its own")


def _broadcast(request: StartBroadcastRequest, faults: Faults) -> None:
    audiences = bool(request.topic) + bool(request.filter) + request.everybody
    faults.require("topic", audiences == 1, "exactly one of topic, filter and everybody is required")
    if request.topic:
        faults.name("topic", request.topic)
    _filter(request.filter, faults)
    faults.name("category", request.category)
    faults.require("priority", 0 <= request.priority <= 3, "unknown")
    faults.require("pace_per_second", request.pace_per_second <= MAX_PACE, f"over {MAX_PACE:,}")
    faults.text("collapse_key", request.collapse_key, max_bytes=64, required=False)
    faults.require(
        "template", bool(request.template) != request.HasField("content"), "a template or content is required, not both"
    )
    if request.template:
        faults.name("template", request.template)
        faults.require("data", request.data.ByteSize() <= MAX_DATA_BYTES, f"over {MAX_DATA_BYTES} bytes")
        faults.text("locale", request.locale, max_bytes=35, required=False)
    if request.HasField("content"):
        _content(request.content, faults)
    _policy(request.channel_policy, faults)
    if request.HasField("send_window"):
        read_window(faults, request.send_window)


def _filter(matches: Sequence[AttributeMatch], faults: Faults) -> None:
    faults.require("filter", len(matches) <= MAX_CONDITIONS, f"more than {MAX_CONDITIONS} conditions")
    for position, match in enumerate(matches[:MAX_CONDITIONS]):
        with faults.within(f"filter[{position}]."):
            faults.name("key", match.key)
            count = len(match.values)
            faults.require("values", 1 <= count <= MAX_VALUES, f"1 to {MAX_VALUES} are required")
            for value in match.values[:MAX_VALUES]:
                faults.text("values", value, max_bytes=MAX_VALUE_BYTES)
            faults.require("values", len(set(match.values)) == count, "a value is given twice")


def _notification(notification: Notification, faults: Faults) -> None:
    ids = notification.recipient_ids
    faults.require("recipient_ids", 1 <= len(ids) <= MAX_RECIPIENTS, f"1 to {MAX_RECIPIENTS} are required")
    for position, recipient_id in enumerate(ids[:MAX_RECIPIENTS]):
        faults.text(f"recipient_ids[{position}]", recipient_id, max_bytes=128)
    faults.require("recipient_ids", len(set(ids)) == len(ids), "an id is given twice")
    faults.name("category", notification.category)
    faults.require("priority", 0 <= notification.priority <= 3, "unknown")
    faults.text("collapse_key", notification.collapse_key, max_bytes=64, required=False)
    faults.text("digest_key", notification.digest_key, max_bytes=64, required=False)
    match notification.WhichOneof("body"):
        case "template":
            with faults.within("template."):
                template = notification.template
                faults.name("name", template.name)
                faults.require("data", template.data.ByteSize() <= MAX_DATA_BYTES, f"over {MAX_DATA_BYTES} bytes")
                faults.text("locale", template.locale, max_bytes=35, required=False)
        case "content":
            _content(notification.content, faults)
        case _:
            faults.add("body", "a template or content is required")
    check_attachments(notification, faults)
    escalates = notification.channel_policy.mode == ChannelMode.CHANNEL_MODE_ESCALATE
    faults.require("digest_key", not (escalates and notification.digest_key), "not with an escalation")
    _policy(notification.channel_policy, faults)
    if notification.HasField("send_window"):
        read_window(faults, notification.send_window)


def _content(content: Content, faults: Faults) -> None:
    with faults.within("content."):
        check_content(content, faults)


def _policy(policy: ChannelPolicy, faults: Faults) -> None:
    with faults.within("channel_policy."):
        faults.require("mode", policy.mode in ChannelMode.values(), "unknown")
        channels = policy.channels
        faults.require("channels", all(channel in _CHANNELS for channel in channels), "unknown channel")
        faults.require("channels", len(set(channels)) == len(channels), "a channel is given twice")
        faults.require("until", 0 <= policy.until <= 2, "unknown")
        if policy.HasField("escalate_after"):
            least, most = _ESCALATE_AFTER
            seconds = policy.escalate_after.seconds
            good = least.total_seconds() <= seconds <= most.total_seconds()
            faults.require("escalate_after", good, "must be 1 second to 7 days")


def _moment(faults: Faults, field: str, stamp: Timestamp) -> datetime | None:
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        faults.add(field, "no valid time")
        return None
