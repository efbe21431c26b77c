"""What a notification must be like before it is stored: every fault named, nothing half taken."""

from datetime import datetime
from typing import Literal

from clarion.notification.v1.notification_service_pb2 import Notification
from clarion_channels.notification_rules import check_notification
from clarion_kit.errors import DomainError, ErrorReason, FieldFault
from clarion_kit.validate import Faults, moment
from clarion_ledger.scheduling import MAX_AHEAD, check_wall_ahead, first_moment, read_wall


def check(notification: Notification, now: datetime) -> None:
    """Raises INVALID_FIELD with every fault, or EXPIRY_IN_PAST."""
    faults = Faults()
    with faults.within("notification."):
        faults.text("event_id", notification.event_id, max_bytes=128)
        check_notification(notification, faults)
        deliver_at = _given(notification, "deliver_at", faults)
        expire_at = _given(notification, "expire_at", faults)
        if deliver_at is not None:
            faults.require("deliver_at", deliver_at <= now + MAX_AHEAD, "more than 366 days ahead")
        if notification.deliver_at_local:
            deliver_at = _local(notification, now, faults)
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


def _given(notification: Notification, name: Literal["deliver_at", "expire_at"], faults: Faults) -> datetime | None:
    return moment(faults, name, getattr(notification, name)) if notification.HasField(name) else None
