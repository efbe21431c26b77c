"""WatchDeliveries over a real server: what a subscriber gets, and how it is turned away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TypeAlias, cast
from unittest.mock import create_autospec
from uuid import UUID

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from clarion.notification.v1 import notification_service_pb2, state_pb2
from clarion.tracking.v1.tracking_service_pb2 import WatchDeliveriesRequest, WatchDeliveriesResponse
from clarion.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub, add_TrackingServiceServicer_to_server
from clarion.types.v1.channel_pb2 import CHANNEL_EMAIL, CHANNEL_IOS
from clarion_kit.rpc.caller import Caller
from clarion_kit.rpc.server import MeshAuthenticator, RpcServer
from clarion_kit.sealing import recipient_reference
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Receipt
from clarion_tracker.feed import Feed
from clarion_tracker.positions import Position, cursor_of
from clarion_tracker.rpc import TrackingRpc
from clarion_tracker.stats_rpc import StatsRpc
from clarion_tracker.watch_rpc import response
from clarion_tracker.watching import Limits

from .tracker_feed_samples import APP, OTHER_APP, START, FakeEvents, change, feed_of, watch_of

AS_APP = Caller("gateway", APP).metadata()
QUICK = Limits(heartbeat=timedelta(milliseconds=50), patience=timedelta(milliseconds=200))
Call: TypeAlias = "grpc.aio.UnaryStreamCall[WatchDeliveriesRequest, WatchDeliveriesResponse]"
Watch = Callable[..., "Call"]


@asynccontextmanager
async def serving(telemetry: Telemetry, feed: Feed, limits: Limits) -> AsyncIterator[Watch]:
    rpc = TrackingRpc(create_autospec(StatsRpc, instance=True), watch_of(feed, limits))
    add = partial(add_TrackingServiceServicer_to_server, rpc)
    server = RpcServer("tracker", "127.0.0.1:0", None, MeshAuthenticator(insecure=True), telemetry, [add])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = TrackingServiceStub(channel)

        def watch(**fields: object) -> Call:
            asked = WatchDeliveriesRequest(**fields)  # type: ignore[arg-type]
            return stub.WatchDeliveries(asked, metadata=AS_APP, timeout=20)

        yield watch
    await server.stop(timedelta(0))


@pytest.fixture
def events() -> FakeEvents:
    return FakeEvents([change(1)])


@pytest.fixture
async def feed(events: FakeEvents) -> Feed:
    return feed_of(events)


@pytest.fixture
async def watch(telemetry: Telemetry, feed: Feed) -> AsyncIterator[Watch]:
    async with serving(telemetry, feed, QUICK) as opened:
        yield opened


async def answer(call: Call) -> WatchDeliveriesResponse:
    async with asyncio.timeout(5):
        found = await call.read()
    assert isinstance(found, WatchDeliveriesResponse)
    return found


async def told(
    call: Call,
) -> WatchDeliveriesResponse:
    """The next answer that is no heartbeat."""
    while not (found := await answer(call)).HasField("entry"):
        continue
    return found


async def _to_the_end(call: Call) -> None:
    async with asyncio.timeout(10):
        while await call.read() is not grpc.aio.EOF:
            continue


async def refusal(call: Call) -> tuple[str, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await _to_the_end(call)
    trailers = dict(refused.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(bytes(trailers["grpc-status-details-bin"]))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason, dict(info.metadata)


async def test_first_answer_is_a_cursor_and_then_every_change_has_its_own(
    events: FakeEvents, feed: Feed, watch: Watch
) -> None:
    call = watch()
    first = await answer(call)
    events.commit(change(5, 3, kind=EventKind.RECEIPT, receipt=Receipt.SEEN), change(6, app_id=OTHER_APP), change(7))
    await feed.poll()
    receipt, last = await told(call), await told(call)
    call.cancel()

    assert not first.HasField("entry")
    assert len({first.cursor, receipt.cursor, last.cursor}) == 3
    assert receipt.notification_id == str(change(5).notification_id)
    assert (receipt.category, receipt.event_id, receipt.channel) == ("orders", "e5", CHANNEL_IOS)
    assert (receipt.entry.kind, receipt.receipt) == (
        notification_service_pb2.EVENT_KIND_RECEIPT,
        state_pb2.RECEIPT_SEEN,
    )
    assert (receipt.change_id, last.change_id) == ("5-3", "7-1")


async def test_stream_goes_on_after_any_cursor_wherever_it_came_from(
    events: FakeEvents, feed: Feed, watch: Watch, telemetry: Telemetry
) -> None:
    events.commit(*(change(xid) for xid in range(2, 8)))
    call = watch(cursor=cursor_of(APP, Position(0, 0, START)))
    cursors = [(await told(call)).cursor for _ in range(7)]
    call.cancel()

    async with serving(telemetry, feed_of(events), QUICK) as elsewhere:
        resumed = elsewhere(cursor=cursors[2])
        rest = [(await told(resumed)).change_id for _ in range(4)]
        resumed.cancel()

    assert rest == ["4-1", "5-1", "6-1", "7-1"]


async def test_cursor_is_fresh_while_nothing_passes_the_filter(events: FakeEvents, feed: Feed, watch: Watch) -> None:
    call = watch(categories=["news"])
    first = await answer(call)
    events.commit(*(change(xid) for xid in range(2, 50)))
    await feed.poll()
    while (beat := await answer(call)).cursor == first.cursor:
        continue
    call.cancel()
    resumed = watch(cursor=beat.cursor)
    events.commit(change(50))
    await feed.poll()
    after = await told(resumed)
    resumed.cancel()

    assert not beat.HasField("entry")
    assert after.change_id == "50-1"


RECIPIENT = recipient_reference(APP, "anna")


@pytest.mark.parametrize(
    "fields",
    [
        {"channels": [CHANNEL_EMAIL]},
        {"kinds": [notification_service_pb2.EVENT_KIND_RETRY]},
        {"states": [state_pb2.DELIVERY_STATE_RETRY_WAIT]},
        {"categories": ["news"]},
        {"notification_ids": [str(change(3).notification_id)]},
        {"recipient_id": "anna"},
    ],
)
async def test_filters_leave_one_change(watch: Watch, events: FakeEvents, fields: dict[str, object]) -> None:
    wanted = change(
        3,
        channel=Channel.EMAIL,
        kind=EventKind.RETRY,
        state=DeliveryState.RETRY_WAIT,
        category="news",
        recipient_ref=UUID(bytes=RECIPIENT),
    )
    events.commit(change(2), wanted, change(4))

    call = watch(cursor=cursor_of(APP, Position(0, 0, START)), **fields)

    assert (await told(call)).change_id == "3-1"
    call.cancel()


@pytest.mark.parametrize(
    ("cursor", "fault"),
    [
        ("x", "malformed"),
        (cursor_of(OTHER_APP, Position(1, 1, START)), "other_app"),
        (cursor_of(APP, Position(99, 1, START)), "future"),
    ],
)
async def test_cursor_of_no_use_is_told_apart(watch: Watch, cursor: str, fault: str) -> None:
    assert await refusal(watch(cursor=cursor)) == ("CURSOR_INVALID", {"fault": fault})


async def test_cursor_behind_what_is_kept_is_told_with_what_is(events: FakeEvents, watch: Watch) -> None:
    cursor = cursor_of(APP, Position(1, 1, events.oldest - timedelta(seconds=1)))

    assert await refusal(watch(cursor=cursor)) == ("CURSOR_EXPIRED", {"oldest": events.oldest.isoformat()})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"channels": [77]}, "INVALID_FIELD"),
        ({"kinds": [77]}, "INVALID_FIELD"),
        ({"states": [0]}, "INVALID_FIELD"),
        ({"categories": ["No Name"]}, "INVALID_FIELD"),
        ({"categories": ["unknown"]}, "CATEGORY_NOT_FOUND"),
        ({"categories": ["news"] * 51}, "INVALID_FIELD"),
        ({"notification_ids": ["7"]}, "INVALID_FIELD"),
        ({"notification_ids": [str(change(3).notification_id)] * 101}, "INVALID_FIELD"),
        ({"recipient_id": "a" * 129}, "INVALID_FIELD"),
        ({"recipient_id": "a\x00"}, "INVALID_FIELD"),
    ],
)
async def test_faulty_filter_is_refused(watch: Watch, fields: dict[str, object], reason: str) -> None:
    assert (await refusal(watch(**fields)))[0] == reason


async def test_subscriber_that_stops_reading_is_ended_and_may_resume(
    events: FakeEvents, feed: Feed, watch: Watch
) -> None:
    """It reads on later, to the end of what gRPC had in hand, and finds the error there."""
    call = watch()
    await answer(call)
    events.commit(*(change(5, seq, code="x" * 4_000) for seq in range(1, 5_001)))
    await feed.poll()
    last = await told(call)

    reason, _ = await _stalled(call, events)

    assert reason == "SUBSCRIBER_TOO_SLOW"
    resumed = watch(cursor=last.cursor)
    assert (await told(resumed)).entry.code
    resumed.cancel()


async def _stalled(call: Call, events: FakeEvents) -> tuple[str, dict[str, str]]:
    pages = -1
    while pages != events.pages:
        pages = events.pages
        await asyncio.sleep(2 * QUICK.patience.total_seconds())  # how long it does not read is what this is about
    return await refusal(call)


async def test_streams_are_bounded(telemetry: Telemetry, feed: Feed) -> None:
    async with serving(telemetry, feed, Limits(streams=2)) as watch:
        calls = [watch(), watch()]
        for call in calls:
            await answer(call)

        assert (await refusal(watch()))[0] == "OVERLOADED"
        calls[0].cancel()
        async with asyncio.timeout(5):
            while True:
                again = watch()
                try:
                    await again.read()
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.01)
        again.cancel()
        calls[1].cancel()


async def test_stream_ends_by_itself_and_is_resumed(telemetry: Telemetry, feed: Feed, events: FakeEvents) -> None:
    limits = Limits(heartbeat=timedelta(milliseconds=20), longest=timedelta(milliseconds=100))
    async with serving(telemetry, feed, limits) as watch:
        call = watch()
        cursor = ""
        async with asyncio.timeout(5):
            while isinstance(found := await call.read(), WatchDeliveriesResponse):
                cursor = found.cursor
        code = await call.code()
        events.commit(change(9))
        resumed = watch(cursor=cursor)

        assert code is grpc.StatusCode.OK
        assert (await told(resumed)).change_id == "9-1"
        resumed.cancel()


def test_unknown_words_pass_through_as_numbers() -> None:
    newer = response(change(5, kind=EventKind(99), channel=Channel(98)), "c")

    assert (int(newer.entry.kind), int(newer.channel)) == (99, 98)
    assert cast(int, newer.receipt) == 0
