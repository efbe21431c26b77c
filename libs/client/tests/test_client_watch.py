"""`client.deliveries.watch`: a stream that outlives its connections, and `client.webhooks`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, closing
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Never

import grpc
import pytest
from google.protobuf.message import Message

from clarion.auth.v1 import auth_service_pb2_grpc
from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion.tracking.v1 import tracking_service_pb2_grpc
from clarion_client import AsyncClient, Channel, Client, FailedPrecondition, InvalidArgument, RetryPolicy, Unavailable
from clarion_client.aio import deliveries
from clarion_client.calls.webhooks import WebhookCalls
from clarion_client.reasons import ErrorReason
from clarion_local.authority import Authority

from .scripted_gateway import (
    APP_KEY,
    APP_SECRET,
    UNAVAILABLE,
    Auth,
    Context,
    Gateway,
    Step,
    refuse_with,
    status,
    unscripted,
)

TOO_SLOW = refuse_with(status(grpc.StatusCode.RESOURCE_EXHAUSTED, "slow", reason="SUBSCRIBER_TOO_SLOW"))
EXPIRED = refuse_with(status(grpc.StatusCode.FAILED_PRECONDITION, "old", reason="CURSOR_EXPIRED"))
FAULTY = refuse_with(status(grpc.StatusCode.INVALID_ARGUMENT, "no", reason="CURSOR_INVALID"))


async def hang(context: Context) -> None:
    await asyncio.Event().wait()


async def end(context: Context) -> None:
    return None


class Feed(tracking_service_pb2_grpc.TrackingServiceServicer):
    """Changes 1 to 30, resumed by number. Each connection tells `told` of them and then does the next step."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.steps: list[Step] = []
        self.told = 5
        self.cursors: list[str] = []

    async def WatchDeliveries(
        self, request: pb.WatchDeliveriesRequest, context: Context
    ) -> AsyncIterator[pb.WatchDeliveriesResponse]:
        await self._gateway.admit(request, context)
        self.cursors.append(request.cursor)
        start = int(request.cursor or "0")
        yield pb.WatchDeliveriesResponse(cursor=str(start))
        step = self.steps.pop(0) if self.steps else None
        for number in range(start + 1, 31):
            if step is not None and number > start + self.told:
                await step(context)
                return
            response = pb.WatchDeliveriesResponse(cursor=str(number), change_id=str(number))
            response.entry.attempt = number
            yield response
        await asyncio.Event().wait()

    async def Stats(self, request: Message, context: Context) -> Never:
        await unscripted(context)


@asynccontextmanager
async def feeding(folder: Path) -> AsyncIterator[tuple[Gateway, Feed]]:
    gateway = Gateway()
    feed = Feed(gateway)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    auth_service_pb2_grpc.add_AuthServiceServicer_to_server(Auth(gateway), server)
    tracking_service_pb2_grpc.add_TrackingServiceServicer_to_server(feed, server)
    authority = Authority.create(folder)
    files = authority.issue("gateway")
    credentials = grpc.ssl_server_credentials([(files.key.read_bytes(), files.cert.read_bytes())])
    gateway.target = f"localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    gateway.ca = authority.ca.read_bytes()
    await server.start()
    try:
        yield gateway, feed
    finally:
        await server.stop(None)


@pytest.fixture
async def feed(tmp_path: Path) -> AsyncIterator[tuple[Gateway, Feed]]:
    async with feeding(tmp_path) as running:
        yield running


@pytest.fixture
async def watcher(feed: tuple[Gateway, Feed], quick_retry: RetryPolicy) -> AsyncIterator[AsyncClient]:
    gateway, _ = feed
    async with AsyncClient.connect(
        gateway.target, APP_KEY, APP_SECRET, ca_file=gateway.ca, retry=quick_retry
    ) as client:
        yield client


async def ids(client: AsyncClient, count: int, cursor: str = "") -> list[str]:
    found: list[str] = []
    async with asyncio.timeout(10), aclosing(aiter(client.deliveries.watch(cursor))) as changes:
        async for change in changes:
            found.append(change.change_id)
            if len(found) == count:
                break
    return found


async def test_changes_come_once_and_in_order_over_every_kind_of_break(
    feed: tuple[Gateway, Feed], watcher: AsyncClient
) -> None:
    _, tracker = feed
    tracker.steps = [UNAVAILABLE, end, TOO_SLOW, UNAVAILABLE]

    found = await ids(watcher, 30)

    assert found == [str(number) for number in range(1, 31)]
    assert tracker.cursors == ["", "5", "10", "15", "20"]


async def test_heartbeats_move_the_cursor_and_are_not_told(feed: tuple[Gateway, Feed], watcher: AsyncClient) -> None:
    watch = watcher.deliveries.watch("7", channels=[Channel.SMS], recipient_id="anna")
    async with aclosing(aiter(watch)) as changes:
        first = await anext(changes)
        before = watch.cursor
        await anext(changes)

    assert (first.change_id, before, watch.cursor) == ("8", "7", "8")
    request = feed[0].requests[0]
    assert isinstance(request, pb.WatchDeliveriesRequest)
    assert ([*request.channels], request.recipient_id) == ([4], "anna")


async def test_cursor_of_now_is_the_first_answers(feed: tuple[Gateway, Feed], watcher: AsyncClient) -> None:
    assert await watcher.deliveries.cursor() == "0"


async def test_silent_connection_is_left_and_resumed(
    feed: tuple[Gateway, Feed], watcher: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "SILENCE", timedelta(milliseconds=200))
    feed[1].steps = [hang]

    assert await ids(watcher, 8) == [str(number) for number in range(1, 9)]


async def test_token_that_ended_is_renewed(feed: tuple[Gateway, Feed], watcher: AsyncClient) -> None:
    gateway, tracker = feed
    tracker.steps = [end]
    watch = aiter(watcher.deliveries.watch())
    async with aclosing(watch) as changes:
        for _ in range(5):
            await anext(changes)
        gateway.valid_tokens.clear()

        assert (await anext(changes)).change_id == "6"

    assert gateway.tokens_issued == 2


@pytest.mark.parametrize(("step", "error"), [(EXPIRED, FailedPrecondition), (FAULTY, InvalidArgument)])
async def test_cursor_of_no_use_ends_the_watch(
    feed: tuple[Gateway, Feed], watcher: AsyncClient, step: Step, error: type[Exception]
) -> None:
    feed[0].steps.append(step)

    with pytest.raises(error):
        await ids(watcher, 1, "7")

    assert len(feed[1].cursors) == 0


async def test_outage_that_lasts_ends_the_watch(feed: tuple[Gateway, Feed], watcher: AsyncClient) -> None:
    feed[0].steps.extend([UNAVAILABLE] * 10_000)

    with pytest.raises(Unavailable):
        async for _ in watcher.deliveries.watch(outage=timedelta(milliseconds=200)):
            pass

    assert len(feed[0].requests) > 4


async def test_sync_client_watches_alike(feed: tuple[Gateway, Feed], quick_retry: RetryPolicy) -> None:
    gateway, tracker = feed
    tracker.steps = [UNAVAILABLE, end, TOO_SLOW]

    def run() -> list[str]:
        with (
            Client.connect(gateway.target, APP_KEY, APP_SECRET, ca_file=gateway.ca, retry=quick_retry) as client,
            closing(iter(client.deliveries.watch())) as changes,
        ):
            return [change.change_id for change in islice(changes, 30)]

    assert await asyncio.to_thread(run) == [str(number) for number in range(1, 31)]
    assert tracker.cursors == ["", "5", "10", "15"]


def test_reasons_of_the_feed_are_known() -> None:
    assert {"CURSOR_INVALID", "CURSOR_EXPIRED", "SUBSCRIBER_TOO_SLOW", "WEBHOOK_NOT_FOUND"} <= set(ErrorReason)


def test_only_what_may_be_repeated_is() -> None:
    """The contract says so: a second rotation would end the secret that the first one gave."""
    assert WebhookCalls.put.method.idempotent
    assert not WebhookCalls.rotate_secret.method.idempotent
    assert not WebhookCalls.test.method.idempotent
