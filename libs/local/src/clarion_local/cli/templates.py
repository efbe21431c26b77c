"""`clarion templates`: put, list and preview; the rest is in template_life.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.json_format import Parse, ParseError

from clarion.template.v1 import template_service_pb2 as pb
from clarion_client import ClarionError
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import REFUSED, UsageFault, failure
from clarion_local.cli.options import json_object, read_text
from clarion_local.cli.output import facts, table, to_json

app = typer.Typer(no_args_is_help=True, help="Versioned, localised content.")


@app.command()
@connected(Identity.APP)
def put(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="JSON, or a folder whose *.json are all put.")],
    draft: Annotated[bool, typer.Option("--draft", help="Store without publishing.")] = False,
) -> None:
    """Store new versions and publish them. A file holds one clarion.template.v1.Template in JSON form.

    Every file is tried; exit 1 if any was refused. With --json one answer a line.
    """
    templates = [(file, read_template(file)) for file in template_files(path)]
    refused = 0
    for file, template in templates:
        try:
            stored = session.client.templates.store(template, draft=draft)
        except ClarionError as error:
            shown = failure(error)
            if shown.exit_code != REFUSED:
                raise
            refused += 1
            if session.out.as_json:
                session.out.line({"file": str(file), "name": template.name, "error": shown.to_json()})
            else:
                session.out.note(f"{file}:")
                session.out.fail(shown)
            continue
        if session.out.as_json:
            session.out.line({"file": str(file), "name": template.name, **to_json(stored)})
        else:
            variables = ", ".join(stored.variables) or "none"
            session.out.show(f"{template.name} version {stored.version}, variables: {variables}")
            show_warnings(session, stored.warnings)
    if refused:
        raise typer.Exit(REFUSED)


@app.command("list")
@connected(Identity.APP)
def list_(
    session: Session, archived: Annotated[bool, typer.Option("--archived", help="Archived ones too.")] = False
) -> None:
    """List the app's templates."""
    answer = session.client.templates.list(include_archived=archived)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    rows = [
        (found.name, str(found.published_version or ""), str(found.latest_version), ", ".join(found.locales))
        for found in answer.templates
    ]
    session.out.show(table("", ("name", "published", "newest", "locales"), rows))


@app.command()
@connected(Identity.APP)
def preview(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    version: Annotated[int, typer.Option(min=0, help="0: the published one.")] = 0,
    locale: Annotated[str, typer.Option(metavar="BCP47", help="Default: the template's own.")] = "",
    data: Annotated[str, typer.Option(metavar="JSON", help="Values; without them the samples are used.")] = "",
    zone: Annotated[str, typer.Option(metavar="IANA", help="Zone that times are told in. Default: UTC.")] = "",
) -> None:
    """Render a template without sending it."""
    values = json_object(data, "--data") if data else None
    try:
        answer = session.client.templates.preview(name, version=version, locale=locale, data=values, time_zone=zone)
    except ValueError as fault:
        raise UsageFault(str(fault)) from None
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    push, mail = answer.content.push, answer.content.mail
    session.out.show(
        facts(
            f"{name} ({answer.locale})",
            {
                "push title": push.title,
                "push body": push.body,
                "push link": push.link,
                "sms": answer.content.sms.text,
                "mail subject": mail.subject,
                "mail text": mail.text,
                "mail html": mail.html,
            },
        )
    )


def show_warnings(session: Session, warnings: Sequence[pb.LintWarning]) -> None:
    """One line each: where it is, what it is."""
    for warning in warnings:
        place = " ".join(part for part in (warning.locale, warning.content, warning.field) if part)
        session.out.show(f"  warning: {place}: {warning.message}" if place else f"  warning: {warning.message}")


def template_files(path: Path) -> list[Path]:
    """The file, or the *.json of a folder by name. Raises UsageFault where there are none."""
    if not path.is_dir():
        return [path]
    files = sorted(path.glob("*.json"))
    if not files:
        raise UsageFault(f"{path} holds no *.json")
    return files


def read_template(file: Path) -> pb.Template:
    """A template in protobuf's JSON form. Raises UsageFault."""
    template = pb.Template()
    try:
        Parse(read_text(file), template)
    except ParseError as fault:
        raise UsageFault(f"{file} is no template in JSON form: {fault}") from None
    locales = [body.locale for body in template.bodies]
    if len(set(locales)) < len(locales):
        raise UsageFault(f"{file} has two bodies of one locale")
    return template
