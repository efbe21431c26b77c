"""The users of the bus on a real server: each does its daemon's job, and is refused everybody else's."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from clarion_kit import mesh
from clarion_kit.bus import Batch, JetStreamBus, Verdict
from clarion_kit.bus_rights import inbox, rights
from clarion_kit.settings import Common, load
from clarion_kit.subjects import Lane, Stream, Subjects, all_lanes, dispatch_lanes, plan_lane
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, Priority
from clarion_local.cli import lanes
from clarion_local.cli.failures import UsageFault
from clarion_local.servers.nats import NatsOptions, NatsServer, bus_users

SUBJECTS = Subjects()
USERS = tuple(daemon for daemon in mesh.DAEMONS if rights(daemon) is not None)
ID = b"\x01" * 16


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServer]:
    users = bus_users({daemon: f"password-of-{daemon}" for daemon in mesh.DAEMONS})
    nats_server = NatsServer(tmp_path_factory.mktemp("users"), options=NatsOptions(users=users))
    await nats_server.start()
    try:
        yield nats_server
    finally:
        await nats_server.stop()


@asynccontextmanager
async def bus_of(server: NatsServer, daemon: str, telemetry: Telemetry) -> AsyncIterator[JetStreamBus]:
    async with JetStreamBus.connect(server.url(daemon), daemon, SUBJECTS, telemetry) as bus:
        yield bus


async def refused(server: NatsServer, daemon: str, *commands: str) -> list[str]:
    """What the server does not let a daemon's user do, in lower case: the words of the protocol, because a client of a library
    has its own ideas of what to do with a refusal (https://docs.nats.io/reference/reference-protocols/nats-protocol)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    login = json.dumps(
        {"user": daemon, "pass": f"password-of-{daemon}", "verbose": False, "lang": "test", "version": "1"}
    )
    told: list[str] = []
    try:
        writer.write("\r\n".join([f"CONNECT {login}", *commands, "PING", ""]).encode())
        async with asyncio.timeout(20):
            while (line := await reader.readline()) and not line.startswith(b"PONG"):
                if line.startswith(b"-ERR"):
                    told.append(line.decode().lower())
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return told


@pytest.mark.asyncio(loop_scope="module")
async def test_each_daemon_does_its_job(server: NatsServer, telemetry: Telemetry) -> None:
    async with bus_of(server, "scheduler", telemetry) as scheduler:
        await scheduler.ensure_topology()
        await scheduler.ensure_topology()
        for lane in all_lanes():
            await scheduler.publish(lane, [ID])
            await scheduler.depth(lane)
            assert await scheduler.oldest(lane) is not None
        assert (await scheduler.stream_identity(Stream.PLAN))[1] > 0
    async with bus_of(server, "gateway", telemetry) as gateway:
        await gateway.publish(plan_lane(Priority.URGENT), [ID])
        assert (await gateway.depth(plan_lane(Priority.URGENT))).waiting == 2
    async with bus_of(server, "monitor", telemetry) as monitor:
        await monitor.ping()
        await monitor.probe()
        for spec in SUBJECTS.streams():
            await monitor.stream(spec)
        for lane in all_lanes():
            await monitor.consumer(lane)
            await monitor.oldest(lane)
        await monitor.resume(plan_lane(Priority.BULK))
        await monitor.recreate(plan_lane(Priority.BULK))
    async with bus_of(server, "planner", telemetry) as planner:
        assert await taken(planner, [plan_lane(priority) for priority in Priority])
        for lane in dispatch_lanes(Channel.SMS):
            if lane.stream is Stream.DISPATCH:
                await planner.publish(lane, [ID])
                await planner.depth(lane)
    for daemon, channel in zip(mesh.DISPATCHERS, Channel, strict=True):
        async with bus_of(server, daemon, telemetry) as dispatcher:
            assert await taken(dispatcher, dispatch_lanes(channel))


async def taken(bus: JetStreamBus, lanes: Sequence[Lane]) -> bool:
    """Read every lane until it is empty and its messages are settled."""
    for lane in lanes:
        stopping = asyncio.Event()

        async def handle(batch: Batch, stopping: asyncio.Event = stopping) -> Verdict:
            stopping.set()
            return Verdict.ACK

        await asyncio.wait_for(bus.consume(lane, handle, stopping, max_messages=10), 10)
        async with asyncio.timeout(10):
            # An acknowledgement has no answer.
            while (depth := await bus.depth(lane)).waiting or depth.pending:
                pass
    return True


def everything() -> list[str]:
    """Every subject that somebody may publish to, and what nobody may."""
    known = {subject.replace(">", "1.1.1.1.1") for daemon in USERS for subject in _given(daemon)}
    foreign = {
        "clarion.v1.events.0",
        "clarion.v1.plan.other",
        "other.v1.plan.urgent",
        "$JS.API.INFO",
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.LIST",
        "$JS.API.STREAM.CREATE.OTHER",
        "$JS.API.STREAM.DELETE.OTHER",
        "$JS.API.STREAM.MSG.DELETE.PLAN",
        "$JS.API.STREAM.SNAPSHOT.PLAN",
        "$JS.API.STREAM.RESTORE.PLAN",
        "$JS.API.CONSUMER.CREATE.PLAN",
        "$JS.API.CONSUMER.LIST.PLAN",
        "$JS.API.DIRECT.GET.PLAN",
        "$SYS.REQ.SERVER.PING",
        *(f"{inbox(daemon)}.abc" for daemon in mesh.DAEMONS),
        "_INBOX.abc",
    }
    return sorted(known | foreign)


def _given(daemon: str) -> tuple[str, ...]:
    given = rights(daemon)
    assert given is not None
    return given.publish


def _may(daemon: str, subject: str) -> bool:
    return any(
        subject == allowed or (allowed.endswith(".>") and subject.startswith(allowed[:-1]))
        for allowed in _given(daemon)
    )


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("daemon", USERS)
async def test_matrix_of_daemons_and_subjects(server: NatsServer, daemon: str) -> None:
    forbidden = [subject for subject in everything() if not _may(daemon, subject)]
    allowed = [
        subject for subject in everything() if _may(daemon, subject) and subject.startswith("$JS.API.CONSUMER.INFO")
    ]

    told = await refused(server, daemon, *(f"PUB {subject} 0\r\n" for subject in (*forbidden, *allowed)))

    assert forbidden
    assert [subject for subject in forbidden if not any(f'"{subject.lower()}"' in one for one in told)] == []
    assert len(told) == len(forbidden)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("daemon", USERS)
async def test_nobody_listens_to_others(server: NatsServer, daemon: str) -> None:
    others = [f"{inbox(other)}.>" for other in USERS if other != daemon]
    subjects = [">", "_INBOX.>", "clarion.>", "clarion.v1.dispatch.sms.urgent", "$JS.>", "$SYS.>", *others]

    told = await refused(server, daemon, *(f"SUB {subject} {number}" for number, subject in enumerate(subjects, 1)))

    assert [subject for subject in subjects if not any(f'"{subject.lower()}"' in one for one in told)] == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("user", ["tracker", "preference", "nobody"])
async def test_daemon_without_business_on_the_bus_gets_no_connection(server: NatsServer, user: str) -> None:
    [told] = await refused(server, user)

    assert "authorization violation" in told


@pytest.mark.asyncio(loop_scope="module")
async def test_credentials_may_come_from_a_file(server: NatsServer, telemetry: Telemetry, tmp_path: Path) -> None:
    file = tmp_path / "nats"
    file.write_text("gateway:password-of-gateway\n")
    env = {
        "CLARION_INSECURE": "1",
        "CLARION_NATS_URL": f"nats://127.0.0.1:{server.port}",
        "CLARION_NATS_CREDENTIALS_FILE": str(file),
    }
    async with JetStreamBus.for_daemon("gateway", load(Common, env), telemetry) as bus:
        await bus.ping()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("by_file", [False, True])
async def test_operator_looks_with_a_daemons_user(
    server: NatsServer, telemetry: Telemetry, tmp_path: Path, by_file: bool
) -> None:
    async with bus_of(server, "scheduler", telemetry) as scheduler:
        await scheduler.ensure_topology()
    file = tmp_path / "monitor"
    file.write_text("monitor:password-of-monitor")
    url, env = server.url("monitor"), dict[str, str]()
    if by_file:
        url, env = f"nats://127.0.0.1:{server.port}", {"CLARION_NATS_CREDENTIALS_FILE": str(file)}

    async with lanes.bus_of(url, env) as bus:
        assert (await bus.depth(plan_lane(Priority.URGENT))).pending == 0


async def test_operators_faulty_password_file_is_a_fault_of_usage(tmp_path: Path) -> None:
    (tmp_path / "monitor").write_text("monitor")
    with pytest.raises(UsageFault, match="CLARION_NATS_CREDENTIALS_FILE"):
        async with lanes.bus_of("nats://127.0.0.1:9", {"CLARION_NATS_CREDENTIALS_FILE": str(tmp_path / "monitor")}):
            pass
