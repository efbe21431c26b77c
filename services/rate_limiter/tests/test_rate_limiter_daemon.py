import asyncio

import grpc

from clarion.internal.ratelimit.v1 import rate_limit_service_pb2 as pb
from clarion.internal.ratelimit.v1.rate_limit_service_pb2_grpc import RateLimitServiceStub
from clarion_kit import daemon
from clarion_local.ports import PortLease
from clarion_rate_limiter.app import build
from clarion_rate_limiter.settings import Settings


async def test_the_daemon_decides_and_stops_when_told(valkey_url: str) -> None:
    target = f"127.0.0.1:{PortLease().hand_over()}"
    environment = {"CLARION_INSECURE": "1", "CLARION_GRPC_LISTEN": target, "CLARION_VALKEY_URL": valkey_url}
    stopping = asyncio.Event()
    limit = pb.Limit(key="daemon", algorithm=pb.ALGORITHM_GCRA, limit=2)
    limit.window.FromSeconds(3_600)
    items = [pb.Item(app_id=900, limits=[limit])] * 3

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(daemon.run("rate_limiter", Settings, build, env=environment, stopping=stopping))
        async with grpc.aio.insecure_channel(target) as channel:
            stub = RateLimitServiceStub(channel)
            acquired = await stub.Acquire(pb.AcquireRequest(items=items), wait_for_ready=True)
            peeked = await stub.Peek(pb.PeekRequest(items=items[:1]))
        stopping.set()

    assert [grant.allowed for grant in acquired.grants] == [True, True, False]
    assert not any(grant.unchecked for grant in acquired.grants)
    assert not peeked.grants[0].allowed
