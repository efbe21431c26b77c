"""`clarion queues`."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from clarion_local.cli import views
from clarion_local.cli.command import FolderOption, command
from clarion_local.cli.connection import DEFAULT_FOLDER, Given, server_url
from clarion_local.cli.output import Output, table

if TYPE_CHECKING:
    from clarion_local.cli.lanes import Look


@command
def queues(
    out: Output,
    folder: FolderOption = DEFAULT_FOLDER,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    interval_seconds: Annotated[
        float, typer.Option("--interval", min=0.2, metavar="SECONDS", help="Between looks.")
    ] = 2.0,
    every_lane: Annotated[bool, typer.Option("--all", help="Empty lanes too.")] = False,
) -> None:
    """Show what waits on the bus and what rests in the ledger, for operators.

    Reads CLARION_NATS_URL and CLARION_DATABASE_URL, else the local stack. With --json --watch one look a line.
    """
    looks = _looks(folder, interval_seconds if watch else None)
    if not watch:
        asyncio.run(_once(out, looks, every_lane))
        return
    with suppress(KeyboardInterrupt):
        asyncio.run(_again(out, looks, every_lane))


async def _once(out: Output, looks: AsyncIterator["Look"], every_lane: bool) -> None:
    async for look in looks:
        if out.as_json:
            out.document(look.to_json())
        else:
            out.show(_view(look, every_lane))


async def _again(out: Output, looks: AsyncIterator["Look"], every_lane: bool) -> None:
    if out.as_json:
        async for look in looks:
            out.line(look.to_json())
        return
    with out.live() as draw:
        async for look in looks:
            draw(_view(look, every_lane))


async def _looks(folder: Path, interval_seconds: float | None) -> AsyncIterator["Look"]:
    # Imported here: bus and ledger cost most of a second that other commands need not pay.
    from clarion_local.cli.lanes import observing

    given = Given(folder=folder)
    nats_url = server_url(given, os.environ, "CLARION_NATS_URL")
    database_url = server_url(given, os.environ, "CLARION_DATABASE_URL")
    async with observing(nats_url, database_url, os.environ) as observer:
        while True:
            yield await observer.look()
            if interval_seconds is None:
                return
            await asyncio.sleep(interval_seconds)


def _view(look: "Look", every_lane: bool) -> RenderableType:
    shown = [lane for lane in look.lanes if every_lane or lane.waiting or lane.pending]
    empty = len(look.lanes) - len(shown)
    lanes = [(lane.lane, str(lane.waiting), str(lane.pending), views.seconds(lane.oldest_seconds)) for lane in shown]
    backlog = [
        (
            rows.stage,
            views.delivery_state(rows.state) or "scheduled",
            str(rows.rows),
            views.seconds(rows.oldest_seconds),
        )
        for rows in look.backlog
    ]
    return Group(
        Text(f"{empty} of {len(look.lanes)} lanes of the bus are empty"),
        table("bus", ("lane", "waiting", "taken", "oldest"), lanes),
        table("ledger, in flight", ("stage", "state", "rows", "oldest"), backlog),
    )
