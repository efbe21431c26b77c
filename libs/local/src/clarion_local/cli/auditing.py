"""`clarion audit`."""

import asyncio
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from clarion_kit.vocabulary import Channel
from clarion_ledger import admin, db
from clarion_ledger.audit import BEGINNING, Audit, Resting, audit
from clarion_local.cli import views
from clarion_local.cli.command import FolderOption, command
from clarion_local.cli.connection import DEFAULT_FOLDER, Given, server_url
from clarion_local.cli.failures import REFUSED, UsageFault
from clarion_local.cli.options import SinceOption
from clarion_local.cli.output import Output, facts, table

DEFAULT_WINDOW = timedelta(hours=24)


@command
def audit_(
    out: Output,
    app: Annotated[str, typer.Option(metavar="NAME", help="Only this app.")] = "",
    since: SinceOption = None,
    full: Annotated[bool, typer.Option("--full", help="Everything the ledger holds.")] = False,
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Prove that nothing is lost: compare the ledger's independent records; exit 1 if they contradict each other.

    Covers the last 24 hours unless --since or --full say more. Reads CLARION_DATABASE_URL, else the local stack.
    """
    if full and since is not None:
        raise UsageFault("--full and --since exclude each other")
    start = BEGINNING if full else since or datetime.now(UTC) - DEFAULT_WINDOW
    url = server_url(Given(folder=folder), os.environ, "CLARION_DATABASE_URL")
    found, app_names = asyncio.run(_audit(url, start, app))
    if out.as_json:
        out.document(_to_json(found, app_names, start))
    else:
        _show(out, found, app_names, start)
    if found.unaccounted:
        raise typer.Exit(REFUSED)


async def _audit(url: str, since: datetime, app: str) -> tuple[Audit, dict[int, str]]:
    """What was found, and the apps' names."""
    async with db.pool(url, size=1, application="audit") as pool:
        await db.ping(pool)
        app_id = await admin.app_id_of(pool, app) if app else None
        apps = {row.app_id: row.name for row in await admin.apps(pool)}
        return await audit(pool, since=since, app_id=app_id), apps


def _to_json(found: Audit, apps: Mapping[int, str], since: datetime) -> dict[str, object]:
    return {
        "since": since.isoformat(),
        "accepted": found.accepted,
        "scheduled": found.scheduled,
        "deliveries": found.deliveries,
        "in_flight": found.in_flight,
        "states": {views.delivery_state(number): count for number, count in sorted(found.states.items())},
        "stuck": found.stuck,
        "unaccounted": found.unaccounted,
        "findings": dict(found.findings),
        "by_app": [
            {"app": apps.get(app_id, str(app_id)), "channel": channel.slug, **_counts(states)}
            for (app_id, channel), states in _by_app(found).items()
        ],
        "resting": [
            {
                "app": apps.get(rest.app_id, str(rest.app_id)),
                "stage": _stage(rest),
                "rows": rest.rows,
                "late_seconds": round(rest.late.total_seconds(), 1),
            }
            for rest in found.resting
        ],
    }


def _by_app(found: Audit) -> dict[tuple[int, Channel], dict[int, int]]:
    by_app: dict[tuple[int, Channel], dict[int, int]] = {}
    for (app_id, channel, state), count in sorted(found.deliveries_by.items()):
        by_app.setdefault((app_id, channel), {})[state] = count
    return by_app


def _counts(states: Mapping[int, int]) -> dict[str, int]:
    return {
        "deliveries": sum(states.values()),
        **{views.delivery_state(state): count for state, count in sorted(states.items())},
    }


def _stage(rest: Resting) -> str:
    waiting = views.delivery_state(rest.state)
    return f"plan, {waiting}" if rest.channel is None else f"{rest.channel.slug}, {waiting}"


def _show(out: Output, found: Audit, apps: Mapping[int, str], since: datetime) -> None:
    out.show(
        facts(
            f"since {views.when(since)} UTC",
            {
                "accepted": str(found.accepted),
                "scheduled": str(found.scheduled),
                "deliveries": str(found.deliveries),
                **{f"  {views.delivery_state(number)}": str(count) for number, count in sorted(found.states.items())},
                "in flight": str(found.in_flight),
                "resting too long": str(found.stuck),
                "unaccounted": str(found.unaccounted),
            },
        )
    )
    by_app = [
        (
            apps.get(app_id, str(app_id)),
            channel.slug,
            ", ".join(f"{count} {name}" for name, count in _counts(states).items()),
        )
        for (app_id, channel), states in _by_app(found).items()
    ]
    out.show(table("deliveries", ("app", "channel", "states"), by_app))
    if found.resting:
        late = [
            (apps.get(rest.app_id, str(rest.app_id)), _stage(rest), str(rest.rows), views.length(rest.late))
            for rest in found.resting
        ]
        out.show(table("resting too long", ("app", "stage", "rows", "late"), late))
    if found.findings:
        rows = [(name, str(count)) for name, count in sorted(found.findings.items())]
        out.show(table("contradictions", ("check", "rows"), rows))
