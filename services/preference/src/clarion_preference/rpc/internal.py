"""The internal PreferenceService: wishes and addresses for planner and dispatchers, what the tracker heard; in batches."""

from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

import grpc

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion.internal.preference.v1 import preference_service_pb2_grpc as pb_grpc
from clarion.notification.v1 import state_pb2
from clarion_kit.clock import Clock
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.validate import NAME, Faults
from clarion_kit.vocabulary import Channel
from clarion_preference.domain import Question, closed_gate, switched
from clarion_preference.ports import AddressBook, Audiences, SuppressionList, WishBook
from clarion_preference.quiet_answers import NEVER_QUIET, QuietAnswer, QuietAnswers
from clarion_preference.recipients import Actor, Reachable, Sought, WishWay
from clarion_preference.rpc.reading_audience import read_page
from clarion_preference.rpc.reading_page import read_switches, read_whose, turned
from clarion_preference.rpc.reading_reports import (
    MAX_ITEMS,
    read_dead,
    read_lifts,
    read_reach,
    read_suppressions,
)
from clarion_preference.suppressions import Decided
from clarion_preference.wire import channel_to_proto, wishes_to_proto

Context = grpc.aio.ServicerContext[object, object]

_UUID_BYTES = 16
_CHANNELS: Mapping[int, Channel] = {int(channel): channel for channel in Channel}


class InternalPreferenceRpc(pb_grpc.PreferenceServiceServicer):
    """Answers for the app of each item."""

    def __init__(
        self, book: AddressBook, suppressions: SuppressionList, wishes: WishBook, audiences: Audiences, clock: Clock
    ) -> None:
        self._book = book
        self._suppressions = suppressions
        self._wishes = wishes
        self._audiences = audiences
        self._clock = clock
        self._quiet = QuietAnswers()

    async def Resolve(self, request: pb.ResolveRequest, context: Context) -> pb.ResolveResponse:
        _check_queries(request.queries)
        found = await self._book.reachable(
            [Sought(query.app_id, query.recipient_ref, query.channels[:]) for query in request.queries]
        )
        response = pb.ResolveResponse()
        now = self._clock.now()
        for query, reachable in zip(request.queries, found, strict=True):
            resolved = response.resolved.add()
            if reachable is not None:
                quiet = self._quiet.answer(reachable.wishes.windows, reachable.time_zone, now)
                _fill(resolved, query, reachable, quiet)
        return response

    async def ReportDead(self, request: pb.ReportDeadRequest, context: Context) -> pb.ReportDeadResponse:
        return pb.ReportDeadResponse(disabled=await self._book.report_dead(read_dead(request.addresses)))

    async def Suppress(self, request: pb.SuppressRequest, context: Context) -> pb.SuppressResponse:
        decisions, positions, refused = read_suppressions(request.items)
        decided = await self._suppressions.put(decisions) if decisions else _NOTHING
        return pb.SuppressResponse(added=decided.moved, refused=_positions(refused, positions, decided))

    async def LiftStops(self, request: pb.LiftStopsRequest, context: Context) -> pb.LiftStopsResponse:
        decisions, positions, refused = read_lifts(request.items)
        decided = await self._suppressions.lift(decisions) if decisions else _NOTHING
        return pb.LiftStopsResponse(lifted=decided.moved, refused=_positions(refused, positions, decided))

    async def ReportReach(self, request: pb.ReportReachRequest, context: Context) -> pb.ReportReachResponse:
        return pb.ReportReachResponse(suppressed=await self._suppressions.report_reach(read_reach(request.items)))

    async def Unsubscribe(self, request: pb.UnsubscribeRequest, context: Context) -> pb.UnsubscribeResponse:
        faults = Faults()
        faults.require("app_id", request.app_id > 0, "required")
        faults.require("recipient_ref", len(request.recipient_ref) == _UUID_BYTES, "must be 16 bytes")
        faults.name("category", request.category)
        faults.require("channel", request.channel in _CHANNELS, "required")
        faults.raise_if_any()
        # Somebody who unsubscribes is not told that there are too many choices: categories bound their number.
        revision = await self._wishes.change_wishes_of(
            request.app_id,
            UUID(bytes=request.recipient_ref),
            lambda wishes: switched(wishes, _CHANNELS[request.channel], request.category, enabled=False),
            Actor(WishWay.ONE_CLICK),
        )
        return pb.UnsubscribeResponse(revision=revision)

    async def ShowWishes(self, request: pb.ShowWishesRequest, context: Context) -> pb.ShowWishesResponse:
        faults = Faults()
        read_whose(faults, request)
        faults.raise_if_any()
        [found] = await self._book.reachable([Sought(request.app_id, request.recipient_ref, list(_CHANNELS))])
        if found is None:
            raise DomainError(ErrorReason.RECIPIENT_NOT_FOUND, "there is no such recipient")
        used = {number for number, addresses in found.addresses.items() if addresses} | found.suppressed.keys()
        return pb.ShowWishesResponse(
            wishes=wishes_to_proto(found.wishes),
            channels=[channel_to_proto(Channel(number)) for number in sorted(used)],
        )

    async def SwitchWishes(self, request: pb.SwitchWishesRequest, context: Context) -> pb.SwitchWishesResponse:
        ref, switches = read_switches(request)
        # As with Unsubscribe, categories bound the number of choices.
        revision = await self._wishes.change_wishes_of(
            request.app_id, ref, lambda wishes: turned(wishes, switches), Actor(WishWay.PAGE)
        )
        return pb.SwitchWishesResponse(revision=revision)

    async def ListAudience(self, request: pb.ListAudienceRequest, context: Context) -> pb.ListAudienceResponse:
        page = read_page(request)
        response = pb.ListAudienceResponse(recipient_refs=await self._audiences.page(request.app_id, page))
        if request.estimate:
            response.estimated_total = await self._audiences.estimate(request.app_id, page.audience)
        return response


_NOTHING = Decided(0, ())


def _positions(refused: Sequence[int], positions: Sequence[int], decided: Decided) -> list[int]:
    """Positions in the request of what was refused by itself and of what nobody knows."""
    return sorted([*refused, *(positions[place] for place in decided.unknown)])


def _fill(resolved: pb.Resolved, query: pb.ResolveRequest.Query, reachable: Reachable, quiet: QuietAnswer) -> None:
    """Fills messages in place: building and then copying them costs twice as much."""
    resolved.found = True
    resolved.locale = reachable.locale
    resolved.time_zone = reachable.time_zone
    resolved.country = reachable.country
    resolved.revision = reachable.revision
    if quiet is not NEVER_QUIET:
        resolved.quiet_until_ms = quiet.until
        resolved.quiet_from_ms = quiet.begins
    if reachable.wishes.channel_order:
        resolved.channel_order.extend(channel_to_proto(channel) for channel in reachable.wishes.channel_order)
    question = Question(query.category, query.critical, query.opt_in_required)
    for number in query.channels:
        addresses = reachable.addresses.get(number, ())
        closed = closed_gate(
            reachable.wishes,
            question,
            _CHANNELS[number],
            reachable=bool(addresses),
            suppressed=reachable.suppressed.get(number),
        )
        if closed is None:
            answer = resolved.channels.add(channel=number, quiet_until_ms=quiet.on(number))
            for address_id, sealed, hint in addresses:
                answer.addresses.add(address_id=address_id, sealed=sealed, hint=hint)
        else:
            resolved.channels.add(
                channel=number,
                gate=state_pb2.Gate.ValueType(closed.gate),
                reason=state_pb2.Reason.ValueType(closed.reason),
                rule=closed.rule,
            )


def _check_queries(queries: Sequence[pb.ResolveRequest.Query]) -> None:
    faults = Faults()
    faults.require("queries", 1 <= len(queries) <= MAX_ITEMS, f"must be 1-{MAX_ITEMS:,}")
    for index, query in enumerate(queries):
        for field, description in _query_faults(query):
            faults.add(f"queries[{index}].{field}", description)
    faults.raise_if_any()


def _query_faults(query: pb.ResolveRequest.Query) -> Iterator[tuple[str, str]]:
    if query.app_id <= 0:
        yield "app_id", "required"
    if len(query.recipient_ref) != _UUID_BYTES:
        yield "recipient_ref", "must be 16 bytes"
    if not NAME.fullmatch(query.category):
        yield "category", "must be the name of a category"
    channels = query.channels[:]
    if not channels or not _CHANNELS.keys() >= set(channels):
        yield "channels", "must be known channels, at least one"
    if len(set(channels)) != len(channels):
        yield "channels", "must not repeat"
