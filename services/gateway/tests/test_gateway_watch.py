"""Streams of answers through the gateway: passed as they come, bounded by key, ended with what their key may."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Never

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message

from clarion.tracking.v1 import tracking_service_pb2 as tracking
from clarion.tracking.v1 import tracking_service_pb2_grpc as tracking_grpc
from clarion_gateway.open_streams import MAX_STREAMS_PER_KEY
from clarion_kit.keyfiles import TokenKeys
from clarion_kit.sealing import KeyWrapper
from clarion_ledger.db import Pool

from .gateway_samples import Client, Gateway, Peers, refusal, running

pytestmark = pytest.mark.asyncio(loop_scope="session")

Context = grpc.aio.ServicerContext[object, object]
Call = grpc.aio.UnaryStreamCall[tracking.WatchDeliveriesRequest, tracking.WatchDeliveriesResponse]


class Watching(tracking_grpc.TrackingServiceServicer):
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.says = asyncio.Condition()
        self.said = 0
        self.left = asyncio.Event()

    async def say(self) -> None:
        async with self.says:
            self.said += 1
            self.says.notify_all()

    async def WatchDeliveries(
        self, request: tracking.WatchDeliveriesRequest, context: Context
    ) -> AsyncIterator[tracking.WatchDeliveriesResponse]:
        app = dict(context.invocation_metadata() or ())["clarion-app"]
        yield tracking.WatchDeliveriesResponse(cursor=f"{request.cursor}/{app!s}")
        heard = self.said
        try:
            while True:
                async with self.says:
                    while self.said <= heard:
                        await self.says.wait()
                heard += 1
                yield tracking.WatchDeliveriesResponse(cursor=str(heard))
        finally:
            self.left.set()

    async def Stats(self, request: Message, context: Context) -> Never:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")


@pytest_asyncio.fixture(loop_scope="session")
async def watching(
    gateway_env: dict[str, str], peers: Peers, ledger: Pool, kek: KeyWrapper, token_keys: TokenKeys
) -> AsyncIterator[tuple[Gateway, Watching]]:
    servicer = Watching()
    server = grpc.aio.server()
    tracking_grpc.add_TrackingServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    addresses = {**json.loads(peers.addresses()), "tracker": f"127.0.0.1:{port}"}
    try:
        async with running({**gateway_env, "CLARION_PEERS": json.dumps(addresses)}, ledger, kek, token_keys) as gateway:
            yield gateway, servicer
    finally:
        await server.stop(0)


def watch(client: Client, cursor: str = "") -> Call:
    stub = tracking_grpc.TrackingServiceStub(client.gateway.channel)
    return stub.WatchDeliveries(tracking.WatchDeliveriesRequest(cursor=cursor), metadata=client.auth)


async def answer(call: Call) -> tracking.WatchDeliveriesResponse:
    async with asyncio.timeout(5):
        found = await call.read()
    assert isinstance(found, tracking.WatchDeliveriesResponse)
    return found


async def test_answers_pass_as_they_come_and_leaving_reaches_the_peer(watching: tuple[Gateway, Watching]) -> None:
    gateway, servicer = watching
    client = await gateway.app()

    call = watch(client, "here")
    first = await answer(call)
    await servicer.say()
    second = await answer(call)
    call.cancel()

    assert (first.cursor, second.cursor) == (f"here/{client.app_id}", "1")
    async with asyncio.timeout(5):
        await servicer.left.wait()


async def test_key_has_a_bounded_number_of_open_streams(watching: tuple[Gateway, Watching]) -> None:
    gateway, _ = watching
    client, other = await gateway.app(), await gateway.app()
    calls = [watch(client) for _ in range(MAX_STREAMS_PER_KEY)]
    for call in calls:
        await answer(call)

    refused = await refusal(watch(client).read())
    elsewhere = watch(other)
    await answer(elsewhere)

    assert refused.reason == "OVERLOADED"
    for call in (*calls, elsewhere):
        call.cancel()


async def test_open_stream_ends_once_its_key_is_revoked(watching: tuple[Gateway, Watching]) -> None:
    gateway, servicer = watching
    client = await gateway.app()
    call = watch(client)
    await answer(call)
    await gateway.pool.execute(
        """INSERT INTO ledger.app_key (app_key, app_id, secret_hash, scopes, revoked_at)
           VALUES ($1, $2, '', '{}', now())""",
        f"key-{client.app_id}",
        client.app_id,
    )

    async def ended() -> None:
        while True:
            await servicer.say()
            await call.read()
            await asyncio.sleep(0.05)  # as often as the daemon behind says something

    async with asyncio.timeout(10):
        refused = await refusal(ended())

    assert refused.reason == "UNAUTHENTICATED"


async def test_watching_needs_its_scope(watching: tuple[Gateway, Watching]) -> None:
    gateway, _ = watching
    sender = await gateway.app("send:*")

    assert (await refusal(watch(sender).read())).reason == "SCOPE_MISSING"
