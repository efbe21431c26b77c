"""`clarion ledger`."""

import asyncio
import os
from datetime import timedelta
from typing import Annotated

import typer

from clarion_ledger import db, retention
from clarion_ledger.retention import Expired, Retention
from clarion_local.cli.command import FolderOption, command
from clarion_local.cli.connection import DEFAULT_FOLDER, Given, server_url
from clarion_local.cli.output import Output, table

app = typer.Typer(no_args_is_help=True, help="The system of record; for whoever owns the database.")


@app.callback()
def ledger() -> None:
    """Keeps `prune` a command of its own."""


@app.command()
@command
def prune(
    out: Output,
    bodies: Annotated[float, typer.Option(metavar="DAYS", min=1, help="Keep sealed contents for so long.")] = 7,
    history: Annotated[float, typer.Option(metavar="DAYS", min=7, help="Keep everything else for so long.")] = 90,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be dropped.")] = False,
    folder: FolderOption = DEFAULT_FOLDER,
) -> None:
    """Drop partitions that are past their time; one that something in flight still needs is kept and named.

    The scheduler does the same by itself. Event ids are kept for 30 days in any case. Reads CLARION_DATABASE_URL, the URL
    of the schema's owner, else the local stack.
    """
    url = server_url(Given(folder=folder), os.environ, "CLARION_DATABASE_URL")
    kept = Retention(timedelta(days=bodies), timedelta(days=history))
    outcome = asyncio.run(_prune(url, kept, dry_run=dry_run))
    if out.as_json:
        out.document(
            [
                {"partition": expired.partition, "ends": expired.ends.isoformat(), "outcome": done}
                for expired, done in outcome
            ]
        )
        return
    rows = [(expired.partition, f"{expired.ends:%Y-%m-%d}", done) for expired, done in outcome]
    out.show(table("", ("partition", "ends", "outcome"), rows) if rows else "nothing is past its time")


async def _prune(url: str, kept: Retention, *, dry_run: bool) -> list[tuple[Expired, str]]:
    """Each partition past its time, and what became of it."""
    outcome = []
    async with db.pool(url, size=1, application="prune") as pool:
        for expired in await retention.prunable(pool, kept):
            if expired.held_by is not None:
                done = f"kept for {expired.held_by}"
            elif dry_run:
                done = "would be dropped"
            else:
                done = "dropped" if await retention.prune(pool, kept, expired.partition) else "busy, try again"
            outcome.append((expired, done))
    return outcome
