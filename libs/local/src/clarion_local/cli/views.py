"""Answers of the contract as rows of tables. Pure."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1 import state_pb2
from clarion.provider.v1 import provider_service_pb2
from clarion.recipient.v1 import recipient_service_pb2
from clarion.types.v1 import channel_pb2

NumberT = TypeVar("NumberT", bound=int)

DELIVERY_COLUMNS = ("channel", "state", "reason", "receipt", "provider", "provider's id", "attempts", "gates", "id")
TIMELINE_COLUMNS = ("at (UTC)", "after", "event", "channel", "state", "reason", "provider", "code", "attempt")
NOTIFICATION_COLUMNS = ("id", "accepted (UTC)", "state", "category", "priority", "recipients", "event id")

ENDED = (
    state_pb2.NOTIFICATION_STATE_DONE,
    state_pb2.NOTIFICATION_STATE_CANCELLED,
    state_pb2.NOTIFICATION_STATE_EXPIRED,
)


def notification_facts(view: pb.NotificationView) -> dict[str, str]:
    """A notification's own facts by name."""
    return {
        "event id": view.event_id,
        "state": state(view.state),
        "category": view.category,
        "priority": priority(view.priority),
        "recipients": str(view.recipient_count),
        "accepted": moment(view.accepted_at if view.HasField("accepted_at") else None),
        "due": moment(view.deliver_at if view.HasField("deliver_at") else None),
        "expires": moment(view.expire_at if view.HasField("expire_at") else None),
        "trace": view.trace_id,
        "test send": "yes" if view.test else "",
    }


def notification_row(view: pb.NotificationView) -> Sequence[str]:
    return (
        view.notification_id,
        moment(view.accepted_at if view.HasField("accepted_at") else None),
        state(view.state) + (" (test)" if view.test else ""),
        view.category,
        priority(view.priority),
        str(view.recipient_count),
        view.event_id,
    )


def delivery_rows(deliveries: Sequence[pb.Delivery]) -> list[Sequence[str]]:
    return [
        (
            channel(delivery.channel),
            _short(state_pb2.DeliveryState.Name, delivery.state, "DELIVERY_STATE_")
            + (" (ambiguous)" if delivery.ambiguous else ""),
            reason(delivery.reason),
            _short(state_pb2.Receipt.Name, delivery.receipt, "RECEIPT_"),
            delivery.provider,
            delivery.provider_message_id,
            str(delivery.attempts),
            gates(delivery.gates),
            delivery.delivery_id,
        )
        for delivery in deliveries
    ]


def timeline_rows(answer: pb.GetResponse) -> list[Sequence[str]]:
    channels = {delivery.delivery_id: channel(delivery.channel) for delivery in answer.deliveries}
    start = answer.timeline[0].at.ToNanoseconds() if answer.timeline else 0
    return [
        (
            clock(entry.at),
            f"+{(entry.at.ToNanoseconds() - start) / 1e9:.3f} s",
            _short(pb.EventKind.Name, entry.kind, "EVENT_KIND_"),
            channels.get(entry.delivery_id, ""),
            _short(state_pb2.DeliveryState.Name, entry.state, "DELIVERY_STATE_"),
            reason(entry.reason),
            entry.provider,
            entry.code,
            str(entry.attempt or ""),
        )
        for entry in answer.timeline
    ]


def gates(trail: state_pb2.GateTrail) -> str:
    """The gates that did not simply pass: "wishes: suppress (channel sms: off)"."""
    return "; ".join(
        f"{_short(state_pb2.Gate.Name, record.gate, 'GATE_')}: "
        f"{_short(state_pb2.Verdict.Name, record.verdict, 'VERDICT_')}" + (f" ({record.rule})" if record.rule else "")
        for record in trail.records
    )


def channel(number: channel_pb2.Channel.ValueType) -> str:
    return _short(channel_pb2.Channel.Name, number, "CHANNEL_")


def address_status(number: recipient_service_pb2.AddressStatus.ValueType) -> str:
    return _short(recipient_service_pb2.AddressStatus.Name, number, "ADDRESS_STATUS_")


def priority(number: channel_pb2.Priority.ValueType) -> str:
    return _short(channel_pb2.Priority.Name, number, "PRIORITY_")


def state(number: state_pb2.NotificationState.ValueType) -> str:
    return _short(state_pb2.NotificationState.Name, number, "NOTIFICATION_STATE_")


def delivery_state(number: int) -> str:
    return _short(state_pb2.DeliveryState.Name, state_pb2.DeliveryState.ValueType(number), "DELIVERY_STATE_")


def event_kind(number: pb.EventKind.ValueType) -> str:
    return _short(pb.EventKind.Name, number, "EVENT_KIND_")


def reason(number: state_pb2.Reason.ValueType) -> str:
    return _short(state_pb2.Reason.Name, number, "REASON_")


def receipt(number: state_pb2.Receipt.ValueType) -> str:
    return _short(state_pb2.Receipt.Name, number, "RECEIPT_")


def clock(at: Timestamp) -> str:
    """Hours to milliseconds, UTC."""
    return at.ToDatetime(UTC).strftime("%H:%M:%S.%f")[:-3]


def when(at: datetime) -> str:
    """Date to seconds, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def moment(at: Timestamp | None) -> str:
    """A time of the contract, "" where there is none."""
    return "" if at is None else when(at.ToDatetime(UTC))


def stop_reason(number: provider_service_pb2.StopReason.ValueType) -> str:
    return _short(provider_service_pb2.StopReason.Name, number, "STOP_REASON_")


def _short(name_of: Callable[[NumberT], str], number: NumberT, prefix: str) -> str:
    """An enum's name as people read it: NOTIFICATION_STATE_DONE → "done"; unset → "". A newer server's number that has
    no name here is shown as it is."""
    try:
        short = name_of(number).removeprefix(prefix).lower()
    except ValueError:
        return str(number)
    return "" if short == "unspecified" else short


def seconds(age: float | None) -> str:
    """An age as "12.3 s"; a moment that is still ahead as "in 12.3 s"."""
    if age is None:
        return ""
    return f"{age:.1f} s" if age >= 0 else f"in {-age:.1f} s"


def length(duration: timedelta) -> str:
    """A duration in its largest whole unit: "10 min", "1 d"."""
    total = duration.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if total and total % size == 0:
            return f"{total / size:g} {unit}"
    return f"{total:g} s"
