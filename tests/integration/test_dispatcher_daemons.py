"""The five dispatchers as they are composed: ready on real servers, gone within their grace."""

import asyncio
import importlib
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from clarion.internal.dispatch.v1 import dispatch_service_pb2 as pb
from clarion.internal.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from clarion_kit import daemon, mesh
from clarion_kit.bus import JetStreamBus
from clarion_kit.subjects import Subjects
from clarion_kit.telemetry.provider import Telemetry
from clarion_local.ports import PortLease
from clarion_testkit.plugin import Database

GRACE_SECONDS = 5


@pytest.mark.parametrize("name", mesh.DISPATCHERS)
async def test_dispatcher_gets_ready_on_real_servers_and_stops_within_its_grace(
    name: str, database: Database, nats_url: str, kek_file: Path, telemetry: Telemetry
) -> None:
    composition = importlib.import_module(f"clarion_{name}.app")
    settings = importlib.import_module(f"clarion_{name}.settings").Settings
    async with JetStreamBus.connect(nats_url, "test", Subjects("ready-dispatchers"), telemetry) as bus:
        await bus.ensure_topology()
    with PortLease() as rpc:
        env = {
            "CLARION_DATABASE_URL": f"{database.url}?role=clarion_dispatcher",
            "CLARION_NATS_URL": nats_url,
            "CLARION_KEK_FILE": str(kek_file),
            "CLARION_SUBJECT_PREFIX": "ready-dispatchers",
            "CLARION_INSECURE": "1",
            "CLARION_GRPC_LISTEN": f"127.0.0.1:{rpc.hand_over()}",
            "CLARION_STOP_GRACE_SECONDS": str(GRACE_SECONDS),
        }
    stopping = asyncio.Event()
    running = asyncio.create_task(daemon.run(name, settings, composition.build, env=env, stopping=stopping))

    async with grpc.aio.insecure_channel(f"127.0.0.1:{rpc.port}") as channel:
        await _ready(channel)
        lanes = await DispatchServiceStub(channel).GetLanes(pb.GetLanesRequest(), timeout=5)
    stopping.set()
    async with asyncio.timeout(GRACE_SECONDS):
        await running

    assert lanes == pb.GetLanesResponse()


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
