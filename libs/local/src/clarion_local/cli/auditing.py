"""`clarion audit`."""

import asyncio
import os
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from clarion_ledger import admin, db
from clarion_ledger.audit import Audit, audit
from clarion_local.cli import views
from clarion_local.cli.command import FolderOption, command
from clarion_local.cli.connection import DEFAULT_FOLDER, Given, server_url
from clarion_local.cli.failures import REFUSED
from clarion_local.cli.options import SinceOption
from clarion_local.cli.output import Output, facts, table

DEFAULT_WINDOW = timedelta(hours=24)


@command
def audit_(
    out: Output,
    app: Annotated[str, typer.Option(metavar="NAME", help="Only this app.")] = "",
    since: SinceOption = None,
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Prove that nothing is lost: compare the ledger's independent records; exit 1 if they contradict each other.

    Covers the last 24 hours unless --since says more. Reads CLARION_DATABASE_URL, else the local stack.
    """
    start = since or datetime.now(UTC) - DEFAULT_WINDOW
    url = server_url(Given(folder=folder), os.environ, "CLARION_DATABASE_URL")
    found = asyncio.run(_audit(url, start, app))
    if out.as_json:
        out.document(_to_json(found, start))
    else:
        _show(out, found, start)
    if found.unaccounted:
        raise typer.Exit(REFUSED)


async def _audit(url: str, since: datetime, app: str) -> Audit:
    async with db.pool(url, size=1, application="audit") as pool:
        await db.ping(pool)
        app_id = await admin.app_id_of(pool, app) if app else None
        return await audit(pool, since=since, app_id=app_id)


def _to_json(found: Audit, since: datetime) -> dict[str, object]:
    return {
        "since": since.isoformat(),
        "accepted": found.accepted,
        "scheduled": found.scheduled,
        "deliveries": found.deliveries,
        "in_flight": found.in_flight,
        "states": {views.delivery_state(number): count for number, count in sorted(found.states.items())},
        "stuck": found.stuck,
        "unaccounted": found.unaccounted,
        "findings": found.findings,
    }


def _show(out: Output, found: Audit, since: datetime) -> None:
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
    if found.findings:
        rows = [(name, str(count)) for name, count in sorted(found.findings.items())]
        out.show(table("contradictions", ("check", "rows"), rows))
