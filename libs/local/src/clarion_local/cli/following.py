"""`clarion get`, `list`, `cancel` and `reschedule`."""

from datetime import datetime
from itertools import islice
from typing import Annotated

import typer
from rich.console import Group, RenderableType

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import UsageFault
from clarion_local.cli.options import AHEAD, SinceOption
from clarion_local.cli.output import facts, table, to_json

_MAX_PAGE = 500


@connected(Identity.APP)
def get(
    session: Session,
    notification_id: Annotated[str, typer.Argument(metavar="[ID]", help="Id that send gave.")] = "",
    event: Annotated[str, typer.Option(metavar="ID", help="Your event id instead, known for 30 days.")] = "",
) -> None:
    """Show one notification: its state, its deliveries with the gates that closed, and everything that happened."""
    if bool(notification_id) == bool(event):
        raise UsageFault("give the id of a notification, or --event")
    answer = session.client.get(event_id=event) if event else session.client.get(notification_id)
    if session.out.as_json:
        session.out.document(to_json(answer))
    else:
        session.out.show(whole(answer))


@connected(Identity.APP)
def list_(
    session: Session,
    recipient: Annotated[str, typer.Option(metavar="ID", help="Only of this recipient.")] = "",
    category: Annotated[str, typer.Option(metavar="NAME", help="Only of this category.")] = "",
    since: SinceOption = None,
    until: SinceOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Most rows.")] = 50,
) -> None:
    """List notifications, newest first. With --json one a line."""
    found = islice(
        session.client.list(
            recipient_id=recipient, category=category, since=since, until=until, page_size=min(limit, _MAX_PAGE)
        ),
        limit,
    )
    if session.out.as_json:
        for view in found:
            session.out.line(to_json(view))
        return
    session.out.show(table("", views.NOTIFICATION_COLUMNS, [views.notification_row(view) for view in found]))


@connected(Identity.APP)
def cancel(session: Session, notification_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Cancel what has not been handed to a provider."""
    answer = session.client.cancel(notification_id)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(
        f"{views.state(answer.state)}: {answer.cancelled_deliveries} deliveries cancelled, "
        f"{answer.unaffected_deliveries} were with a provider or finished"
    )


@connected(Identity.APP)
def reschedule(
    session: Session,
    notification_id: Annotated[str, typer.Argument(metavar="ID")],
    at: Annotated[
        datetime, typer.Option(parser=AHEAD, metavar="IN|TIME", help="Not before: 10m, or ISO 8601 with an offset.")
    ],
    expire: Annotated[
        datetime | None,
        typer.Option(parser=AHEAD, metavar="IN|TIME", help="Not after; default: the deadline moves as far."),
    ] = None,
) -> None:
    """Move a notification that waits for its time, earlier or later."""
    answer = session.client.reschedule(notification_id, at, expire_at=expire)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(f"due {views.moment(answer.deliver_at)}, until {views.moment(answer.expire_at)} (UTC)")


def whole(answer: pb.GetResponse) -> RenderableType:
    """A notification for people: facts, deliveries, timeline."""
    view = answer.notification
    return Group(
        facts(view.notification_id, views.notification_facts(view)),
        table("deliveries", views.DELIVERY_COLUMNS, views.delivery_rows(answer.deliveries)),
        table("timeline", views.TIMELINE_COLUMNS, views.timeline_rows(answer)),
    )
