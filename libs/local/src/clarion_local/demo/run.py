"""The demonstration from beginning to end: start, set up, send, wait, compare, show."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from clarion_ledger import db
from clarion_local.demo import show
from clarion_local.demo.memory import by_daemon
from clarion_local.demo.play import Play
from clarion_local.demo.report import Report
from clarion_local.practice import Practice
from clarion_local.stack import Endpoints, Options, Stack

NOTIFICATIONS = 6_000


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to run. `recipients` None: all that ship. `endpoints`: of a running stack, else one is started in `folder`."""

    folder: Path
    all_in_one: bool = False
    recipients: int | None = None
    notifications: int = NOTIFICATIONS
    endpoints: Endpoints | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """A stack to show things on; `pids` of the daemons that were started here."""

    endpoints: Endpoints
    pids: dict[str, int]
    ready_seconds: float


async def run(options: DemoOptions, console: Console | None = None) -> Report:
    """Run everything and show it on `console` (default: stderr).

    Raises StartFailed and what the servers raise at the start, ClarionError, ImportFailed, LedgerUnavailable, OSError
    (the sandbox).
    """
    console = console or Console(stderr=True)
    began = time.monotonic()
    async with _place(options, console) as place:
        practice = Practice.read(Path(place.endpoints.sandbox), place.endpoints.ca_file)
        async with db.pool(place.endpoints.database_url, size=2, application="demo") as pool:
            played = await Play(place.endpoints, practice, pool, console).run(options.recipients, options.notifications)
        report = Report(
            wanted=options.notifications + sum(scene.notifications for scene in played.scenes),
            audit=played.audit,
            deliveries=played.deliveries,
            mismatch=played.mismatch,
            seconds=time.monotonic() - began,
            ready_seconds=place.ready_seconds,
            scenes=played.scenes,
        )
        show.scenes(console, report)
        show.funnel(console, report)
        show.latencies(console, report, played.call_seconds)
        show.timeline(console, played.showcase)
        show.memory(console, by_daemon(place.pids))
        show.checks(console, report, played.taken)
        return report


@asynccontextmanager
async def _place(options: DemoOptions, console: Console) -> AsyncIterator[_Place]:
    if options.endpoints is not None:
        yield _Place(options.endpoints, {}, 0.0)
        return
    with console.status("Starting Postgres, NATS, Valkey, the sandbox and the daemons") as status:
        async with Stack.start(Options(options.folder, all_in_one=options.all_in_one)) as stack:
            status.stop()
            console.print(f"Ready in {stack.ready_seconds:.1f} s; the gateway listens on {stack.endpoints.gateway}")
            yield _Place(stack.endpoints, stack.daemons.pids(), stack.ready_seconds)
            status.update("Stopping everything")
            status.start()
