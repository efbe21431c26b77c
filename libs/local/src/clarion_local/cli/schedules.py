"""`clarion schedules`."""

from datetime import datetime
from typing import Annotated

import typer

from clarion.broadcast.v1.broadcast_service_pb2 import StartBroadcastRequest
from clarion.notification.v1.notification_service_pb2 import Notification as ProtoNotification
from clarion.schedule.v1 import schedule_service_pb2 as pb
from clarion_client import Notification
from clarion_client.calls.broadcasts import broadcast
from clarion_local.cli import views
from clarion_local.cli.broadcasts import conditions
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import UsageFault
from clarion_local.cli.options import AHEAD, json_object
from clarion_local.cli.output import table, to_json
from clarion_local.cli.sending import content_of

app = typer.Typer(no_args_is_help=True, help="Sends that come again, by a cron expression.")

COLUMNS = ("name", "cron", "zone", "category", "makes", "next (UTC)", "last (UTC)", "state")

_NameArgument = Annotated[str, typer.Argument(metavar="NAME")]


@app.command()
@connected(Identity.APP)
def put(
    session: Session,
    name: _NameArgument,
    cron: Annotated[str, typer.Argument(metavar="CRON", help="Five fields, quoted: '0 9 * * 1-5'.")],
    category: Annotated[str, typer.Option(metavar="NAME", help="Category of the app.")],
    zone: Annotated[str, typer.Option(metavar="ZONE", help="IANA time zone whose clocks it goes by.")] = "UTC",
    to: Annotated[list[str] | None, typer.Option(metavar="ID", help="Recipient; may be given up to 100 times.")] = None,
    topic: Annotated[str, typer.Option(metavar="NAME", help="To the subscribers of this topic.")] = "",
    where: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE[,VALUE]", help="To those with one of these; all must match.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="To every recipient of the app.")] = False,
    template: Annotated[str, typer.Option(metavar="NAME", help="Template to render.")] = "",
    data: Annotated[str, typer.Option(metavar="JSON", help="Values of its variables, a JSON object.")] = "",
    title: Annotated[str, typer.Option(help="Push: headline.")] = "",
    body: Annotated[str, typer.Option(help="Push: text.")] = "",
    sms: Annotated[str, typer.Option(metavar="TEXT", help="Text message.")] = "",
    subject: Annotated[str, typer.Option(help="Mail: subject.")] = "",
    text: Annotated[str, typer.Option(help="Mail: plain text.")] = "",
    begin: Annotated[datetime | None, typer.Option(parser=AHEAD, metavar="IN|TIME", help="Fires from then on.")] = None,
    end: Annotated[datetime | None, typer.Option(parser=AHEAD, metavar="IN|TIME", help="Fires before then.")] = None,
) -> None:
    """Create or replace a schedule. Its recipients or audience, and its template or content."""
    content = content_of(title, body, "", sms, subject, text, "")
    values = json_object(data, "--data") if data else {}
    made: ProtoNotification | StartBroadcastRequest
    try:
        if to:
            made = Notification(
                recipients=to, category=category, template=template, data=values, content=content
            ).to_proto()
        else:
            made = broadcast(
                category=category,
                topic=topic,
                where=conditions(where or []),
                everybody=everybody,
                template=template,
                data=values,
                content=content,
            )
    except ValueError as fault:
        raise UsageFault(str(fault)) from None
    answer = session.client.schedules.put(name, cron, made, time_zone=zone, start_at=begin, end_at=end)
    _show(session, [answer.schedule])


@app.command("list")
@connected(Identity.APP)
def list_(session: Session) -> None:
    """List schedules and when they fire next."""
    _show(session, list(session.client.schedules.list()))


@app.command()
@connected(Identity.APP)
def delete(session: Session, name: _NameArgument) -> None:
    """Remove a schedule; what it fired stays."""
    answer = session.client.schedules.delete(name)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show("removed" if answer.deleted else "there was no such schedule")


@app.command()
@connected(Identity.APP)
def pause(session: Session, name: _NameArgument) -> None:
    """Stop firing until it is resumed."""
    _show(session, [session.client.schedules.pause(name).schedule])


@app.command()
@connected(Identity.APP)
def resume(session: Session, name: _NameArgument) -> None:
    """Go on with what comes next; what was missed is not made up for."""
    _show(session, [session.client.schedules.pause(name, paused=False).schedule])


def _show(session: Session, found: list[pb.Schedule]) -> None:
    if session.out.as_json:
        session.out.document(to_json(pb.ListSchedulesResponse(schedules=found)))
        return
    session.out.show(table("", COLUMNS, [_row(one) for one in found]))


def _row(one: pb.Schedule) -> tuple[str, ...]:
    return (
        one.name,
        one.cron,
        one.time_zone,
        one.category,
        "broadcasts" if one.broadcasts else "notifications",
        views.moment(one.next_fire_times[0]) if one.next_fire_times else "never again",
        views.moment(one.last_fired_at) if one.HasField("last_fired_at") else "",
        "paused" if one.paused else one.last_error,
    )
