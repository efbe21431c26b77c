"""`clarion apps` and `clarion keys`."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.app.v1 import app_service_pb2 as pb
from clarion_local.cli import views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.options import AHEAD
from clarion_local.cli.output import facts, table, to_json
from clarion_local.cli.remembered import FILE_NAME, AppKey, RememberedApps

apps = typer.Typer(no_args_is_help=True, help="Apps: who sends. Needs a key with the scope admin.")
keys = typer.Typer(no_args_is_help=True, help="Keys of apps. Needs a key with the scope admin.")

SCOPES = "send:<channel>, send:*, recipient:write, template:write, status:read, deadletter:redrive, admin"


@apps.command("create")
@connected(Identity.OPERATOR)
def create_app(session: Session, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Create an app with the default categories."""
    answer = session.client.apps.create(name)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(f"the app {answer.app.name} exists; next: clarion keys create {answer.app.name} --scope …")


@apps.command("list")
@connected(Identity.OPERATOR)
def list_apps(session: Session) -> None:
    """List all apps."""
    answer = session.client.apps.list()
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    rows = [(app.name, "enabled" if app.enabled else "disabled", _when(app.created_at)) for app in answer.apps]
    session.out.show(table("", ("name", "state", "created (UTC)"), rows))


@keys.command("create")
@connected(Identity.OPERATOR)
def create_key(
    session: Session,
    app: Annotated[str, typer.Argument(metavar="APP")],
    scope: Annotated[list[str], typer.Option(metavar="SCOPE", help=f"At least one of {SCOPES}.")],
    expires: Annotated[
        datetime | None, typer.Option(parser=AHEAD, metavar="IN|TIME", help="When it ends: 30d, or ISO 8601.")
    ] = None,
    remember: Annotated[bool, typer.Option(help="Keep it for the next commands (local stack only).")] = True,
) -> None:
    """Create a key and show its secret, once. On a local stack the next commands for this app use it."""
    answer = session.client.apps.create_key(app, scope, expires_at=expires)
    # Shown before it is kept: a full disk must not swallow the only copy of the secret.
    if session.out.as_json:
        session.out.document(to_json(answer))
    else:
        session.out.show(
            facts(
                f"a key of {app}; its secret is shown this once",
                {"key": answer.key.app_key, "secret": answer.app_secret, "scopes": ", ".join(answer.key.scopes)},
            )
        )
    if remember and session.connection.stack is not None:
        RememberedApps(session.connection.stack).put(app, AppKey(answer.key.app_key, answer.app_secret))
        if not session.out.as_json:
            session.out.note(f"kept in {session.connection.stack / FILE_NAME} for commands with --app {app}")


@keys.command("list")
@connected(Identity.OPERATOR)
def list_keys(session: Session, app: Annotated[str, typer.Argument(metavar="APP")]) -> None:
    """List an app's keys, newest first; never their secrets."""
    answer = session.client.apps.list_keys(app)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    rows = [(key.app_key, ", ".join(key.scopes), _when(key.created_at), _ends(key)) for key in answer.keys]
    session.out.show(table("", ("key", "scopes", "created (UTC)", "ends (UTC)"), rows))


@keys.command("revoke")
@connected(Identity.OPERATOR)
def revoke_key(session: Session, app_key: Annotated[str, typer.Argument(metavar="KEY")]) -> None:
    """Revoke a key; its tokens end everywhere within 5 seconds."""
    answer = session.client.apps.revoke_key(app_key)
    if session.connection.stack is not None:
        RememberedApps(session.connection.stack).forget(app_key)
    if session.out.as_json:
        session.out.document(to_json(answer))
    else:
        session.out.show(f"{answer.key.app_key} is revoked since {_when(answer.key.revoked_at)} UTC")


def _ends(key: pb.Key) -> str:
    if key.HasField("revoked_at"):
        return f"revoked {_when(key.revoked_at)}"
    return _when(key.expires_at) if key.HasField("expires_at") else ""


def _when(at: Timestamp) -> str:
    return views.when(at.ToDatetime(UTC))
