"""`clarion webhooks`."""

from datetime import timedelta
from typing import Annotated

import typer

from clarion.webhook.v1 import webhook_service_pb2 as pb
from clarion_local.cli import moments, views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.output import table, to_json
from clarion_local.cli.watching import CategoriesOption, ChannelsOption, KindsOption

app = typer.Typer(no_args_is_help=True, help="Where state changes are posted. Needs a key with the scope admin.")

COLUMNS = ("name", "url", "only", "state", "reached (UTC)", "last taken (UTC)", "last error")
FAILURE_COLUMNS = ("at (UTC)", "try", "changes", "error", "message")

_AppArgument = Annotated[str, typer.Argument(metavar="APP")]
_NameArgument = Annotated[str, typer.Argument(metavar="NAME")]


def _duration(text: str) -> timedelta:
    try:
        return moments.duration(text)
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from None


@app.command()
@connected(Identity.OPERATOR)
def put(
    session: Session,
    app_name: _AppArgument,
    name: _NameArgument,
    url: Annotated[str, typer.Argument(metavar="URL", help="https, a public host.")],
    channel: ChannelsOption = None,
    kind: KindsOption = None,
    category: CategoriesOption = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Post nothing for now.")] = False,
) -> None:
    """Create or replace a webhook; the secret of a new one is shown once."""
    answer = session.client.webhooks.put(
        app_name,
        name,
        url,
        enabled=not disabled,
        channels=[chosen.channel for chosen in channel or ()],
        kinds=[chosen.kind for chosen in kind or ()],
        categories=category or (),
    )
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(table("", COLUMNS, [_row(answer.webhook)]))
    if answer.signing_secret:
        session.out.show(f"secret (shown once): {answer.signing_secret}")


@app.command("list")
@connected(Identity.OPERATOR)
def list_(session: Session, app_name: _AppArgument) -> None:
    """List an app's webhooks and how they fare."""
    answer = session.client.webhooks.list(app_name)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(table("", COLUMNS, [_row(webhook) for webhook in answer.webhooks]))


@app.command()
@connected(Identity.OPERATOR)
def delete(session: Session, app_name: _AppArgument, name: _NameArgument) -> None:
    """Remove a webhook."""
    answer = session.client.webhooks.delete(app_name, name)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show("removed")


@app.command("rotate-secret")
@connected(Identity.OPERATOR)
def rotate_secret(
    session: Session,
    app_name: _AppArgument,
    name: _NameArgument,
    former: Annotated[
        timedelta | None,
        typer.Option(
            parser=_duration, metavar="DURATION", help="The former one signs as long; default 24h, at most 7d."
        ),
    ] = None,
) -> None:
    """Make a new secret, shown once."""
    answer = session.client.webhooks.rotate_secret(app_name, name, former_valid_for=former)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(f"secret (shown once): {answer.signing_secret}")
    session.out.show(f"the former one signs until {views.moment(answer.former_ends_at)} (UTC)")


@app.command()
@connected(Identity.OPERATOR)
def test(session: Session, app_name: _AppArgument, name: _NameArgument) -> None:
    """Post one signed sample; exit 1 if it was not taken."""
    answer = session.client.webhooks.test(app_name, name)
    if session.out.as_json:
        session.out.document(to_json(answer))
    else:
        how = "taken" if answer.delivered else f"not taken: {answer.error}"
        session.out.show(f"{how} ({answer.duration_ms} ms)")
    if not answer.delivered:
        raise typer.Exit(1)


@app.command()
@connected(Identity.OPERATOR)
def failures(session: Session, app_name: _AppArgument, name: _NameArgument) -> None:
    """List the latest failed tries, newest first."""
    answer = session.client.webhooks.failures(app_name, name)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    rows = [
        (views.moment(failure.at), str(failure.attempt), str(failure.changes), failure.error, failure.message_id)
        for failure in answer.failures
    ]
    session.out.show(table("", FAILURE_COLUMNS, rows))


def _row(webhook: pb.Webhook) -> tuple[str, ...]:
    status = webhook.status
    only = [
        *map(views.channel, webhook.channels),
        *map(views.event_kind, webhook.kinds),
        *webhook.categories,
    ]
    return (
        webhook.name,
        webhook.url,
        ", ".join(only),
        _state(webhook),
        views.moment(status.reached),
        views.moment(status.last_success if status.HasField("last_success") else None),
        status.last_error,
    )


def _state(webhook: pb.Webhook) -> str:
    status = webhook.status
    if not webhook.enabled:
        return "off"
    if status.HasField("disabled_at"):
        return f"switched off: {status.disabled_reason}"
    return f"failing, {status.tries} tries" if status.HasField("failing_since") else "on"
