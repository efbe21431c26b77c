"""The preference service: it owns addresses, suppression lists and wishes."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import grpc

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion.internal.preference.v1.preference_service_pb2_grpc import PreferenceServiceStub
from clarion.suppression.v1 import suppression_pb2
from clarion.types.v1 import address_pb2, channel_pb2
from clarion_channels.receipt import News, Source
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.rpc.client import Peer
from clarion_kit.vocabulary import Channel
from clarion_tracker.inbound import AddressNews
from clarion_tracker.wish_page import Change, Wanted

TIMEOUT = timedelta(seconds=2)
_BATCH = 1_000
_SERVICE = "clarion.internal.preference.v1.PreferenceService"

_REASONS = {
    News.HARD_BOUNCE: suppression_pb2.SUPPRESSION_REASON_HARD_BOUNCE,
    News.COMPLAINT: suppression_pb2.SUPPRESSION_REASON_COMPLAINT,
    News.UNSUBSCRIBED: suppression_pb2.SUPPRESSION_REASON_UNSUBSCRIBED,
    News.STOPPED: suppression_pb2.SUPPRESSION_REASON_STOP_WORD,
}
_SOURCES = {
    Source.PERSON: suppression_pb2.SUPPRESSION_SOURCE_INBOUND_SMS,
    Source.PROVIDER: suppression_pb2.SUPPRESSION_SOURCE_PROVIDER,
    Source.BOUNCE_MAIL: suppression_pb2.SUPPRESSION_SOURCE_BOUNCE_MAIL,
}
_DEAD = (News.DEAD, News.HARD_BOUNCE)
_REACH = (News.ARRIVED, News.SOFT_BOUNCE)

ItemT = TypeVar("ItemT")
ResponseT = TypeVar("ResponseT")


class PreferenceAway(Unavailable):
    """The preference service does not do what it is asked, for now."""

    dependency = "preference"


class Preference:
    """`ports.Addresses`, `ports.Wishes` and `ports.PageWishes` over the preference service's RPCs."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = PreferenceServiceStub(peer.channel)

    async def tell(self, news: Sequence[AddressNews]) -> Collection[AddressNews]:
        unknown: list[AddressNews] = []
        for batch in _batches([one for one in news if one.news in _DEAD and isinstance(one.address, UUID)]):
            await self._call("ReportDead", self._stub.ReportDead, pb.ReportDeadRequest(addresses=map(_dead, batch)))
        for batch in _batches([one for one in news if one.news in _REASONS]):
            request = pb.SuppressRequest(items=map(_suppression, batch))
            suppressed: pb.SuppressResponse = await self._call("Suppress", self._stub.Suppress, request)
            unknown += [batch[position] for position in suppressed.refused]
        for batch in _batches([one for one in news if one.news is News.STARTED]):
            items = [pb.LiftStopsRequest.Item(key=_key(one), at_ms=_milliseconds(one.at)) for one in batch]
            lifts = pb.LiftStopsRequest(items=items)
            lifted: pb.LiftStopsResponse = await self._call("LiftStops", self._stub.LiftStops, lifts)
            unknown += [batch[position] for position in lifted.refused]
        for batch in _batches([one for one in news if one.news in _REACH and isinstance(one.address, UUID)]):
            await self._call("ReportReach", self._stub.ReportReach, pb.ReportReachRequest(items=map(_reach, batch)))
        return unknown

    async def unsubscribe(self, app_id: int, recipient_ref: UUID, category: str, channel: Channel) -> None:
        request = pb.UnsubscribeRequest(
            app_id=app_id,
            recipient_ref=recipient_ref.bytes,
            category=category,
            channel=channel_pb2.Channel.ValueType(channel),
        )
        try:
            await self._call("Unsubscribe", self._stub.Unsubscribe, request)
        except _Gone:
            return

    async def wanted(self, app_id: int, recipient_ref: UUID) -> Wanted | None:
        request = pb.ShowWishesRequest(app_id=app_id, recipient_ref=recipient_ref.bytes)
        try:
            shown: pb.ShowWishesResponse = await self._call("ShowWishes", self._stub.ShowWishes, request)
        except _Gone:
            return None
        wishes = shown.wishes
        return Wanted(
            channels=_known_channels(shown.channels),
            opted_out=wishes.opted_out,
            channels_off=frozenset(_known_channels(wishes.channels_off)),
            choices={
                (choice.category, Channel(choice.channel) if choice.channel else None): choice.enabled
                for choice in wishes.categories
            },
        )

    async def turn(self, app_id: int, recipient_ref: UUID, changes: Sequence[Change]) -> bool:
        switches = [
            pb.SwitchWishesRequest.Switch(
                channel=channel_pb2.Channel.ValueType(change.channel or 0),
                category=change.category,
                enabled=change.enabled,
            )
            for change in changes
        ]
        request = pb.SwitchWishesRequest(app_id=app_id, recipient_ref=recipient_ref.bytes, switches=switches)
        try:
            await self._call("SwitchWishes", self._stub.SwitchWishes, request)
        except _Gone:
            return False
        return True

    async def _call(self, method: str, call: Callable[..., Awaitable[ResponseT]], request: object) -> ResponseT:
        try:
            return await self._peer.call(call, request, timeout=TIMEOUT, name=f"{_SERVICE}/{method}")
        except DomainError as away:
            raise PreferenceAway(away.message) from away
        except grpc.aio.AioRpcError as refused:
            if refused.code() is grpc.StatusCode.NOT_FOUND:
                raise _Gone from refused
            # Whatever it is, no row is to blame for it: what came back must not be lost.
            raise PreferenceAway(f"{method}: {refused.code().name}") from refused


class _Gone(PreferenceAway):
    """Nobody there whom it could be told of."""


def _known_channels(numbers: Iterable[int]) -> tuple[Channel, ...]:
    """A newer preference service may name channels that are not known here."""
    return tuple(channel for channel in map(Channel, numbers) if channel.known)


def _batches(news: Sequence[ItemT]) -> list[Sequence[ItemT]]:
    return [news[start : start + _BATCH] for start in range(0, len(news), _BATCH)]


def _key(news: AddressNews) -> pb.AddressKey:
    if isinstance(news.address, UUID):
        return pb.AddressKey(app_id=news.app_id, address_id=news.address.bytes)
    number = address_pb2.PhoneNumber(e164=news.address)
    return pb.AddressKey(app_id=news.app_id, address=address_pb2.Address(sms=number))


def _dead(news: AddressNews) -> pb.ReportDeadRequest.DeadAddress:
    return pb.ReportDeadRequest.DeadAddress(
        app_id=news.app_id, address_id=_id(news), dead_since_ms=_milliseconds(news.at)
    )


def _suppression(news: AddressNews) -> pb.SuppressRequest.Item:
    return pb.SuppressRequest.Item(
        key=_key(news), reason=_REASONS[news.news], source=_SOURCES[news.source], since_ms=_milliseconds(news.at)
    )


def _reach(news: AddressNews) -> pb.ReportReachRequest.Item:
    return pb.ReportReachRequest.Item(
        app_id=news.app_id,
        address_id=_id(news),
        delivery_id=news.delivery_id.bytes if news.delivery_id is not None else b"",
        at_ms=_milliseconds(news.at),
        arrived=news.news is News.ARRIVED,
    )


def _id(news: AddressNews) -> bytes:
    return news.address.bytes if isinstance(news.address, UUID) else b""


def _milliseconds(moment: datetime) -> int:
    return max(1, int(moment.timestamp() * 1000))
