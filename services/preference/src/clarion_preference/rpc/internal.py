"""The internal PreferenceService: wishes and addresses for planner and dispatchers, in batches."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import grpc

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion.internal.preference.v1 import preference_service_pb2_grpc as pb_grpc
from clarion.notification.v1 import state_pb2
from clarion_kit.validate import NAME, Faults
from clarion_kit.vocabulary import Channel
from clarion_preference.domain import Question, closed_gate
from clarion_preference.ports import AddressBook
from clarion_preference.recipients import DeadAddress, Reachable, Sought

Context = grpc.aio.ServicerContext[object, object]

MAX_ITEMS = 1_000
_UUID_BYTES = 16
_CHANNELS: Mapping[int, Channel] = {int(channel): channel for channel in Channel}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_UNIX_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, where Python's calendar ends."""


class InternalPreferenceRpc(pb_grpc.PreferenceServiceServicer):
    """Answers for the app of each item."""

    def __init__(self, book: AddressBook) -> None:
        self._book = book

    async def Resolve(self, request: pb.ResolveRequest, context: Context) -> pb.ResolveResponse:
        _check_queries(request.queries)
        found = await self._book.reachable(
            [Sought(query.app_id, query.recipient_ref, query.channels[:]) for query in request.queries]
        )
        response = pb.ResolveResponse()
        for query, reachable in zip(request.queries, found, strict=True):
            resolved = response.resolved.add()
            if reachable is not None:
                _fill(resolved, query, reachable)
        return response

    async def ReportDead(self, request: pb.ReportDeadRequest, context: Context) -> pb.ReportDeadResponse:
        _check_dead(request.addresses)
        disabled = await self._book.report_dead(
            [
                DeadAddress(
                    address.app_id,
                    UUID(bytes=address.address_id),
                    _EPOCH + timedelta(milliseconds=address.dead_since_ms),
                )
                for address in request.addresses
            ]
        )
        return pb.ReportDeadResponse(disabled=disabled)


def _fill(resolved: pb.Resolved, query: pb.ResolveRequest.Query, reachable: Reachable) -> None:
    """Fills messages in place: building and then copying them costs twice as much."""
    resolved.found = True
    resolved.locale = reachable.locale
    resolved.time_zone = reachable.time_zone
    resolved.country = reachable.country
    resolved.revision = reachable.revision
    question = Question(query.category, query.critical, query.opt_in_required)
    for number in query.channels:
        addresses = reachable.addresses.get(number, ())
        closed = closed_gate(reachable.wishes, question, _CHANNELS[number], reachable=bool(addresses))
        if closed is None:
            answer = resolved.channels.add(channel=number)
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


def _check_dead(addresses: Sequence[pb.ReportDeadRequest.DeadAddress]) -> None:
    faults = Faults()
    faults.require("addresses", 1 <= len(addresses) <= MAX_ITEMS, f"must be 1-{MAX_ITEMS:,}")
    for index, address in enumerate(addresses):
        with faults.within(f"addresses[{index}]."):
            faults.require("app_id", address.app_id > 0, "required")
            faults.require("address_id", len(address.address_id) == _UUID_BYTES, "must be 16 bytes")
            faults.require("dead_since_ms", 0 < address.dead_since_ms <= _MAX_UNIX_MS, "must be Unix milliseconds")
    faults.raise_if_any()
