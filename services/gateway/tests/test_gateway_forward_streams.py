"""Forwarding of streams of requests to another daemon."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Never

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message

from clarion.notification.v1 import notification_service_pb2_grpc as notification_grpc
from clarion.recipient.v1 import recipient_service_pb2 as recipient
from clarion.recipient.v1 import recipient_service_pb2_grpc as recipient_grpc
from clarion_gateway.open_streams import MAX_SENDING_PER_KEY
from clarion_kit.keyfiles import TokenKeys
from clarion_kit.sealing import KeyWrapper
from clarion_ledger.db import Pool

from .gateway_samples import Gateway, Peers, refusal, running

pytestmark = pytest.mark.asyncio(loop_scope="session")

Context = grpc.aio.ServicerContext[object, object]
LIMIT = 262_144


class Importing(recipient_grpc.RecipientServiceServicer):
    """Counts what comes; stops in the middle where a recipient is called so."""

    def __init__(self) -> None:
        self.apps: set[str] = set()

    async def ImportRecipients(
        self, request_iterator: AsyncIterator[recipient.ImportRecipientsRequest], context: Context
    ) -> recipient.ImportRecipientsResponse:
        self.apps.add(str(dict(context.invocation_metadata() or ())["clarion-app"]))
        count = 0
        async for request in request_iterator:
            if request.recipient.recipient_id == "stop":
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "stopped")
            count += 1
        return recipient.ImportRecipientsResponse(stored=count)

    async def _unasked(self, request: Message, context: Context) -> Never:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")

    UpsertRecipient = UpsertRecipients = GetRecipient = RegisterAddress = RemoveAddress = _unasked
    ExportRecipient = MergeRecipients = EraseRecipient = _unasked


@pytest_asyncio.fixture(loop_scope="session")
async def importing(
    gateway_env: dict[str, str], peers: Peers, ledger: Pool, kek: KeyWrapper, token_keys: TokenKeys
) -> AsyncIterator[tuple[Gateway, Importing]]:
    servicer = Importing()
    server = grpc.aio.server()
    recipient_grpc.add_RecipientServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    addresses = {**json.loads(peers.addresses()), "preference": f"127.0.0.1:{port}"}
    try:
        async with running({**gateway_env, "CLARION_PEERS": json.dumps(addresses)}, ledger, kek, token_keys) as gateway:
            yield gateway, servicer
    finally:
        await server.stop(0)


async def stream(*ids: str) -> AsyncIterator[recipient.ImportRecipientsRequest]:
    for id_ in ids:
        yield recipient.ImportRecipientsRequest(recipient=recipient.Recipient(recipient_id=id_))


async def test_every_request_of_a_stream_reaches_the_peer_and_its_answer_comes_back(
    importing: tuple[Gateway, Importing],
) -> None:
    gateway, servicer = importing
    client = await gateway.app()
    stub = recipient_grpc.RecipientServiceStub(gateway.channel)

    answer = await stub.ImportRecipients(stream(*map(str, range(500))), metadata=client.auth)

    assert answer.stored == 500
    assert servicer.apps == {str(client.app_id)}


async def test_oversize_request_of_a_stream_is_refused(importing: tuple[Gateway, Importing]) -> None:
    gateway, _ = importing
    client = await gateway.app()
    stub = recipient_grpc.RecipientServiceStub(gateway.channel)

    refused = await refusal(stub.ImportRecipients(stream("a", "x" * LIMIT, "b"), metadata=client.auth))

    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE")


async def stream_that_waits(*ids: str) -> AsyncIterator[recipient.ImportRecipientsRequest]:
    """Nothing is written after its items: gRPC tells a write that meets an ended stream as INTERNAL."""
    async for request in stream(*ids):
        yield request
    await asyncio.Event().wait()


async def test_key_has_a_bounded_number_of_open_streams_of_requests(importing: tuple[Gateway, Importing]) -> None:
    gateway, _ = importing
    client, other = await gateway.app(), await gateway.app()
    stub = recipient_grpc.RecipientServiceStub(gateway.channel)
    calls = [stub.ImportRecipients(stream_that_waits(), metadata=client.auth) for _ in range(MAX_SENDING_PER_KEY)]
    sending = notification_grpc.NotificationServiceStub(gateway.channel)

    refused = await refusal(sending.SendStream(metadata=client.auth).read())
    elsewhere = await stub.ImportRecipients(stream("a"), metadata=other.auth)
    for call in calls:
        call.cancel()

    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert elsewhere.stored == 1


async def test_error_in_the_middle_of_a_stream_passes(importing: tuple[Gateway, Importing]) -> None:
    gateway, _ = importing
    client = await gateway.app()
    stub = recipient_grpc.RecipientServiceStub(gateway.channel)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ImportRecipients(stream_that_waits("a", "stop"), metadata=client.auth, timeout=10)

    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "stopped")
