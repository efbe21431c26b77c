"""`clarion watch`."""

from collections.abc import Sequence
from contextlib import closing
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer

from clarion.notification.v1 import notification_service_pb2, state_pb2
from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.options import ChannelName
from clarion_local.cli.output import printable, to_json


class KindName(StrEnum):
    """Kinds of events as they are typed."""

    SCHEDULED = "scheduled"
    ACCEPTED = "accepted"
    PLANNED = "planned"
    RETRY = "retry"
    TERMINAL = "terminal"
    RECEIPT = "receipt"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REDRIVEN = "redriven"
    HELD = "held"
    DEFERRED = "deferred"
    WAITING = "waiting"
    RELEASED = "released"
    BROADCAST = "broadcast"
    RESCHEDULED = "rescheduled"

    @property
    def kind(self) -> "notification_service_pb2.EventKind.ValueType":
        return notification_service_pb2.EventKind.Value(f"EVENT_KIND_{self.name}")


class StateName(StrEnum):
    """States of deliveries as they are typed."""

    READY = "ready"
    ENQUEUED = "enqueued"
    RETRY_WAIT = "retry-wait"
    DEFERRED = "deferred"
    HELD = "held"
    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    DEAD_LETTERED = "dead-lettered"

    @property
    def state(self) -> "state_pb2.DeliveryState.ValueType":
        return state_pb2.DeliveryState.Value(f"DELIVERY_STATE_{self.name}")


ChannelsOption = Annotated[list[ChannelName] | None, typer.Option("--channel", help="Only this channel; repeatable.")]
KindsOption = Annotated[list[KindName] | None, typer.Option("--kind", help="Only this kind of event; repeatable.")]
CategoriesOption = Annotated[
    list[str] | None, typer.Option("--category", metavar="NAME", help="Only this category; repeatable.")
]


@connected(Identity.APP)
def watch(
    session: Session,
    cursor: Annotated[str, typer.Option(metavar="CURSOR", help="Go on from there; without it from now.")] = "",
    channel: ChannelsOption = None,
    kind: KindsOption = None,
    state: Annotated[list[StateName] | None, typer.Option(help="Only this state; repeatable.")] = None,
    category: CategoriesOption = None,
    notification: Annotated[
        list[str] | None, typer.Option("--id", metavar="ID", help="Only this notification; repeatable.")
    ] = None,
    recipient: Annotated[str, typer.Option(metavar="ID", help="Only deliveries to this recipient.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after so many.")] = None,
) -> None:
    """Show what happens to notifications, as it happens, until Ctrl-C. With --json one change a line, each with its cursor."""
    following = session.client.deliveries.watch(
        cursor,
        channels=[name.channel for name in channel or ()],
        kinds=[name.kind for name in kind or ()],
        states=[name.state for name in state or ()],
        categories=category or (),
        notification_ids=notification or (),
        recipient_id=recipient,
    )
    try:
        with closing(iter(following)) as changes:
            for change in islice(changes, limit):
                if session.out.as_json:
                    session.out.line(to_json(change))
                else:
                    session.out.show(printable("  ".join(_row(change))))
    except KeyboardInterrupt:
        if following.cursor:
            session.out.note(f"go on with --cursor {following.cursor}")


def _row(change: pb.WatchDeliveriesResponse) -> Sequence[str]:
    entry = change.entry
    words = (
        views.event_kind(entry.kind),
        views.channel(change.channel),
        views.delivery_state(entry.state),
        views.reason(entry.reason),
        views.receipt(change.receipt),
        f"{entry.provider} {entry.code}".strip(),
        change.category,
        change.event_id,
        change.notification_id,
    )
    return (views.clock(entry.at), *(word for word in words if word))
