"""The life cycle of every daemon: settings, start, readiness, signals, one stop order.

Stop order: readiness off → stop pulling → finish what is in flight → server.stop(grace) → adapters in reverse → flush
telemetry. A daemon with a dependency away still stops inside its grace.
"""

import asyncio
import gc
import logging
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from datetime import timedelta
from typing import TypeVar

import uvloop

from clarion_kit import tls
from clarion_kit.bus import Handler, JetStreamBus
from clarion_kit.clock import Clock, SystemClock
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.rpc.interceptor import Authenticator
from clarion_kit.rpc.server import AddServicer, MeshAuthenticator, PortInUse, RpcServer
from clarion_kit.settings import Common, FaultySettings, exit_with_faults, load
from clarion_kit.subjects import Lane
from clarion_kit.telemetry import logs
from clarion_kit.telemetry.provider import Telemetry

log = logging.getLogger(__name__)

T = TypeVar("T")
SettingsT = TypeVar("SettingsT", bound=Common)
Check = Callable[[], Awaitable[None]]
Job = Callable[[], Awaitable[object]]
Build = Callable[["Daemon", SettingsT], Awaitable[None]]

EXIT_PORT_IN_USE = 3
EXIT_DEFECT = 70
# Shares of the grace: loops and drains first, then calls in progress; the rest closes resources and flushes.
_WORK_SHARE = 0.6
_CALLS_SHARE = 0.2
_CHECK_TIMEOUT_SECONDS = 2.0
_JOB_BACKOFF_CAP_SECONDS = 5.0


class Daemon:
    """What `build` wires a daemon with. Made by `main` and `run`, entered once."""

    def __init__(self, name: str, settings: Common, telemetry: Telemetry, clock: Clock) -> None:
        self.name = name
        self.telemetry = telemetry
        self.clock = clock
        self.stopping = asyncio.Event()
        self._settings = settings
        self._stack = AsyncExitStack()
        self._checks: dict[str, Check] = {}
        self._loops: list[Callable[[], Awaitable[None]]] = []
        self._drains: list[Callable[[], Awaitable[None]]] = []
        self._server: RpcServer | None = None

    async def open(self, resource: AbstractAsyncContextManager[T]) -> T:
        """Enter a resource; it is closed at the end, in reverse order of opening."""
        return await self._stack.enter_async_context(resource)

    def ready_when(self, **checks: Check) -> None:
        """Ready while every check returns within 2 s. Liveness knows no dependencies."""
        self._checks.update(checks)

    def consume(
        self, bus: JetStreamBus, lane: Lane, handler: Handler, *, width: int = 1, max_messages: int = 16
    ) -> None:
        """Handle a lane with `width` pull loops."""
        for _ in range(width):
            self._loops.append(lambda: bus.consume(lane, handler, self.stopping, max_messages=max_messages))

    def every(self, name: str, interval: timedelta, job: Job) -> None:
        """Run `job` again and again, `interval` (jittered by a fifth) apart, until the daemon stops."""
        self._loops.append(lambda: self._repeat(name, interval, job))

    def drain_with(self, drain: Callable[[], Awaitable[None]]) -> None:
        """Await `drain` after pulling has stopped: it returns when nothing is in flight."""
        self._drains.append(drain)

    def serve(
        self, *services: AddServicer, listen: str | None = None, authenticator: Authenticator | None = None
    ) -> int:
        """Answer RPCs; gives the port. Without an authenticator only daemons of the caller matrix get in (mTLS)."""
        files = tls.TlsFiles.in_dir(self._settings.tls_dir) if self._settings.tls_dir else None
        if authenticator is None:
            credentials = files.mesh_server_credentials() if files else None
            authenticator = MeshAuthenticator(insecure=files is None)
        else:
            credentials = files.public_server_credentials() if files else None
        self._server = RpcServer(
            self.name, listen or self._settings.grpc_listen, credentials, authenticator, self.telemetry, services
        )
        return self._server.port

    async def run(self) -> None:
        """Serve until `stopping` is set or a loop fails, then stop in order."""
        if self._settings.metrics_listen:
            await self.open(self.telemetry.metrics.serve(self._settings.metrics_listen))
        if self._server is not None:
            await self._server.start()
        now = asyncio.get_running_loop().time
        limit = asyncio.timeout(None)
        try:
            async with limit, asyncio.TaskGroup() as group:
                for loop in self._loops:
                    group.create_task(_supervised(loop, self.stopping))
                group.create_task(self._watch_readiness())
                await self.stopping.wait()
                log.info("stopping")
                limit.reschedule(now() + self._settings.stop_grace_seconds * _WORK_SHARE)
                if self._server is not None:
                    await self._server.drain()
        except TimeoutError:
            if not limit.expired():
                raise
            log.warning("stopped with a loop at work; its leases end by themselves")
        except BaseExceptionGroup as failed:
            # What a check found out about the settings is for whoever made them, not a defect.
            faulty = failed.subgroup(lambda error: isinstance(error, FaultySettings))
            if faulty is not None:
                raise _first(faulty) from None
            raise
        finally:
            await self._finish(limit.when() or now() + self._settings.stop_grace_seconds * _WORK_SHARE)

    async def close(self) -> None:
        """Close what `open` entered, in reverse."""
        await self._stack.aclose()

    async def _finish(self, work_ends: float) -> None:
        try:
            async with asyncio.timeout_at(work_ends):
                for drain in self._drains:
                    await drain()
        except TimeoutError:
            log.warning("stopped with work in flight; its leases end by themselves")
        if self._server is not None:
            await self._server.stop(timedelta(seconds=self._settings.stop_grace_seconds * _CALLS_SHARE))

    async def _repeat(self, name: str, interval: timedelta, job: Job) -> None:
        seconds = interval.total_seconds()
        failures = 0
        while not self.stopping.is_set():
            try:
                await job()
                failures = 0
            except (Unavailable, DomainError) as away:
                failures += 1
                log.warning("job %s postponed: %s", name, away)
            except Exception:  # a defect in one job must not stop the others of this daemon
                failures += 1
                log.exception("job %s failed", name)
            pause = seconds * random.uniform(0.8, 1.2)
            if failures:
                pause = min(_JOB_BACKOFF_CAP_SECONDS, max(pause, 0.2 * 2 ** min(failures, 5)))
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), pause)

    async def _watch_readiness(self) -> None:
        ready: bool | None = None
        while not self.stopping.is_set():
            away = [name for name, check in self._checks.items() if not await _holds(check)]
            if self._server is not None and (not away) is not ready:
                ready = not away
                await self._server.set_ready(ready)
                log.info("ready" if ready else "not ready", extra={"away": away})
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 1.0 if ready else 0.1)


async def run(
    name: str,
    settings_type: type[SettingsT],
    build: Build[SettingsT],
    *,
    env: Mapping[str, str] | None = None,
    stopping: asyncio.Event | None = None,
    telemetry: Telemetry | None = None,
) -> None:
    """One daemon in the running loop, until `stopping` is set. Raises FaultySettings, PortInUse, or what a loop raised.

    Several daemons may run side by side in one process: nothing of a daemon is global.
    """
    settings = load(settings_type, env)
    telemetry = telemetry or Telemetry.for_daemon(name, settings)
    async with telemetry.tracing:
        daemon = Daemon(name, settings, telemetry, SystemClock())
        if stopping is not None:
            daemon.stopping = stopping
        try:
            if await _before(daemon.stopping, build(daemon, settings)):
                await daemon.run()
        finally:
            await daemon.close()


def main(name: str, settings_type: type[SettingsT], build: Build[SettingsT]) -> None:
    """The process of one daemon. Exits 2 on faulty settings (all named), 3 if its port is taken, 70 on a defect."""
    tls.restrict_cipher_suites()
    try:
        settings = load(settings_type)
    except FaultySettings as faulty:
        exit_with_faults(name, faulty)
    logs.to_stream(name, settings.log_level)
    # What was imported lives as long as the process: a full collection over it took 70 ms amid a call (measured).
    gc.freeze()

    async def until_signalled() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await run(name, settings_type, build, stopping=stopping)

    try:
        uvloop.run(until_signalled())
    except PortInUse as taken:
        sys.stderr.write(f"{name}: {taken}\n")
        sys.exit(EXIT_PORT_IN_USE)
    except FaultySettings as faulty:
        exit_with_faults(name, faulty)
    except Exception:
        log.exception("ended by a defect")
        sys.exit(EXIT_DEFECT)


async def _before(stopping: asyncio.Event, building: Awaitable[None]) -> bool:
    """Await `building`, given up when the daemon is to stop; True if it came to its end."""
    limit = asyncio.timeout(None)

    async def give_up() -> None:
        await stopping.wait()
        limit.reschedule(asyncio.get_running_loop().time())

    try:
        async with limit:
            watch = asyncio.create_task(give_up())
            try:
                await building
            finally:
                watch.cancel()
    except TimeoutError:
        if not limit.expired():
            raise
        return False
    return True


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def _supervised(loop: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    try:
        await loop()
    finally:
        if not stopping.is_set():
            log.error("a loop ended before its time; the daemon stops")
            stopping.set()


async def _holds(check: Check) -> bool:
    try:
        await asyncio.wait_for(check(), _CHECK_TIMEOUT_SECONDS)
    except (Unavailable, DomainError, TimeoutError, OSError):
        return False
    return True


__all__: Sequence[str] = ("Build", "Daemon", "main", "run")
