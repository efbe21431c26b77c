"""`Stats` over a real server: what is asked reaches the counts, what is not possible is refused."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion.tracking.v1.tracking_service_pb2_grpc import TrackingServiceStub, add_TrackingServiceServicer_to_server
from clarion.types.v1 import channel_pb2
from clarion_kit.rpc.caller import Caller
from clarion_kit.rpc.server import MeshAuthenticator, RpcServer
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, DeliveryState, Reason
from clarion_tracker.funnel import Counts, ReasonCount
from clarion_tracker.rpc import TrackingRpc
from clarion_tracker.statistics import MOST_NAMES, Bucket, Counted, Dimension, Group, Kept, Key, Query
from clarion_tracker.stats_rpc import StatsRpc

from .tracker_feed_samples import no_watch
from .tracker_samples import FakeNames, FakeStatistics, FixedClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AS_OF = NOW - timedelta(seconds=1)
SHOP, BANK = 42, 43
NAMES = FakeNames(
    apps={"shop": SHOP, "bank": BANK},
    categories={1: (SHOP, "orders"), 2: (SHOP, "news"), 3: (BANK, "codes"), 4: (BANK, "orders")},
    providers={7: (SHOP, "apns"), 8: (BANK, "smsc")},
)
COUNTED = Counted(
    AS_OF,
    (
        Group(Key(channel=0), Counts(accepted=12)),
        Group(
            Key(channel=Channel.IOS),
            Counts(planned=12, failed=4, suppressed=2),
            (
                ReasonCount(DeliveryState.FAILED, Reason.ADDRESS_DEAD, 4),
                ReasonCount(DeliveryState.SUPPRESSED, Reason.OPTED_OUT, 2),
            ),
        ),
        Group(Key(channel=Channel.SMS), Counts(planned=9, sent=9, delivered=5, undelivered=1)),
    ),
)


@pytest.fixture
def statistics() -> FakeStatistics:
    return FakeStatistics(COUNTED)


@pytest.fixture
async def channel(telemetry: Telemetry, statistics: FakeStatistics) -> AsyncIterator[grpc.aio.Channel]:
    stats = StatsRpc(statistics, NAMES, FixedClock(NOW), Kept(timedelta(days=35), timedelta(days=400)))
    add = partial(add_TrackingServiceServicer_to_server, TrackingRpc(stats, no_watch()))
    server = RpcServer("tracker", "127.0.0.1:0", None, MeshAuthenticator(insecure=True), telemetry, [add])
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as connected:
        yield connected
    await server.stop(timedelta(0))


AS_APP = Caller("gateway", SHOP, scopes=frozenset({"status:read"})).metadata()
AS_ADMIN = Caller("gateway", SHOP, scopes=frozenset({"status:read", "admin"})).metadata()


async def ask(
    channel: grpc.aio.Channel, request: pb.StatsRequest, caller: Sequence[tuple[str, str]] = AS_APP
) -> pb.StatsResponse:
    return await TrackingServiceStub(channel).Stats(request, metadata=tuple(caller), timeout=5)


async def test_without_groups_everything_is_one_row_and_channels_are_told_apart(
    channel: grpc.aio.Channel, statistics: FakeStatistics
) -> None:
    response = await ask(channel, pb.StatsRequest())

    assert response.accepted == 12
    assert response.as_of.ToDatetime(UTC) == AS_OF
    assert (response.since.ToDatetime(UTC), response.until.ToDatetime(UTC)) == (NOW - timedelta(hours=24), NOW)
    [row] = response.rows
    assert (row.counts.planned, row.counts.in_flight, row.counts.sent) == (21, 6, 9)
    assert [(DeliveryState(one.state), one.count) for one in row.reasons] == [
        (DeliveryState.FAILED, 4),
        (DeliveryState.SUPPRESSED, 2),
    ]
    ios, sms = response.channels
    assert (Channel(ios.channel), Channel(sms.channel)) == (Channel.IOS, Channel.SMS)
    assert dict(ios.by_state) == {"in_flight": 6, "failed": 4, "suppressed": 2}
    assert dict(ios.by_reason) == {"address_dead": 4, "opted_out": 2}
    assert dict(sms.by_receipt) == {"delivered": 5, "undelivered": 1}


async def test_rates_are_given_where_there_is_something_to_divide_by(channel: grpc.aio.Channel) -> None:
    response = await ask(channel, pb.StatsRequest(group_by=[pb.STATS_DIMENSION_CHANNEL]))

    _, ios, sms = response.rows
    assert (ios.rates.sent, sms.rates.sent) == (0.0, 1.0)
    assert not ios.rates.HasField("delivered")
    assert sms.rates.delivered == pytest.approx(5 / 6)


async def test_all_that_is_asked_reaches_the_query(channel: grpc.aio.Channel, statistics: FakeStatistics) -> None:
    request = pb.StatsRequest(
        group_by=[pb.STATS_DIMENSION_PROVIDER, pb.STATS_DIMENSION_COUNTRY, pb.STATS_DIMENSION_TEMPLATE],
        bucket=pb.STATS_BUCKET_DAY,
        filter=pb.StatsFilter(
            categories=["news", "orders"],
            template_versions=[3, 3],
            channels=[channel_pb2.CHANNEL_SMS],
            providers=["apns"],
            countries=["KR", "-"],
            templates=["welcome", "-"],
        ),
    )
    request.since.FromDatetime(NOW - timedelta(days=2))
    request.until.FromDatetime(NOW)

    response = await ask(channel, request)

    [query] = statistics.asked
    assert query == Query(
        apps=(SHOP,),
        window=query.window,
        bucket=Bucket.DAY,
        group_by=(Dimension.PROVIDER, Dimension.COUNTRY, Dimension.TEMPLATE),
        categories=(2, 1),
        template_versions=(3,),
        channels=(Channel.SMS,),
        lanes=(7,),
        countries=("KR", ""),
        templates=("welcome", ""),
    )
    assert response.since.ToDatetime(UTC) == datetime(2026, 2, 27, tzinfo=UTC)
    assert not response.channels


async def test_rows_are_told_by_name(channel: grpc.aio.Channel, statistics: FakeStatistics) -> None:
    key = Key(NOW, SHOP, 1, 5, Channel.IOS, 7, "KR", "welcome")
    statistics.answer = Counted(AS_OF, (Group(key, Counts(sent=1)), Group(Key(category_id=99, lane_id=0), Counts())))

    response = await ask(channel, pb.StatsRequest(bucket=pb.STATS_BUCKET_HOUR))

    known, unknown = response.rows
    assert (known.app, known.category, known.provider, known.country) == ("shop", "orders", "apns", "KR")
    assert (known.template, unknown.template) == ("welcome", "")
    assert (known.start.ToDatetime(UTC), known.template_version, Channel(known.channel)) == (NOW, 5, Channel.IOS)
    assert (unknown.category, unknown.provider, unknown.HasField("start")) == ("", "", False)


@pytest.mark.parametrize(
    ("names", "expected"), [([], (SHOP,)), (["shop"], (SHOP,)), (["bank", "shop"], (BANK, SHOP)), (["*"], None)]
)
async def test_admin_may_count_any_app(
    channel: grpc.aio.Channel, statistics: FakeStatistics, names: list[str], expected: tuple[int, ...] | None
) -> None:
    await ask(channel, pb.StatsRequest(filter=pb.StatsFilter(apps=names)), AS_ADMIN)

    assert [query.apps for query in statistics.asked] == [expected]


async def test_app_may_name_itself(channel: grpc.aio.Channel, statistics: FakeStatistics) -> None:
    await ask(channel, pb.StatsRequest(filter=pb.StatsFilter(apps=["shop"])))

    assert [query.apps for query in statistics.asked] == [(SHOP,)]


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("filter.apps[0]", pb.StatsRequest(filter=pb.StatsFilter(apps=["bank"]))),
        ("filter.apps[0]", pb.StatsRequest(filter=pb.StatsFilter(apps=["nobody"]))),
        ("filter.apps[0]", pb.StatsRequest(filter=pb.StatsFilter(apps=["*"]))),
        ("filter.categories[0]", pb.StatsRequest(filter=pb.StatsFilter(categories=["codes"]))),
        ("filter.categories[1]", pb.StatsRequest(filter=pb.StatsFilter(categories=["news", "nothing"]))),
        ("filter.providers[0]", pb.StatsRequest(filter=pb.StatsFilter(providers=["smsc"]))),
        ("filter.channels[0]", pb.StatsRequest(filter=pb.StatsFilter(channels=[77]))),  # type: ignore[list-item]
        ("filter.channels[0]", pb.StatsRequest(filter=pb.StatsFilter(channels=[0]))),  # type: ignore[list-item]
        ("filter.template_versions[0]", pb.StatsRequest(filter=pb.StatsFilter(template_versions=[2**32 - 1]))),
        ("filter.countries[0]", pb.StatsRequest(filter=pb.StatsFilter(countries=["Korea"]))),
        ("filter.templates[0]", pb.StatsRequest(filter=pb.StatsFilter(templates=["No Name"]))),
        ("filter.templates[1]", pb.StatsRequest(filter=pb.StatsFilter(templates=["welcome", ""]))),
        ("filter.templates", pb.StatsRequest(filter=pb.StatsFilter(templates=["welcome"] * (MOST_NAMES + 1)))),
        ("filter.countries", pb.StatsRequest(filter=pb.StatsFilter(countries=["KR"] * (MOST_NAMES + 1)))),
        ("filter.categories", pb.StatsRequest(filter=pb.StatsFilter(categories=["news"] * (MOST_NAMES + 1)))),
        ("group_by[0]", pb.StatsRequest(group_by=[77])),  # type: ignore[list-item]
        ("group_by[0]", pb.StatsRequest(group_by=[0])),  # type: ignore[list-item]
        ("group_by", pb.StatsRequest(group_by=[1, 1])),  # type: ignore[list-item]
        ("bucket", pb.StatsRequest(bucket=9)),  # type: ignore[arg-type]
    ],
)
async def test_what_is_not_there_or_not_possible_is_refused_by_its_field(
    channel: grpc.aio.Channel, statistics: FakeStatistics, field: str, request_: pb.StatsRequest
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel, request_)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _faulty_fields(refused.value) == [field]
    assert not statistics.asked


async def test_others_names_and_unknown_ones_look_the_same(channel: grpc.aio.Channel) -> None:
    answers = []
    for name in ("bank", "nobody"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(channel, pb.StatsRequest(filter=pb.StatsFilter(apps=[name])))
        answers.append((refused.value.code(), refused.value.details()))

    assert answers[0] == answers[1]


@pytest.mark.parametrize("seconds", [-1, 2**40])
async def test_impossible_moment_is_an_invalid_field(channel: grpc.aio.Channel, seconds: int) -> None:
    request = pb.StatsRequest()
    request.since.seconds = seconds

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel, request)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _faulty_fields(refused.value) == ["since"]


async def test_window_in_the_future_is_an_invalid_field(channel: grpc.aio.Channel) -> None:
    request = pb.StatsRequest()
    request.since.FromDatetime(NOW + timedelta(hours=1))
    request.until.FromDatetime(NOW + timedelta(hours=2))

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel, request)

    assert _faulty_fields(refused.value) == ["since"]


def _faulty_fields(error: grpc.aio.AioRpcError) -> list[str]:
    """The fields an INVALID_FIELD names."""
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(bytes(trailers["grpc-status-details-bin"]))
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert info.reason == "INVALID_FIELD"
    return [violation.field for violation in bad.field_violations]
