"""News on their way to the preference service, over a real gRPC connection."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import grpc
import pytest

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion.internal.preference.v1.preference_service_pb2_grpc import (
    PreferenceServiceServicer,
    add_PreferenceServiceServicer_to_server,
)
from clarion.suppression.v1 import suppression_pb2
from clarion.types.v1 import channel_pb2
from clarion_channels.receipt import News, Source
from clarion_kit.rpc.client import Peer
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel
from clarion_tracker.adapters.preference import Preference, PreferenceAway
from clarion_tracker.inbound import AddressNews
from clarion_tracker.wish_page import Change, Wanted

AT = datetime(2026, 3, 1, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)
ADDRESS, DELIVERY, RECIPIENT = UUID(int=1), UUID(int=2), UUID(int=3)
NUMBER = "+821012345678"

Context = grpc.aio.ServicerContext[object, object]


class Service(PreferenceServiceServicer):
    """Remembers what it is told; `refused` and `code` are its answers."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.refused: list[int] = []
        self.code: grpc.StatusCode | None = None
        self.shown = pb.ShowWishesResponse()

    async def _tell(self, request: object, context: Context) -> None:
        if self.code is not None:
            await context.abort(self.code, "no")
        self.told.append(request)

    async def Resolve(self, request: pb.ResolveRequest, context: Context) -> pb.ResolveResponse:
        raise AssertionError("a tracker resolves nobody")

    async def ListAudience(self, request: pb.ListAudienceRequest, context: Context) -> pb.ListAudienceResponse:
        raise AssertionError("a tracker lists no audience")

    async def ReportDead(self, request: pb.ReportDeadRequest, context: Context) -> pb.ReportDeadResponse:
        await self._tell(request, context)
        return pb.ReportDeadResponse()

    async def Suppress(self, request: pb.SuppressRequest, context: Context) -> pb.SuppressResponse:
        await self._tell(request, context)
        return pb.SuppressResponse(refused=self.refused)

    async def LiftStops(self, request: pb.LiftStopsRequest, context: Context) -> pb.LiftStopsResponse:
        await self._tell(request, context)
        return pb.LiftStopsResponse(refused=self.refused)

    async def ReportReach(self, request: pb.ReportReachRequest, context: Context) -> pb.ReportReachResponse:
        await self._tell(request, context)
        return pb.ReportReachResponse()

    async def ShowWishes(self, request: pb.ShowWishesRequest, context: Context) -> pb.ShowWishesResponse:
        await self._tell(request, context)
        return self.shown

    async def SwitchWishes(self, request: pb.SwitchWishesRequest, context: Context) -> pb.SwitchWishesResponse:
        await self._tell(request, context)
        return pb.SwitchWishesResponse()

    async def Unsubscribe(self, request: pb.UnsubscribeRequest, context: Context) -> pb.UnsubscribeResponse:
        await self._tell(request, context)
        return pb.UnsubscribeResponse()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def preference(service: Service, telemetry: Telemetry) -> AsyncIterator[Preference]:
    server = grpc.aio.server()
    add_PreferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Preference(Peer("preference", channel, telemetry))
    await server.stop(None)


def news(kind: News, address: UUID | str = ADDRESS, source: Source = Source.PROVIDER) -> AddressNews:
    return AddressNews(3, address, kind, AT, source, DELIVERY)


def key(address: UUID | str = ADDRESS) -> pb.AddressKey:
    made = pb.AddressKey(app_id=3)
    if isinstance(address, UUID):
        made.address_id = address.bytes
    else:
        made.address.sms.e164 = address
    return made


def suppression(
    reason: suppression_pb2.SuppressionReason.ValueType,
    source: suppression_pb2.SuppressionSource.ValueType = suppression_pb2.SUPPRESSION_SOURCE_PROVIDER,
    address: UUID | str = ADDRESS,
) -> pb.SuppressRequest:
    item = pb.SuppressRequest.Item(key=key(address), reason=reason, source=source, since_ms=AT_MS)
    return pb.SuppressRequest(items=[item])


DEAD = pb.ReportDeadRequest(
    addresses=[pb.ReportDeadRequest.DeadAddress(app_id=3, address_id=ADDRESS.bytes, dead_since_ms=AT_MS)]
)


def reach(*, arrived: bool) -> pb.ReportReachRequest:
    item = pb.ReportReachRequest.Item(
        app_id=3, address_id=ADDRESS.bytes, delivery_id=DELIVERY.bytes, at_ms=AT_MS, arrived=arrived
    )
    return pb.ReportReachRequest(items=[item])


@pytest.mark.parametrize(
    ("told", "requests"),
    [
        (news(News.DEAD), [DEAD]),
        (news(News.HARD_BOUNCE), [DEAD, suppression(suppression_pb2.SUPPRESSION_REASON_HARD_BOUNCE)]),
        (
            news(News.HARD_BOUNCE, source=Source.BOUNCE_MAIL),
            [
                DEAD,
                suppression(
                    suppression_pb2.SUPPRESSION_REASON_HARD_BOUNCE, suppression_pb2.SUPPRESSION_SOURCE_BOUNCE_MAIL
                ),
            ],
        ),
        (news(News.COMPLAINT), [suppression(suppression_pb2.SUPPRESSION_REASON_COMPLAINT)]),
        (news(News.UNSUBSCRIBED), [suppression(suppression_pb2.SUPPRESSION_REASON_UNSUBSCRIBED)]),
        (
            news(News.STOPPED, NUMBER, Source.PERSON),
            [
                suppression(
                    suppression_pb2.SUPPRESSION_REASON_STOP_WORD,
                    suppression_pb2.SUPPRESSION_SOURCE_INBOUND_SMS,
                    NUMBER,
                )
            ],
        ),
        (
            news(News.STARTED, NUMBER, Source.PERSON),
            [pb.LiftStopsRequest(items=[pb.LiftStopsRequest.Item(key=key(NUMBER), at_ms=AT_MS)])],
        ),
        (news(News.ARRIVED), [reach(arrived=True)]),
        (news(News.SOFT_BOUNCE), [reach(arrived=False)]),
    ],
)
async def test_each_kind_of_news_takes_its_way(
    preference: Preference, service: Service, told: AddressNews, requests: list[object]
) -> None:
    assert await preference.tell([told]) == []
    assert service.told == requests


async def test_numbers_that_nobody_can_know_come_back(preference: Preference, service: Service) -> None:
    service.refused = [1]
    stops = [news(News.STOPPED, f"+{n}", Source.PERSON) for n in range(3)]
    starts = [news(News.STARTED, f"+{n}", Source.PERSON) for n in range(3, 6)]

    assert await preference.tell([*stops, *starts]) == [stops[1], starts[1]]


async def test_many_news_go_in_batches_that_the_service_takes(preference: Preference, service: Service) -> None:
    await preference.tell([news(News.COMPLAINT)] * 2_500)

    sizes = [len(request.items) for request in service.told if isinstance(request, pb.SuppressRequest)]
    assert sizes == [1_000, 1_000, 500]


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT]
)
async def test_whatever_the_service_refuses_with_news_are_to_be_told_again(
    preference: Preference, service: Service, code: grpc.StatusCode
) -> None:
    service.code = code

    with pytest.raises(PreferenceAway):
        await preference.tell([news(News.COMPLAINT)])
    with pytest.raises(PreferenceAway):
        await preference.unsubscribe(3, RECIPIENT, "news", Channel.EMAIL)


async def test_unsubscribing_names_recipient_category_and_channel(preference: Preference, service: Service) -> None:
    await preference.unsubscribe(3, RECIPIENT, "news", Channel.EMAIL)

    assert service.told == [
        pb.UnsubscribeRequest(
            app_id=3, recipient_ref=RECIPIENT.bytes, category="news", channel=channel_pb2.CHANNEL_EMAIL
        )
    ]


async def test_recipient_who_is_gone_has_nothing_to_be_told(preference: Preference, service: Service) -> None:
    service.code = grpc.StatusCode.NOT_FOUND

    await preference.unsubscribe(3, RECIPIENT, "news", Channel.EMAIL)


async def test_page_is_shown_what_somebody_wants_and_has(service: Service, preference: Preference) -> None:
    service.shown.channels.extend([channel_pb2.CHANNEL_SMS, channel_pb2.Channel.ValueType(99)])
    service.shown.wishes.channels_off.append(channel_pb2.CHANNEL_SMS)
    service.shown.wishes.categories.add(category="news", enabled=True)
    service.shown.wishes.categories.add(category="news", channel=channel_pb2.CHANNEL_SMS)

    wanted = await preference.wanted(3, RECIPIENT)

    assert wanted == Wanted(
        (Channel.SMS,), False, frozenset({Channel.SMS}), {("news", None): True, ("news", Channel.SMS): False}
    )
    assert service.told == [pb.ShowWishesRequest(app_id=3, recipient_ref=RECIPIENT.bytes)]


async def test_switches_of_a_page_are_told_together(service: Service, preference: Preference) -> None:
    changes = [Change(Channel.SMS, "", True), Change(None, "news", False)]

    assert await preference.turn(3, RECIPIENT, changes)

    [told] = service.told
    assert told == pb.SwitchWishesRequest(
        app_id=3,
        recipient_ref=RECIPIENT.bytes,
        switches=[
            pb.SwitchWishesRequest.Switch(channel=channel_pb2.CHANNEL_SMS, enabled=True),
            pb.SwitchWishesRequest.Switch(category="news"),
        ],
    )


async def test_page_of_somebody_who_is_gone_has_nothing_to_show(service: Service, preference: Preference) -> None:
    service.code = grpc.StatusCode.NOT_FOUND

    assert await preference.wanted(3, RECIPIENT) is None
    assert not await preference.turn(3, RECIPIENT, [Change(None, "", False)])


async def test_page_that_cannot_be_read_for_now_is_no_answer(service: Service, preference: Preference) -> None:
    service.code = grpc.StatusCode.INTERNAL

    with pytest.raises(PreferenceAway):
        await preference.wanted(3, RECIPIENT)
