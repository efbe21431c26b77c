"""`clarion keys rotate | limit | rotate-token-key`: secrets, limits, and the key that signs tokens."""

from datetime import UTC
from pathlib import Path
from typing import Annotated

import typer

from clarion.app.v1 import app_service_pb2 as pb
from clarion_kit import token_rotation
from clarion_local.cli import moments, views
from clarion_local.cli.command import Session, command, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.failures import Refused, UsageFault
from clarion_local.cli.output import Output, facts, to_json
from clarion_local.cli.remembered import AppKey, RememberedApps

NetworkOption = Annotated[
    list[str] | None, typer.Option(metavar="CIDR", help="From where it may be used; else from everywhere.")
]
PerSecondOption = Annotated[
    int | None, typer.Option("--requests-per-second", min=1, max=100_000, help="Most calls a second.")
]
PerDayOption = Annotated[
    int | None, typer.Option("--notifications-per-day", min=1, max=24_000_000, help="Most notifications a day.")
]


def add_to(keys: typer.Typer) -> None:
    """Put these commands beside the others of keys."""
    keys.command("rotate")(rotate)
    keys.command("limit")(limit)
    keys.command("rotate-token-key")(rotate_token_key)


@connected(Identity.OPERATOR)
def rotate(
    session: Session,
    app_key: Annotated[str, typer.Argument(metavar="KEY")],
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="How long the former secret stays good: 12h, 7d; 0: it ends at once.")
    ] = "0",
) -> None:
    """Give a key a new secret and show it, once. Without --grace the former secret and its tokens end within 5 seconds."""
    try:
        length = moments.duration("0s" if grace == "0" else grace)
    except ValueError as fault:
        raise UsageFault(f"--grace: {fault}") from None
    answer = session.client.apps.rotate_key(app_key, grace=length)
    if session.out.as_json:
        session.out.document(to_json(answer))
    else:
        until = _until(answer.key)
        session.out.show(
            facts(
                "its new secret is shown this once",
                {"key": answer.key.app_key, "secret": answer.app_secret, "former secret": until},
            )
        )
    if session.connection.stack is not None:
        remembered = RememberedApps(session.connection.stack)
        for app, kept in remembered.all().items():
            if kept.app_key == app_key:
                remembered.put(app, AppKey(app_key, answer.app_secret))


@connected(Identity.OPERATOR)
def limit(
    session: Session,
    app_key: Annotated[str, typer.Argument(metavar="KEY")],
    network: NetworkOption = None,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="It may be used from everywhere.")] = False,
    per_second: PerSecondOption = None,
    per_day: PerDayOption = None,
    no_quotas: Annotated[bool, typer.Option("--no-quotas", help="It may be used as much as the mesh takes.")] = False,
) -> None:
    """Change from where, or how much, a key may be used. Given quotas replace both of those before."""
    quotas = pb.Quotas(requests_per_second=per_second, notifications_per_day=per_day)
    some = per_second is not None or per_day is not None
    if network and everywhere:
        raise UsageFault("--network and --everywhere exclude each other")
    if some and no_quotas:
        raise UsageFault("--no-quotas and quotas exclude each other")
    if not (network or everywhere or some or no_quotas):
        raise UsageFault("nothing to change: give --network, --everywhere, quotas or --no-quotas")
    answer = session.client.apps.update_key(
        app_key, networks=[] if everywhere else network or None, quotas=quotas if some or no_quotas else None
    )
    if session.out.as_json:
        session.out.document(to_json(answer))
    else:
        session.out.show(f"{answer.key.app_key}: {told(answer.key) or 'no limits'}")


@command
def rotate_token_key(
    out: Output,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file of CLARION_TOKEN_KEYS_FILE.")],
    activate: Annotated[
        bool, typer.Option("--activate", help="Second step: the key that was added signs from now on.")
    ] = False,
) -> None:
    """Replace the key that signs tokens, in two steps.

    First a new key is added, which verifies only. When every gateway has read the file (within 5 seconds of getting it), run
    this again with --activate. The former key goes on verifying until the next rotation, so no token ends early.
    """
    try:
        id_ = token_rotation.activate_key(file) if activate else token_rotation.add_key(file)
    except token_rotation.CannotRotate as fault:
        raise Refused(str(fault)) from None
    except ValueError as fault:
        raise UsageFault(str(fault)) from None
    except OSError as fault:
        raise UsageFault(f"{file}: {fault.strerror}") from None
    if out.as_json:
        out.document({"key": id_, "signs": activate})
    else:
        out.show(f"{id_} signs now" if activate else f"{id_} verifies now; next: the same with --activate")


def told(key: pb.Key) -> str:
    """A key's limits in a few words; empty where it has none."""
    parts = [", ".join(key.networks)] if key.networks else []
    if key.quotas.HasField("requests_per_second"):
        parts.append(f"{key.quotas.requests_per_second:,}/s")
    if key.quotas.HasField("notifications_per_day"):
        parts.append(f"{key.quotas.notifications_per_day:,} a day")
    return "; ".join(parts)


def _until(key: pb.Key) -> str:
    if not key.HasField("former_secret_until"):
        return "has ended"
    return f"good until {views.when(key.former_secret_until.ToDatetime(UTC))} UTC"
