"""What a broadcast or a schedule must be like before it is stored: every fault named, nothing half taken."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from clarion.broadcast.v1.broadcast_service_pb2 import StartBroadcastRequest
from clarion.notification.v1.notification_service_pb2 import Notification
from clarion.recipient.v1.recipient_service_pb2 import AttributeMatch
from clarion.schedule.v1.schedule_service_pb2 import PutScheduleRequest
from clarion_channels.content_rules import check_content
from clarion_channels.notification_rules import check_notification, check_policy, check_priority, check_template
from clarion_kit.errors import DomainError, ErrorReason, FieldFault
from clarion_kit.validate import Faults, moment
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

MAX_PACE = 100_000
MAX_CONDITIONS = 8
MAX_VALUES = 100
MAX_VALUE_BYTES = 256


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
    deliver_at = moment(faults, "deliver_at", request.deliver_at) if request.HasField("deliver_at") else None
    expire_at = moment(faults, "expire_at", request.expire_at) if request.HasField("expire_at") else None
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
    start_at = moment(faults, "start_at", request.start_at) if request.HasField("start_at") else None
    end_at = moment(faults, "end_at", request.end_at) if request.HasField("end_at") else None
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
                faults.require("test", not request.notification.test, "a schedule makes no test sends")
                check_notification(request.notification, faults)
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
    check_priority(request.priority, faults)
    faults.require("pace_per_second", request.pace_per_second <= MAX_PACE, f"over {MAX_PACE:,}")
    faults.text("collapse_key", request.collapse_key, max_bytes=64, required=False)
    faults.require(
        "template", bool(request.template) != request.HasField("content"), "a template or content is required, not both"
    )
    if request.template:
        check_template("template", request.template, request.data, request.locale, faults)
    if request.HasField("content"):
        with faults.within("content."):
            check_content(request.content, faults)
    check_policy(request.channel_policy, faults)
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
