"""DispatchService over real gRPC."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import grpc
import pytest

from clarion.internal.dispatch.v1 import dispatch_service_pb2 as pb
from clarion.internal.dispatch.v1.dispatch_service_pb2_grpc import (
    DispatchServiceStub,
    add_DispatchServiceServicer_to_server,
)
from clarion_channels.engine import lanes as lanes_module
from clarion_channels.engine.rpc import DispatchRpc
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import ProviderUnavailable
from clarion_kit.rpc.server import MeshAuthenticator, RpcServer
from clarion_kit.telemetry.provider import Telemetry
from clarion_testkit.plugin import App, Database

from .engine_samples import Bench, Paused, ScriptedProvider, answer, bench


@asynccontextmanager
async def serving(b: Bench, telemetry: Telemetry) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service of a bench."""
    server = RpcServer(
        "dispatcher_android",
        "127.0.0.1:0",
        None,
        MeshAuthenticator(insecure=True),
        telemetry,
        [partial(add_DispatchServiceServicer_to_server, DispatchRpc(b.lanes))],
    )
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield channel
    finally:
        await server.stop(timedelta(seconds=1))


async def test_lanes_tell_how_they_fare(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b, serving(b, telemetry) as channel:
        stub = DispatchServiceStub(channel)
        assert list((await stub.GetLanes(pb.GetLanesRequest(), timeout=5)).lanes) == []
        b.factory.behaviour = answer(Result(Outcome.CRED))
        stopped = await b.lane("stopped")
        await b.send(await b.deliveries(stopped))
        b.factory.behaviour = paused = Paused()
        busy = await b.lane("busy")
        await b.hand_over(await b.deliveries(busy, 3))
        await paused.reached.wait()

        lanes = (await stub.GetLanes(pb.GetLanesRequest(), timeout=5)).lanes
        paused.go.set()
        await b.settled()

        assert list(lanes) == [
            pb.Lane(
                lane_id=stopped,
                app_id=app.app_id,
                kind="scripted",
                outcomes={"cred": 1},
                stopped=True,
                in_flight_limit=1_000,
            ),
            pb.Lane(lane_id=busy, app_id=app.app_id, kind="scripted", in_flight=3, in_flight_limit=1_000),
        ]


async def test_probe_says_whether_a_provider_answers(
    database: Database, app: App, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(provider: ScriptedProvider) -> None:
        raise ProviderUnavailable("403: InvalidProviderToken")

    async def hang(provider: ScriptedProvider) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(lanes_module, "PROBE_TIMEOUT_SECONDS", 0.05)
    async with bench(database, app, telemetry) as b, serving(b, telemetry) as channel:
        stub = DispatchServiceStub(channel)
        request = pb.ProbeRequest(lane_id=await b.lane())

        good = await stub.Probe(request, timeout=5)
        monkeypatch.setattr(ScriptedProvider, "probe", refuse)
        refused = await stub.Probe(request, timeout=5)
        monkeypatch.setattr(ScriptedProvider, "probe", hang)
        hanging = await stub.Probe(request, timeout=5)

    assert good == pb.ProbeResponse(ok=True)
    assert refused == pb.ProbeResponse(ok=False, detail="403: InvalidProviderToken")
    assert hanging == pb.ProbeResponse(ok=False, detail="no answer in time")


async def test_probe_of_an_account_that_cannot_be_used_says_why(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b, serving(b, telemetry) as channel:
        stub = DispatchServiceStub(channel)
        answered = await stub.Probe(pb.ProbeRequest(lane_id=await b.lane(kind="pigeon")), timeout=5)

    assert answered == pb.ProbeResponse(ok=False, detail="provider kind 'pigeon' is not installed")


async def test_probe_of_an_unknown_lane_is_refused(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b, serving(b, telemetry) as channel:
        stub = DispatchServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Probe(pb.ProbeRequest(lane_id=1 << 30), timeout=5)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.value.details() == "no such lane of this channel"
