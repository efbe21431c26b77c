"""`clarion broadcasts`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import typer

from clarion.broadcast.v1 import broadcast_service_pb2 as pb
from clarion_client.calls.broadcasts import broadcast
from clarion_client.notification import new_event_id
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import UsageFault
from clarion_local.cli.options import AHEAD, ChannelName, json_object
from clarion_local.cli.output import facts, table, to_json
from clarion_local.cli.sending import content_of

app = typer.Typer(no_args_is_help=True, help="One content to a topic, to those who match, or to everybody.")

COLUMNS = ("broadcast", "event", "state", "category", "planned", "of about", "a second", "starts (UTC)")

_IdArgument = Annotated[str, typer.Argument(metavar="BROADCAST")]


@app.command()
@connected(Identity.APP)
def start(
    session: Session,
    category: Annotated[str, typer.Option(metavar="NAME", help="Category of the app.")],
    topic: Annotated[str, typer.Option(metavar="NAME", help="To the subscribers of this topic.")] = "",
    where: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE[,VALUE]", help="To those with one of these; all must match.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="To every recipient of the app.")] = False,
    template: Annotated[str, typer.Option(metavar="NAME", help="Template to render.")] = "",
    data: Annotated[str, typer.Option(metavar="JSON", help="Values of its variables, a JSON object.")] = "",
    title: Annotated[str, typer.Option(help="Push: headline.")] = "",
    body: Annotated[str, typer.Option(help="Push: text.")] = "",
    link: Annotated[str, typer.Option(metavar="URL", help="Push: where a tap leads.")] = "",
    sms: Annotated[str, typer.Option(metavar="TEXT", help="Text message.")] = "",
    subject: Annotated[str, typer.Option(help="Mail: subject.")] = "",
    text: Annotated[str, typer.Option(help="Mail: plain text.")] = "",
    html: Annotated[str, typer.Option(help="Mail: HTML.")] = "",
    channel: Annotated[list[ChannelName] | None, typer.Option(help="Only this channel; several may be given.")] = None,
    at: Annotated[
        datetime | None,
        typer.Option(parser=AHEAD, metavar="IN|TIME", help="Not before: 10m, or ISO 8601 with an offset."),
    ] = None,
    local: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M"], help="Not before this time by each recipient's clock."),
    ] = None,
    expire: Annotated[
        datetime | None,
        typer.Option(parser=AHEAD, metavar="IN|TIME", help="Not after: 1h, or ISO 8601 with an offset."),
    ] = None,
    pace: Annotated[int, typer.Option(min=0, metavar="N", help="Most recipients a second; 0: no limit.")] = 0,
    event_id: Annotated[
        str, typer.Option(metavar="ID", help="Your id of the event: starting it again changes nothing.")
    ] = "",
) -> None:
    """Start a broadcast. Its audience, and its template or content."""
    try:
        request = broadcast(
            category=category,
            event_id=event_id or new_event_id(),
            topic=topic,
            where=conditions(where or []),
            everybody=everybody,
            template=template,
            data=json_object(data, "--data") if data else None,
            content=content_of(title, body, link, sms, subject, text, html),
            channels=[name.channel for name in channel or ()],
            deliver_at=at,
            deliver_at_local=local,
            expire_at=expire,
            pace_per_second=pace,
        )
    except ValueError as fault:
        raise UsageFault(str(fault)) from None
    answer = session.client.broadcasts.start(request)
    if session.out.as_json:
        session.out.document({"event_id": request.event_id, **to_json(answer)})
        return
    known = " (known before: nothing new was stored)" if answer.duplicate else ""
    session.out.show(f"{answer.broadcast_id} is durable{known}")


@app.command()
@connected(Identity.APP)
def show(session: Session, broadcast_id: _IdArgument) -> None:
    """Show how far a broadcast came and what became of its deliveries."""
    answer = session.client.broadcasts.get(broadcast_id)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(facts("", _facts(answer)))


@app.command("list")
@connected(Identity.APP)
def list_(session: Session, limit: Annotated[int, typer.Option(min=1, max=500, help="Newest so many.")] = 50) -> None:
    """List broadcasts, newest first."""
    found = session.client.broadcasts.list(limit)
    if session.out.as_json:
        session.out.document(to_json(pb.ListBroadcastsResponse(broadcasts=found)))
        return
    session.out.show(table("", COLUMNS, [_row(one) for one in found]))


@app.command()
@connected(Identity.APP)
def pause(session: Session, broadcast_id: _IdArgument) -> None:
    """Plan nothing more until it is resumed; what was planned goes on."""
    _changed(session, session.client.broadcasts.pause(broadcast_id).broadcast)


@app.command()
@connected(Identity.APP)
def resume(session: Session, broadcast_id: _IdArgument) -> None:
    """Go on after a pause."""
    _changed(session, session.client.broadcasts.resume(broadcast_id).broadcast)


@app.command()
@connected(Identity.APP)
def cancel(session: Session, broadcast_id: _IdArgument) -> None:
    """Plan nothing more, and end what no provider has yet."""
    _changed(session, session.client.broadcasts.cancel(broadcast_id).broadcast)


def conditions(given: list[str]) -> Mapping[str, list[str]]:
    """KEY=VALUE[,VALUE] … as a filter. Raises UsageFault."""
    found: dict[str, list[str]] = {}
    for one in given:
        key, equals, values = one.partition("=")
        if not equals or not key or not values:
            raise UsageFault(f"--where takes KEY=VALUE[,VALUE], not {one!r}")
        found.setdefault(key, []).extend(values.split(","))
    return found


def _changed(session: Session, one: pb.Broadcast) -> None:
    if session.out.as_json:
        session.out.document(to_json(one))
        return
    session.out.show(table("", COLUMNS, [_row(one)]))


def _state(one: pb.Broadcast) -> str:
    return pb.BroadcastState.Name(one.state).removeprefix("BROADCAST_STATE_").lower()


def _row(one: pb.Broadcast) -> tuple[str, ...]:
    return (
        one.broadcast_id,
        one.event_id,
        _state(one),
        one.category,
        f"{one.planned:,}",
        f"{one.total:,}",
        f"{one.rate_per_second:,.0f}",
        views.moment(one.deliver_at),
    )


def _facts(answer: pb.GetBroadcastResponse) -> dict[str, str]:
    one, outcomes = answer.broadcast, answer.outcomes
    shown = dict(zip(COLUMNS, _row(one), strict=True))
    shown |= {"deliveries": f"{one.deliveries:,}", "suppressed when planned": f"{one.suppressed:,}"}
    if answer.HasField("outcomes"):
        names = ("in_flight", "sent", "failed", "suppressed", "expired", "cancelled", "dead_lettered")
        shown |= {name.replace("_", " "): f"{getattr(outcomes, name):,}" for name in names}
    return shown
