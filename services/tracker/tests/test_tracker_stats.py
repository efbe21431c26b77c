"""Statistics: the rules, and the RPC over a real server."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from clarion.tracking.v1.tracking_service_pb2 import StatsRequest, WatchDeliveriesRequest
from clarion.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub, add_TrackingServiceServicer_to_server
from clarion_kit.clock import SystemClock
from clarion_kit.errors import DomainError
from clarion_kit.rpc.caller import Caller
from clarion_kit.rpc.server import MeshAuthenticator, RpcServer
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, DeliveryState, Reason, Receipt
from clarion_tracker.funnel import Counted, Funnel, by_channel, window
from clarion_tracker.rpc import TrackingRpc

from .tracker_samples import FakeStatistics

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROWS = [
    Counted(Channel.SMS, DeliveryState.SENT, None, Receipt.DELIVERED, 5),
    Counted(Channel.SMS, DeliveryState.SENT, None, None, 3),
    Counted(Channel.SMS, DeliveryState.SENT, None, Receipt.UNDELIVERED, 1),
    Counted(Channel.IOS, DeliveryState.SUPPRESSED, Reason.OPTED_OUT, None, 2),
    Counted(Channel.IOS, DeliveryState.FAILED, Reason.ADDRESS_DEAD, None, 4),
    Counted(Channel.IOS, DeliveryState.RETRY_WAIT, None, None, 6),
]


def test_window_is_the_last_day_by_default() -> None:
    assert window(None, None, NOW) == (NOW - timedelta(hours=24), NOW)


def test_window_may_span_31_days() -> None:
    assert window(NOW - timedelta(days=31), None, NOW) == (NOW - timedelta(days=31), NOW)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (NOW - timedelta(days=31, seconds=1), None),
        (NOW, NOW),
        (NOW + timedelta(seconds=1), None),
        (NOW, NOW - timedelta(days=1)),
    ],
)
def test_window_that_is_empty_or_too_long_is_refused(since: datetime, until: datetime | None) -> None:
    with pytest.raises(DomainError, match="since"):
        window(since, until, NOW)


def test_funnel_counts_states_reasons_of_the_unsent_and_receipts_of_the_sent() -> None:
    found = by_channel(ROWS)

    assert list(found) == [Channel.IOS, Channel.SMS]
    assert found[Channel.IOS].by_state == {"suppressed": 2, "failed": 4, "retry_wait": 6}
    assert found[Channel.IOS].by_reason == {"opted_out": 2, "address_dead": 4}
    assert found[Channel.SMS].by_state == {"sent": 9}
    assert found[Channel.SMS].by_reason == {}
    assert found[Channel.SMS].by_receipt == {"delivered": 5, "undelivered": 1}


@pytest.fixture
def statistics() -> FakeStatistics:
    return FakeStatistics(Funnel(12, ROWS))


@pytest.fixture
async def channel(telemetry: Telemetry, statistics: FakeStatistics) -> AsyncIterator[grpc.aio.Channel]:
    add = partial(add_TrackingServiceServicer_to_server, TrackingRpc(statistics, SystemClock()))
    server = RpcServer("tracker", "127.0.0.1:0", None, MeshAuthenticator(insecure=True), telemetry, [add])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as connected:
        yield connected
    await server.stop(timedelta(0))


AS_APP = Caller("gateway", 42).metadata()


async def test_stats_are_those_of_the_calling_app(channel: grpc.aio.Channel, statistics: FakeStatistics) -> None:
    before = datetime.now(UTC)

    response = await TrackingServiceStub(channel).Stats(StatsRequest(), metadata=AS_APP, timeout=5)

    [(app_id, since, until)] = statistics.asked
    assert (app_id, until - since) == (42, timedelta(hours=24))
    assert before <= response.as_of.ToDatetime(UTC) <= datetime.now(UTC)
    assert response.accepted == 12
    assert [Channel(one.channel) for one in response.channels] == [Channel.IOS, Channel.SMS]
    assert dict(response.channels[1].by_receipt) == {"delivered": 5, "undelivered": 1}


async def test_given_window_is_used(channel: grpc.aio.Channel, statistics: FakeStatistics) -> None:
    request = StatsRequest()
    request.since.FromDatetime(NOW - timedelta(days=2))
    request.until.FromDatetime(NOW)

    await TrackingServiceStub(channel).Stats(request, metadata=AS_APP, timeout=5)

    assert statistics.asked == [(42, NOW - timedelta(days=2), NOW)]


@pytest.mark.parametrize("seconds", [-1, 2**40])
async def test_impossible_moment_is_an_invalid_field(channel: grpc.aio.Channel, seconds: int) -> None:
    request = StatsRequest()
    request.since.seconds = seconds

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await TrackingServiceStub(channel).Stats(request, metadata=AS_APP, timeout=5)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _reason(refused.value) == "INVALID_FIELD"


async def test_watch_deliveries_is_not_built(channel: grpc.aio.Channel) -> None:
    call = TrackingServiceStub(channel).WatchDeliveries(WatchDeliveriesRequest(), metadata=AS_APP, timeout=5)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert _reason(refused.value) == "NOT_BUILT"


def _reason(error: grpc.aio.AioRpcError) -> str:
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(bytes(trailers["grpc-status-details-bin"]))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    reason: str = info.reason
    return reason
