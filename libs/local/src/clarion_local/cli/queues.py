"""`clarion queues`."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clarion_local.cli.command import FolderOption, command
from clarion_local.cli.connection import DEFAULT_FOLDER, Given, server_url
from clarion_local.cli.output import Output
from clarion_local.cli.queue_view import QueueView

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
    """Show what waits on the bus, what rests in the ledger and which provider accounts take no work, for operators.

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
            out.show(QueueView(look, None, every_lane))


async def _again(out: Output, looks: AsyncIterator["Look"], every_lane: bool) -> None:
    if out.as_json:
        async for look in looks:
            out.line(look.to_json())
        return
    from clarion_local.cli.lanes import rates

    before: Look | None = None
    with out.live() as draw:
        async for look in looks:
            draw(QueueView(look, rates(before, look) if before is not None else None, every_lane))
            before = look


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
