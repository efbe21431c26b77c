"""`clarion up` at work: a stack with a first app, watched until somebody ends it."""

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clarion_client import AsyncClient
from clarion_kit.telemetry import logs
from clarion_local.cli.connection import DEFAULT_APP
from clarion_local.cli.failures import UsageFault
from clarion_local.cli.remembered import AppKey, RememberedApps
from clarion_local.practice import Practice
from clarion_local.practising import open_accounts
from clarion_local.stack import Endpoints, Options, Stack

APP_SCOPES = ("send:*", "recipient:write", "template:write", "status:read", "deadletter:redrive")
WATCH_SECONDS = 0.5
ALL_IN_ONE_LOG = "all-in-one.log"


@dataclass(frozen=True, slots=True)
class FirstApp:
    """The app to start with. `new_key`: its key was made just now, so its secret may be shown."""

    name: str
    key: AppKey
    new_key: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """A stack that takes traffic."""

    folder: Path
    seconds: float
    endpoints: Endpoints
    sandbox_url: str
    sandbox_token: str
    inbox_url: str
    app: FirstApp | None


async def run(options: Options, *, first_app: bool, ready: Callable[[Ready], None]) -> None:
    """Start a stack, say so through `ready`, and watch it until cancelled.

    Raises StartFailed when it does not start or a daemon ends; the rest is stopped by then. Raises UsageFault when
    another stack runs in its folder.
    """
    with _alone_in(options.folder), _logging(options):
        async with Stack.start(options) as stack:
            endpoints = stack.endpoints
            practice = Practice.read(Path(endpoints.sandbox), endpoints.ca_file)
            app = await _first_app(endpoints, practice, RememberedApps(options.folder)) if first_app else None
            ready(
                Ready(
                    options.folder,
                    stack.ready_seconds,
                    endpoints,
                    practice.url,
                    practice.api_token,
                    practice.inbox_url,
                    app,
                )
            )
            while True:
                stack.check()
                await asyncio.sleep(WATCH_SECONDS)


async def _first_app(endpoints: Endpoints, practice: Practice, remembered: RememberedApps) -> FirstApp:
    """The demo app with a live key and the sandbox's accounts, whose ports are others at every start."""
    async with AsyncClient.connect(
        endpoints.gateway, endpoints.admin_key, endpoints.admin_secret, ca_file=endpoints.ca_file
    ) as operator:
        if DEFAULT_APP not in {app.name for app in (await operator.apps.list()).apps}:
            await operator.apps.create(DEFAULT_APP)
        await open_accounts(operator, DEFAULT_APP, practice, endpoints.tracker_url)
        live = {
            key.app_key
            for key in (await operator.apps.list_keys(DEFAULT_APP)).keys
            if not key.HasField("revoked_at") and not key.HasField("expires_at")
        }
        kept = remembered.all().get(DEFAULT_APP)
        if kept is not None and kept.app_key in live:
            return FirstApp(DEFAULT_APP, kept, new_key=False)
        made = await operator.apps.create_key(DEFAULT_APP, APP_SCOPES)
    key = AppKey(made.key.app_key, made.app_secret)
    remembered.put(DEFAULT_APP, key)
    return FirstApp(DEFAULT_APP, key, new_key=True)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder: two servers on one data directory would destroy it. The kernel lets go when this process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageFault(f"{folder}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UsageFault(f"a stack is running in {folder}; stop it or choose another --folder") from None
    finally:
        os.close(lock)


@contextmanager
def _logging(options: Options) -> Iterator[None]:
    """Daemons in this process write to one log file; forked ones have their own."""
    if not options.all_in_one:
        yield
        return
    folder = options.folder / "log"
    folder.mkdir(exist_ok=True)
    with (folder / ALL_IN_ONE_LOG).open("a", encoding="utf-8") as file:
        logs.to_stream("all-in-one", "INFO", file)
        try:
            yield
        finally:
            for handler in list(logging.getLogger().handlers):
                logging.getLogger().removeHandler(handler)
