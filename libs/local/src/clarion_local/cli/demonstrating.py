"""`clarion demo`."""

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvloop
from rich.console import Console

from clarion_local.cli.command import FolderOption, command
from clarion_local.cli.connection import DEFAULT_FOLDER, STACK_FILE, read_stack
from clarion_local.cli.failures import REFUSED, Refused
from clarion_local.cli.output import Output
from clarion_local.cli.signals import until_signalled

if TYPE_CHECKING:
    from clarion_local.demo.report import Report
    from clarion_local.demo.run import DemoOptions

_INTERRUPTED = 130


@command
def demo(
    out: Output,
    folder: FolderOption = DEFAULT_FOLDER,
    running: Annotated[
        bool, typer.Option("--running", help="On the stack that runs in --folder; else one is started for it.")
    ] = False,
    all_in_one: Annotated[bool, typer.Option("--all-in-one", help="All daemons in one process.")] = False,
    recipients: Annotated[int | None, typer.Option(min=1, help="Only so many of the recipients that ship.")] = None,
    notifications: Annotated[int | None, typer.Option(min=1, help="How many to send.")] = None,
) -> None:
    """Run the example shop against the sandbox and account for every message; exit 1 if one is missing.

    Without --running everything lies in a temporary folder and is gone afterwards.
    """
    # Imported here: it costs more than a second that other commands need not pay (measured).
    from clarion_local.demo.run import NOTIFICATIONS, DemoOptions
    from clarion_local.stack import Endpoints

    wanted = notifications or NOTIFICATIONS
    with ExitStack() as kept:
        if running:
            read_stack(folder)
            endpoints = Endpoints(**json.loads((folder / STACK_FILE).read_text()))
            options = DemoOptions(folder, all_in_one, recipients, wanted, endpoints)
        else:
            place = kept.enter_context(tempfile.TemporaryDirectory(prefix="clarion-demo-"))
            options = DemoOptions(Path(place), all_in_one, recipients, wanted)
        report = uvloop.run(until_signalled(_run(options)))
    if report is None:
        out.note("interrupted; everything is stopped")
        raise typer.Exit(_INTERRUPTED)
    # One line and the last one of stdout, with or without --json: what people read went to stderr.
    typer.echo(json.dumps(report.summary()))
    if report.faults:
        raise typer.Exit(REFUSED)


async def _run(options: "DemoOptions") -> "Report":
    from clarion_local.demo.run import run
    from clarion_local.demo.shop import ImportFailed

    try:
        return await run(options, Console(stderr=True))
    except ImportFailed as failed:
        raise Refused(str(failed)) from None
