"""The demonstration from beginning to end."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clarion.notification.v1.notification_service_pb2 import GetResponse
from clarion.recipient.v1.recipient_service_pb2 import Recipient
from clarion_client import AsyncClient
from clarion_ledger import db
from clarion_ledger.audit import audit
from clarion_local.demo import dataset, record, show
from clarion_local.demo.matching import SentDelivery, compare
from clarion_local.demo.memory import proportional_set_size
from clarion_local.demo.practice_room import Entry, PracticeRoom
from clarion_local.demo.report import DeliveryFact, Report
from clarion_local.demo.sending import Handed, send_all, send_showcase
from clarion_local.demo.settling import open_mails, until_settled
from clarion_local.demo.shop import Key, furnish, open_app, welcome
from clarion_local.demo.traffic import Traffic
from clarion_local.practice import Practice
from clarion_local.stack import Endpoints, Options, Stack
from clarion_kit.vocabulary import DeliveryState

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
    """A stack to show things on."""

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
            scene = _Scene(place.endpoints, practice, PracticeRoom(practice), pool, console)
            played = await scene.play(options)
            report = await scene.report(played, place.ready_seconds, began)
        show.everything(console, report, played.handed, played.showcase)
        show.memory(console, {name: proportional_set_size(pid) for name, pid in place.pids.items()})
        show.verdict(console, report)
    return report


@asynccontextmanager
async def _place(options: DemoOptions, console: Console) -> AsyncIterator[_Place]:
    if options.endpoints is not None:
        yield _Place(options.endpoints, {}, 0.0)
        return
    with console.status("Starting Postgres, NATS, Valkey, the sandbox and the daemons"):
        starting = Stack.start(Options(options.folder, all_in_one=options.all_in_one))
        stack = await starting.__aenter__()
