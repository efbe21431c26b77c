"""`clarion recipients`: what is done to one person as a whole, and who changed their wishes."""

from datetime import datetime
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict

from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.options import AHEAD
from clarion_local.cli.output import table, to_json

_IdArgument = Annotated[str, typer.Argument(metavar="ID")]


def add_to(app: typer.Typer) -> None:
    """Put these commands beside the others of recipients."""
    for command in (merge, export, erase, wishes, page):
        app.command()(command)


@connected(Identity.APP)
def merge(
    session: Session,
    into: Annotated[str, typer.Argument(metavar="INTO", help="The recipient that stays.")],
    from_: Annotated[str, typer.Argument(metavar="FROM", help="The one that goes; its id stays as another name.")],
) -> None:
    """Make two recipients of one person one. Of their wishes the stricter holds."""
    answer = session.client.recipients.merge(into, from_)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(f"{from_} is another name of {into} now")


@connected(Identity.APP)
def export(session: Session, recipient_id: _IdArgument) -> None:
    """Write everything that is kept of a person, opened, as JSON."""
    session.out.document(to_json(session.client.recipients.export(recipient_id)))


@connected(Identity.APP)
def erase(
    session: Session,
    recipient_id: _IdArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a person and everything personal. Cannot be undone."""
    if not yes:
        typer.confirm(f"Erase {recipient_id} for good?", abort=True)
    answer = session.client.recipients.erase(recipient_id)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show("erased")


@connected(Identity.APP)
def wishes(
    session: Session,
    recipient_id: _IdArgument,
    limit: Annotated[int, typer.Option(min=1, max=500, metavar="N", help="At most so many.")] = 50,
) -> None:
    """List who changed a recipient's wishes, when and how, latest first. With --json one change a line."""
    changes = session.client.preferences.changes(recipient_id, page_size=limit).changes
    if session.out.as_json:
        for change in changes:
            session.out.line(to_json(change))
        return
    rows = [(views.moment(change.at), _way(change.way), change.who, _shown(change)) for change in changes]
    session.out.show(table("", ("when (UTC)", "how", "key", "wishes after it"), rows))


@connected(Identity.APP)
def page(
    session: Session,
    recipient_id: _IdArgument,
    expire: Annotated[
        datetime | None,
        typer.Option("--expire", parser=AHEAD, metavar="IN|TIME", help="Works until then; default: 30d."),
    ] = None,
) -> None:
    """Give a link to the page where a person changes their own wishes. Whoever has it may change them."""
    answer = session.client.preferences.page_link(recipient_id, expire_at=expire)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(answer.url)


def _way(number: int) -> str:
    """A word of the contract; one that a newer server knows is shown as its number."""
    known = pb.WishChangeWay.DESCRIPTOR.values_by_number.get(number)
    return str(number) if known is None else known.name.removeprefix("WISH_CHANGE_WAY_").lower().replace("_", " ")


def _shown(change: pb.WishChange) -> str:
    if change.way == pb.WISH_CHANGE_WAY_SMS_WORD:
        return "STOP" if change.stopped else "START"
    if not change.HasField("after"):
        return "(erased)"
    held = MessageToDict(change.after, preserving_proto_field_name=True)
    return ", ".join(f"{name}: {value}" for name, value in held.items()) or "none"
