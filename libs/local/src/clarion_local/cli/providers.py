"""`clarion providers` and `clarion categories`."""

import sys
from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from clarion.category.v1 import category_service_pb2
from clarion.provider.v1 import provider_service_pb2
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.options import from_json, json_object, read_text
from clarion_local.cli.output import table, to_json

app = typer.Typer(no_args_is_help=True, help="Accounts with third parties. Needs a key with the scope admin.")
categories = typer.Typer(no_args_is_help=True, help="Kinds of notifications.")


@app.command()
@connected(Identity.OPERATOR)
def put(
    session: Session,
    app_name: Annotated[str, typer.Argument(metavar="APP")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The app's own name for the account.")],
    kind: Annotated[str, typer.Option(metavar="KIND", help="Provider plug-in: apns, fcm, webpush, smpp, smtp, …")],
    settings: Annotated[
        Path, typer.Option(metavar="FILE", help="JSON document that the kind documents; - reads the standard input.")
    ],
    enabled: Annotated[bool, typer.Option(help="Whether new deliveries are routed to it.")] = True,
    limits: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON of clarion.provider.v1.Limits: pace, retry, breaker, …")
    ] = None,
) -> None:
    """Create or replace an account. Its settings hold credentials: they come from a file and are never shown."""
    text = sys.stdin.read() if str(settings) == "-" else read_text(settings)
    document = json_object(text, "the settings" if str(settings) == "-" else str(settings))
    own = from_json(read_text(limits), provider_service_pb2.Limits(), str(limits)) if limits is not None else None
    answer = session.client.providers.put(app_name, name, kind, document, enabled=enabled, limits=own)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(f"{answer.provider.name} ({kind}) serves {views.channel(answer.provider.channel)} of {app_name}")


@app.command("list")
@connected(Identity.OPERATOR)
def list_(session: Session, app_name: Annotated[str, typer.Argument(metavar="APP")]) -> None:
    """List an app's accounts, without their settings."""
    answer = session.client.providers.list(app_name)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    rows = [
        (
            views.channel(found.channel),
            found.name,
            str(found.number),
            found.kind,
            _provider_state(found),
            found.stop.detail,
        )
        for found in answer.providers
    ]
    session.out.show(table("", ("channel", "name", "number", "kind", "state", "why"), rows))


@app.command()
@connected(Identity.OPERATOR)
def stop(
    session: Session,
    app_name: Annotated[str, typer.Argument(metavar="APP")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="For those who read it later.")] = "",
) -> None:
    """Stop an account: its deliveries are held until it is resumed."""
    session.client.providers.stop(app_name, name, why)
    session.out.show(f"{name} of {app_name} is stopped; clarion providers resume lets it go on")


@app.command()
@connected(Identity.OPERATOR)
def resume(
    session: Session,
    app_name: Annotated[str, typer.Argument(metavar="APP")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
) -> None:
    """Let a stopped account go on, whatever stopped it; what was held is sent."""
    session.client.providers.resume(app_name, name)
    session.out.show(f"{name} of {app_name} goes on")


@app.command()
@connected(Identity.OPERATOR)
def delete(
    session: Session,
    app_name: Annotated[str, typer.Argument(metavar="APP")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
) -> None:
    """Remove an account and destroy its credentials. What is in flight on it is routed again."""
    session.client.providers.delete(app_name, name)
    session.out.show(f"{name} of {app_name} is gone; what was in flight on it is routed again")


def _provider_state(found: provider_service_pb2.Provider) -> str:
    if found.HasField("stop"):
        return f"stopped: {views.stop_reason(found.stop.reason)} since {views.when(found.stop.since.ToDatetime(UTC))}"
    return "enabled" if found.enabled else "disabled"


@categories.command("list")
@connected(Identity.APP)
def list_categories(session: Session) -> None:
    """List the app's categories and their rules."""
    answer = session.client.categories.list()
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    columns = ("name", "critical", "a lost answer", "opt-in", "channels", "time to live", "attempts", "caps")
    session.out.show(table("", columns, [_category_row(category) for category in answer.categories]))


def _category_row(category: category_service_pb2.Category) -> tuple[str, ...]:
    once = category.guarantee == category_service_pb2.GUARANTEE_AT_MOST_ONCE
    caps = (
        f"{cap.limit} {views.channel(cap.channel)}".rstrip() + f" in {views.length(cap.window.ToTimedelta())}"
        for cap in category.caps
    )
    return (
        category.name,
        "yes" if category.critical else "",
        "ends it" if once else "is tried again",
        "required" if category.opt_in_required else "",
        ", ".join(views.channel(number) for number in category.channels) or "all",
        views.length(category.time_to_live.ToTimedelta()) if category.HasField("time_to_live") else "",
        str(category.max_attempts or ""),
        ", ".join(caps),
    )
