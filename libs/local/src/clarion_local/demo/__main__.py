"""`python -m clarion_local.demo`: everything a person reads goes to stderr, the last line of stdout is one JSON object."""

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import uvloop
from rich.console import Console

from clarion_client import ClarionError
from clarion_kit.errors import Unavailable
from clarion_local.demo.report import Report
from clarion_local.demo.run import NOTIFICATIONS, DemoOptions, run
from clarion_local.demo.shop import ImportFailed
from clarion_local.process import ProcessError

INTERRUPTED = 128 + signal.SIGINT
DESCRIPTION = "Run an example shop on a stack of its own, and account for every notification it sends."


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line. Ends the process with status 2 for one that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m clarion_local.demo", description=DESCRIPTION)
    parser.add_argument("--folder", type=Path, help="where the stack keeps its state (default: a temporary folder)")
    parser.add_argument("--all-in-one", action="store_true", help="all daemons in one process")
    parser.add_argument("--recipients", type=_positive, help="only so many of the recipients that ship")
    parser.add_argument("--notifications", type=_positive, default=NOTIFICATIONS, help="how many to send (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 when everything is accounted for, 1 when not, 130 after Ctrl-C or SIGTERM."""
    asked = parse(arguments)
    console = Console(stderr=True)
    report: Report | None = None
    status = 1
    with ExitStack() as kept:
        folder = asked.folder or Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="clarion-demo-")))
        options = DemoOptions(folder, asked.all_in_one, asked.recipients, asked.notifications)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                report = runner.run(_until_terminated(options, console))
        except* (KeyboardInterrupt, asyncio.CancelledError):
            console.print("Interrupted; everything is stopped.")
            status = INTERRUPTED
        except* (ProcessError, ClarionError, ImportFailed, Unavailable, OSError) as failed:
            for error in _leaves(failed):
                console.print(f"[bold red]The demonstration failed:[/] {error}")
    if report is None:
        return status
    sys.stdout.write(json.dumps(report.summary()) + "\n")
    return 1 if report.faults else 0


async def _until_terminated(options: DemoOptions, console: Console) -> Report:
    """The report. SIGTERM ends it as Ctrl-C does: everything is stopped on the way out."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(options, console)


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    """The errors themselves, out of the groups that task groups put around them."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
