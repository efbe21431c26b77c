"""`clarion templates`: lint, versions, publish, archive, restore, show, test and partials."""

from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import MessageToDict

from clarion.template.v1 import template_service_pb2 as pb
from clarion_client import ClarionError, JsonValue, Notification
from clarion_client.notification import new_event_id
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import REFUSED, UsageFault, failure
from clarion_local.cli.options import json_object, read_text
from clarion_local.cli.output import table, to_json
from clarion_local.cli.templates import app as app
from clarion_local.cli.templates import read_template, show_warnings, template_files

partials = typer.Typer(no_args_is_help=True, help="Pieces that every template of the app may include.")
app.add_typer(partials, name="partials")

_NameArgument = Annotated[str, typer.Argument(metavar="NAME")]


@app.command()
@connected(Identity.APP)
def lint(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="JSON, or a folder whose *.json are all checked.")],
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 for warnings, too.")] = False,
) -> None:
    """Check templates without storing them. Exit 1 if any would be refused. With --json one answer a line."""
    failed = False
    for file in template_files(path):
        template = read_template(file)
        try:
            answer = session.client.templates.lint(template)
        except ClarionError as error:
            shown = failure(error)
            if shown.exit_code != REFUSED:
                raise
            failed = True
            if session.out.as_json:
                session.out.line({"file": str(file), "name": template.name, "error": shown.to_json()})
            else:
                session.out.note(f"{file}:")
                session.out.fail(shown)
            continue
        failed |= strict and bool(answer.warnings)
        if session.out.as_json:
            session.out.line({"file": str(file), "name": template.name, **to_json(answer)})
        else:
            count = len(answer.warnings)
            session.out.show(
                f"{template.name}: {count} warning{'s' * (count != 1)}" if count else f"{template.name}: fine"
            )
            show_warnings(session, answer.warnings)
    if failed:
        raise typer.Exit(REFUSED)


@app.command()
@connected(Identity.APP)
def versions(
    session: Session,
    name: _NameArgument,
    before: Annotated[int, typer.Option(min=0, help="Only versions below this one.")] = 0,
) -> None:
    """List a template's versions, newest first, with who stored and published them."""
    answer = session.client.templates.versions(name, before_version=before)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    rows = [
        (
            f"{found.version}{' *' if found.published else ''}",
            found.created_at.ToJsonString(),
            found.created_by,
            found.published_at.ToJsonString() if found.HasField("published_at") else "",
            found.published_by,
        )
        for found in answer.versions
    ]
    session.out.show(table("* published", ("version", "stored", "by", "last published", "by"), rows))


@app.command()
@connected(Identity.APP)
def publish(
    session: Session, name: _NameArgument, version: Annotated[int, typer.Argument(metavar="VERSION", min=1)]
) -> None:
    """Publish a stored version; an older one rolls back."""
    answer = session.client.templates.publish(name, version)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(f"{name} version {version} is published")


@app.command()
@connected(Identity.APP)
def archive(session: Session, name: _NameArgument) -> None:
    """Archive a template: new notifications with it are refused, what was accepted before still renders."""
    answer = session.client.templates.archive(name)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(f"{name} is archived")
    if answer.used_by:
        session.out.note(f"{name} is still sent by:")
        for use in answer.used_by:
            user = f"schedule {use.schedule}" if use.schedule else f"broadcast {use.broadcast_id}"
            session.out.note(f"  {user}{' (paused)' if use.paused else ''}")
        if answer.more:
            session.out.note("  and more")


@app.command()
@connected(Identity.APP)
def restore(session: Session, name: _NameArgument) -> None:
    """Bring an archived template back."""
    answer = session.client.templates.archive(name, restore=True)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(f"{name} is back")


@app.command()
@connected(Identity.APP)
def show(
    session: Session,
    name: _NameArgument,
    version: Annotated[int, typer.Option(min=0, help="0: the published one.")] = 0,
) -> None:
    """Print a version as it was written, as JSON that `put` takes."""
    session.out.document(to_json(session.client.templates.get(name, version=version).template))


@app.command("test")
@connected(Identity.APP)
def try_out(
    session: Session,
    name: _NameArgument,
    to: Annotated[list[str], typer.Option(metavar="ID", help="Recipient; may be given up to 100 times.")],
    category: Annotated[str, typer.Option(metavar="NAME", help="Category; its wishes hold.")],
    version: Annotated[int, typer.Option(min=0, help="Any version, drafts too. 0: the newest.")] = 0,
    data: Annotated[str, typer.Option(metavar="JSON", help="Values; without them the samples are used.")] = "",
    locale: Annotated[str, typer.Option(metavar="BCP47", help="Locale instead of the recipient's.")] = "",
) -> None:
    """Send a version to recipients of the app, with its samples, as a test send: quiet hours and caps of the recipient do not
    hold it back, statistics leave it out. The event id begins with "test-"."""
    number = version or session.client.templates.versions(name, page_size=1).versions[0].version
    values = json_object(data, "--data") if data else _samples(session, name, number)
    try:
        notification = Notification(
            recipients=to,
            category=category,
            event_id=f"test-{new_event_id()}",
            template=name,
            template_version=number,
            data=values,
            locale=locale,
            test=True,
        ).to_proto()
    except ValueError as fault:
        raise UsageFault(str(fault)) from None
    sent = session.client.send(notification)
    if session.out.as_json:
        session.out.document({"event_id": sent.event_id, "notification_id": sent.notification_id, "version": number})
        return
    session.out.show(f"{sent.notification_id}: {name} version {number} to {len(to)}")


@partials.command("put")
@connected(Identity.APP)
def put_partial(
    session: Session,
    name: _NameArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Its source.")],
) -> None:
    """Store a partial. Templates take it up when they are put again."""
    answer = session.client.templates.put_partial(name, read_text(file))
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(f"{name} version {answer.version}")


@partials.command("list")
@connected(Identity.APP)
def list_partials(session: Session) -> None:
    """List the app's partials."""
    answer = session.client.templates.partials()
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(table("", ("name", "newest"), [(found.name, str(found.version)) for found in answer.partials]))


def _samples(session: Session, name: str, version: int) -> dict[str, JsonValue]:
    template: pb.Template = session.client.templates.get(name, version=version).template
    samples: dict[str, JsonValue] = {
        variable.name: MessageToDict(variable.sample) for variable in template.variables if variable.HasField("sample")
    }
    return samples | MessageToDict(template.sample_data)
