"""Waiting for daemons: the standard gRPC health service over the mesh's own TLS."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import TypeAlias

import grpc
from grpc_health.v1 import health_pb2

from clarion_local.authority import TlsFiles
from clarion_local.daemons import Daemons
from clarion_local.process import StartFailed

Check: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]"

PAUSE_SECONDS = 0.05
CALL_SECONDS = 2.0


async def until_serving(targets: Mapping[str, str], identity: TlsFiles, limit: timedelta, daemons: Daemons) -> None:
    """Return when every replica ("planner", "planner/2") is SERVING. Raises StartFailed: one ended, or is not ready
    within `limit`."""
    credentials = grpc.ssl_channel_credentials(
        identity.ca.read_bytes(), identity.key.read_bytes(), identity.cert.read_bytes()
    )
    waiting = dict(targets)

    async def watch(name: str, target: str) -> None:
        identity_name = name.partition("/")[0].replace("_", "-")
        options = (("grpc.ssl_target_name_override", identity_name), ("grpc.initial_reconnect_backoff_ms", 50))
        async with grpc.aio.secure_channel(target, credentials, options) as channel:
            check: Check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            while not await _serving(check):
                daemons.check()
                await asyncio.sleep(PAUSE_SECONDS)
        del waiting[name]

    try:
        async with asyncio.timeout(limit.total_seconds()), asyncio.TaskGroup() as group:
            for name, target in targets.items():
                group.create_task(watch(name, target))
    except TimeoutError:
        late = ", ".join(sorted(waiting))
        raise StartFailed(late, f"not ready within {limit.total_seconds():g} s", "") from None
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def _serving(check: Check) -> bool:
    try:
        answer = await check(health_pb2.HealthCheckRequest(service=""), timeout=CALL_SECONDS)
    except grpc.aio.AioRpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
