"""The daemon as it is composed: ready on real servers, gone within its grace."""

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from clarion.internal.planner.v1 import planner_service_pb2 as pb
from clarion.internal.planner.v1.planner_service_pb2_grpc import PlannerServiceStub
from clarion_kit import daemon
from clarion_kit.bus import JetStreamBus
from clarion_kit.subjects import Subjects
from clarion_kit.telemetry.provider import Telemetry
from clarion_local.ports import PortLease
from clarion_planner.app import build
from clarion_planner.settings import Settings
from clarion_testkit.plugin import Database

GRACE_SECONDS = 5


async def test_planner_gets_ready_on_real_servers_and_stops_within_its_grace(
    database: Database, nats_url: str, kek_file: Path, telemetry: Telemetry
) -> None:
    async with JetStreamBus.connect(nats_url, "test", Subjects("ready-planner"), telemetry) as bus:
        await bus.ensure_topology()
    with PortLease() as rpc:
        env = {
            "CLARION_DATABASE_URL": f"{database.url}?role=clarion_planner",
            "CLARION_NATS_URL": nats_url,
            "CLARION_KEK_FILE": str(kek_file),
            "CLARION_SUBJECT_PREFIX": "ready-planner",
            "CLARION_INSECURE": "1",
            "CLARION_GRPC_LISTEN": f"127.0.0.1:{rpc.hand_over()}",
            "CLARION_STOP_GRACE_SECONDS": str(GRACE_SECONDS),
        }
    stopping = asyncio.Event()
    running = asyncio.create_task(daemon.run("planner", Settings, build, env=env, stopping=stopping))

    async with grpc.aio.insecure_channel(f"127.0.0.1:{rpc.port}") as channel:
        await _ready(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await PlannerServiceStub(channel).Explain(pb.ExplainRequest(), timeout=5)
    stopping.set()
    async with asyncio.timeout(GRACE_SECONDS):
        await running

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


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
