"""The whole daemon: it sets up its bus, moves what is due in time, and answers for broadcasts and schedules."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2

from clarion_kit import daemon, mesh
from clarion_kit.bus import JetStreamBus
from clarion_kit.subjects import Subjects
from clarion_kit.telemetry.provider import Telemetry
from clarion_local.ports import PortLease
from clarion_scheduler.app import build
from clarion_scheduler.settings import Settings
from clarion_testkit.plugin import App, Database

from .scheduler_samples import PLAN, accepted, taken

PREFIX = "scheduler-daemon"


async def test_due_schedule_reaches_the_bus_within_a_second(
    database: Database, app: App, nats_url: str, telemetry: Telemetry, kek_file: Path
) -> None:
    with PortLease() as lease:
        target = f"127.0.0.1:{lease.hand_over()}"
    env = {
        "CLARION_DATABASE_URL": f"{database.url}?role=clarion_scheduler",
        "CLARION_NATS_URL": nats_url,
        "CLARION_KEK_FILE": str(kek_file),
        "CLARION_SUBJECT_PREFIX": PREFIX,
        "CLARION_GRPC_LISTEN": target,
        "CLARION_INSECURE": "1",
    }
    stopping = asyncio.Event()
    running = asyncio.create_task(
        daemon.run("scheduler", Settings, build, env=env, stopping=stopping, telemetry=telemetry)
    )
    async with grpc.aio.insecure_channel(target) as channel:
        await _ready(channel)
        due = await accepted(database.pool, app, 3, deliver_at=datetime.now(UTC) + timedelta(seconds=0.5))
        resting = await accepted(database.pool, app, 2)

        async with JetStreamBus.connect(nats_url, "test", Subjects(PREFIX), telemetry) as bus:
            found = await taken(bus, PLAN, 5)
        refused = {path: await _refusal(channel, path) for path in _served_methods()}
    stopping.set()
    async with asyncio.timeout(15):
        await running

    assert sorted(found) == sorted(due + resting)
    late = telemetry.metrics.registry.get_sample_value("clarion_scheduler_lateness_seconds_sum", {"job": "schedule"})
    assert late is not None
    assert late <= 1
    lists = {path: reason for path, reason in refused.items() if "/List" in path}
    assert set(lists.values()) == {""}
    assert {reason for path, reason in refused.items() if path not in lists} == {"INVALID_FIELD"}


def _served_methods() -> list[str]:
    return [method.path for method in mesh.public_methods().values() if method.served_by == "scheduler"]


async def _ready(channel: grpc.aio.Channel) -> None:
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )(health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True)
    async for answer in watch:
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return
    raise AssertionError("the daemon never got ready")


def as_is(message: bytes) -> bytes:
    return message


async def _refusal(channel: grpc.aio.Channel, path: str) -> str:
    """Why an empty request is refused; empty where it is not."""
    try:
        await channel.unary_unary(path, as_is, as_is)(b"", timeout=5)
    except grpc.aio.AioRpcError as refused:
        packed = dict(refused.trailing_metadata() or ())["grpc-status-details-bin"]
        assert isinstance(packed, bytes)
        info = error_details_pb2.ErrorInfo()
        assert status_pb2.Status.FromString(packed).details[0].Unpack(info)
        return str(info.reason)
    return ""
