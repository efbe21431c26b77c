"""`clarion apps` and `clarion keys`."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.app.v1 import app_service_pb2 as pb
from clarion_local.cli import key_limits, keyring, views
from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import UsageFault
from clarion_local.cli.options import AHEAD
from clarion_local.cli.output import facts, table, to_json
from clarion_local.cli.remembered import FILE_NAME, AppKey, RememberedApps

apps = typer.Typer(no_args_is_help=True, help="Apps: who sends. Needs a key with the scope admin.")
keys = typer.Typer(no_args_is_help=True, help="Keys of apps. Needs a key with the scope admin.")
key_limits.add_to(keys)
keyring.add_to(keys)

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
    rows = [(app.name, *_state(app), _when(app.created_at)) for app in answer.apps]
    session.out.show(table("", ("name", "state", "SMS to", "mail from", "created (UTC)"), rows))


@apps.command("update")
@connected(Identity.OPERATOR)
def update_app(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    sms_country: Annotated[
        list[str] | None, typer.Option(metavar="CC", help="A country it may send SMS to, instead of those before.")
    ] = None,
    all_countries: Annotated[bool, typer.Option("--all-countries", help="It may send SMS to every country.")] = False,
    sender_domain: Annotated[
        list[str] | None, typer.Option(metavar="DOMAIN", help="A domain it may mail from, instead of those before.")
    ] = None,
    all_domains: Annotated[bool, typer.Option("--all-domains", help="It may mail from every domain.")] = False,
) -> None:
    """Change where an app may send SMS to, and from which domains its mail accounts may send."""
    for given, everything, option in (
        (sms_country, all_countries, "countries"),
        (sender_domain, all_domains, "domains"),
    ):
        if given and everything:
            raise UsageFault(f"--all-{option} and single {option} exclude each other")
    answer = session.client.apps.update(
        name,
        sms_countries=[] if all_countries else sms_country or None,
        sender_domains=[] if all_domains else sender_domain or None,
    )
    _tell_app(session, answer.app)


@apps.command("disable")
@connected(Identity.OPERATOR)
def disable_app(session: Session, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Turn an app off: its tokens end everywhere within 5 seconds, and what is planned is suppressed."""
    _tell_app(session, session.client.apps.update(name, enabled=False).app)


@apps.command("enable")
@connected(Identity.OPERATOR)
def enable_app(session: Session, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Turn an app on again."""
    _tell_app(session, session.client.apps.update(name, enabled=True).app)


@keys.command("create")
@connected(Identity.OPERATOR)
def create_key(
    session: Session,
    app: Annotated[str, typer.Argument(metavar="APP")],
    scope: Annotated[list[str], typer.Option(metavar="SCOPE", help=f"At least one of {SCOPES}.")],
    expires: Annotated[
        datetime | None, typer.Option(parser=AHEAD, metavar="IN|TIME", help="When it ends: 30d, or ISO 8601.")
    ] = None,
    network: key_limits.NetworkOption = None,
    per_second: key_limits.PerSecondOption = None,
    per_day: key_limits.PerDayOption = None,
    remember: Annotated[bool, typer.Option(help="Keep it for the next commands (local stack only).")] = True,
) -> None:
    """Create a key and show its secret, once. On a local stack the next commands for this app use it."""
    quotas = pb.Quotas(requests_per_second=per_second, notifications_per_day=per_day)
    answer = session.client.apps.create_key(app, scope, expires_at=expires, networks=network or (), quotas=quotas)
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
    rows = [
        (
            key.app_key,
            ", ".join(key.scopes),
            key_limits.told(key),
            _when(key.created_at),
            _when(key.last_used_at) if key.HasField("last_used_at") else "",
            _ends(key),
        )
        for key in answer.keys
    ]
    session.out.show(table("", ("key", "scopes", "limits", "created (UTC)", "last used (UTC)", "ends (UTC)"), rows))


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


def _tell_app(session: Session, app: pb.App) -> None:
    if session.out.as_json:
        session.out.document(to_json(app))
        return
    state, countries, domains = _state(app)
    session.out.show(facts(app.name, {"state": state, "SMS to": countries, "mail from": domains}))


def _state(app: pb.App) -> tuple[str, str, str]:
    return (
        "enabled" if app.enabled else "disabled",
        ", ".join(app.sms_countries) or "all countries",
        ", ".join(app.sender_domains) or "all domains",
    )


def _ends(key: pb.Key) -> str:
    if key.HasField("revoked_at"):
        return f"revoked {_when(key.revoked_at)}"
    return _when(key.expires_at) if key.HasField("expires_at") else ""


def _when(at: Timestamp) -> str:
    return views.when(at.ToDatetime(UTC))
