"""The life cycle of a daemon: start, readiness, stop in order, exit codes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clarion_kit.bus import Batch, BusUnavailable, JetStreamBus, Verdict
from clarion_kit.daemon import EXIT_PORT_IN_USE, Daemon, run
from clarion_kit.settings import EXIT_BAD_SETTINGS, Common
from clarion_kit.subjects import plan_lane
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Priority

from .echo_service import SERVICE, Echo, ask

CHILD = "libs.kit.tests.daemon_child"
ROOT = Path(__file__).resolve().parents[3]
INSECURE = {"CLARION_INSECURE": "1"}
Build = Callable[[Daemon, Common], Awaitable[None]]


@asynccontextmanager
async def running(
    build: Build, telemetry: Telemetry, stopping: asyncio.Event, **env: str
) -> AsyncIterator[asyncio.Task[None]]:
    """A daemon in this process; it is stopped at the end and must come to its own end."""
    task = asyncio.create_task(
        run("test", Common, build, env={**INSECURE, **env}, stopping=stopping, telemetry=telemetry)
    )
    try:
        yield task
    finally:
        stopping.set()
        async with asyncio.timeout(15):
            await task


async def wait_for(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


async def health(channel: grpc.aio.Channel, service: str) -> int:
    check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # set in its constructor
    return (await check(health_pb2.HealthCheckRequest(service=service), timeout=5, wait_for_ready=True)).status  # type: ignore[no-any-return]


class Served:
    """A `build` that serves the echo service and tells its port."""

    def __init__(self, *more: Callable[[Daemon], Awaitable[None]]) -> None:
        self.echo = Echo()
        self.port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._more = more

    async def __call__(self, daemon: Daemon, settings: Common) -> None:
        for step in self._more:
            await step(daemon)
        self.port.set_result(daemon.serve(self.echo.add_to))

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{await self.port}") as channel:
            yield channel


async def test_readiness_follows_the_checks_and_liveness_does_not(telemetry: Telemetry) -> None:
    away = True

    async def check() -> None:
        if away:
            raise BusUnavailable

    async def with_check(daemon: Daemon) -> None:
        daemon.ready_when(bus=check)

    built = Served(with_check)
    async with running(built, telemetry, asyncio.Event()), built.channel() as channel:
        assert await health(channel, "live") == health_pb2.HealthCheckResponse.SERVING
        assert await health(channel, "") == health_pb2.HealthCheckResponse.NOT_SERVING
        away = False
        await wait_for(lambda: is_ready(channel, True))
        away = True
        await wait_for(lambda: is_ready(channel, False))
        assert await health(channel, "live") == health_pb2.HealthCheckResponse.SERVING


async def is_ready(channel: grpc.aio.Channel, wanted: bool) -> bool:
    return (await health(channel, "") == health_pb2.HealthCheckResponse.SERVING) is wanted


async def test_stop_finishes_what_is_in_flight_then_closes_in_reverse(telemetry: Telemetry, bus: JetStreamBus) -> None:
    order: list[str] = []
    handling, release = asyncio.Event(), asyncio.Event()
    lane = plan_lane(Priority.NORMAL)

    @asynccontextmanager
    async def resource(name: str) -> AsyncIterator[str]:
        yield name
        order.append(f"closed {name}")

    async def handle(batch: Batch) -> Verdict:
        handling.set()
        await release.wait()
        order.append("handled")
        return Verdict.ACK

    async def drained() -> None:
        order.append("drained")

    async def wire(daemon: Daemon) -> None:
        await daemon.open(resource("first"))
        await daemon.open(resource("second"))
        daemon.consume(bus, lane, handle)
        daemon.drain_with(drained)

    built, stopping = Served(wire), asyncio.Event()
    async with running(built, telemetry, stopping), built.channel() as channel:
        call = asyncio.create_task(ask(channel, "UnaryUnary", b"wait"))
        await asyncio.wait_for(built.echo.waiting.wait(), 10)
        await bus.publish(lane, [bytes(16)])
        await asyncio.wait_for(handling.wait(), 10)
        stopping.set()
        await wait_for(lambda: is_ready(channel, False))
        assert order == []
        release.set()
        built.echo.release.set()
        assert await asyncio.wait_for(call, 10) == b"wait"

    assert order == ["handled", "drained", "closed second", "closed first"]
    depth = await bus.depth(lane)
    assert (depth.waiting, depth.pending) == (0, 0)


async def test_work_that_never_ends_is_left_when_the_grace_is_over(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    working = asyncio.Event()

    async def work_for_ever() -> None:
        working.set()
        await asyncio.Event().wait()

    async def build(daemon: Daemon, settings: Common) -> None:
        daemon.every("work", timedelta(seconds=1), work_for_ever)
        daemon.drain_with(work_for_ever)

    stopping = asyncio.Event()
    async with running(build, telemetry, stopping, CLARION_STOP_GRACE_SECONDS="0.5") as task:
        await asyncio.wait_for(working.wait(), 5)
        stopping.set()
        await asyncio.wait_for(task, 5)

    assert "stopped with a loop at work; its leases end by themselves" in caplog.messages


async def test_stop_while_a_dependency_holds_up_the_start_ends_the_daemon(telemetry: Telemetry) -> None:
    building, closed = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def opened() -> AsyncIterator[None]:
        try:
            yield
        finally:
            closed.set()

    async def build(daemon: Daemon, settings: Common) -> None:
        await daemon.open(opened())
        building.set()
        await asyncio.Event().wait()

    stopping = asyncio.Event()
    async with running(build, telemetry, stopping) as task:
        await building.wait()
        stopping.set()
        await asyncio.wait_for(task, 5)

    assert closed.is_set()


async def test_job_that_fails_is_tried_again_and_stops_no_other(telemetry: Telemetry) -> None:
    runs = {"away": 0, "broken": 0, "well": 0}
    enough = asyncio.Event()

    async def job(name: str) -> None:
        runs[name] += 1
        if min(runs.values()) >= 2:
            enough.set()
        if name == "away":
            raise BusUnavailable
        if name == "broken":
            raise KeyError

    async def build(daemon: Daemon, settings: Common) -> None:
        for name in runs:
            daemon.every(name, timedelta(milliseconds=10), lambda name=name: job(name))  # type: ignore[misc]

    async with running(build, telemetry, asyncio.Event()):
        await asyncio.wait_for(enough.wait(), 10)


async def test_defect_in_a_loop_ends_the_daemon(telemetry: Telemetry) -> None:
    async def broken() -> None:
        raise KeyError("defect")

    async def build(daemon: Daemon, settings: Common) -> None:
        daemon.ready_when(broken=broken)

    with pytest.raises(ExceptionGroup) as ended:
        await run("test", Common, build, env=INSECURE, telemetry=telemetry)

    assert ended.group_contains(KeyError)


# ---------------------------------------------------------------- as a process


async def start_child(**env: str) -> asyncio.subprocess.Process:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        CHILD,
        env={**kept, **env},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_faulty_settings_are_all_named_and_exit_2() -> None:
    child = await start_child(CLARION_LOG_LEVEL="LOUD", CLARION_GRPC_LISTEN="x")

    _, errors = await asyncio.wait_for(child.communicate(), 30)

    assert child.returncode == EXIT_BAD_SETTINGS
    lines = errors.decode().splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "CLARION_GRPC_LISTEN",
        "CLARION_TLS_DIR",
        "CLARION_LOG_LEVEL",
    ]
    assert all(line.startswith("echo: ") for line in lines)


async def test_daemon_serves_until_sigterm_and_a_second_one_on_its_port_exits_3() -> None:
    child = await start_child(**INSECURE)
    try:
        assert child.stdout is not None
        port = int(await asyncio.wait_for(child.stdout.readline(), 30))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert await ask(channel, "UnaryUnary", b"hello", service=SERVICE) == b"hello"
        second = await start_child(**INSECURE, CLARION_GRPC_LISTEN=f"127.0.0.1:{port}")
        _, errors = await asyncio.wait_for(second.communicate(), 30)
    finally:
        child.send_signal(signal.SIGTERM)
        await asyncio.wait_for(child.communicate(), 30)

    assert (second.returncode, child.returncode) == (EXIT_PORT_IN_USE, 0)
    assert f"echo: cannot listen on 127.0.0.1:{port}" in errors.decode()
