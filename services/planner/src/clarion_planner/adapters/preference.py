"""Preferences over the preference service's batch RPC."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion.internal.preference.v1.preference_service_pb2_grpc import PreferenceServiceStub
from clarion_kit.rpc.client import Peer
from clarion_kit.vocabulary import Channel, Gate, Reason
from clarion_planner.domain import AddressRef, ChannelFacts, Closed, Recipient
from clarion_planner.ports import ResolveQuery

TIMEOUT = timedelta(seconds=3)
BATCH = 1_000


class PreferenceClient:
    """Implements `Preferences`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = PreferenceServiceStub(peer.channel)

    async def resolve(self, queries: Sequence[ResolveQuery]) -> list[Recipient]:
        """In order. Raises DomainError DEPENDENCY_UNAVAILABLE."""
        recipients: list[Recipient] = []
        for start in range(0, len(queries), BATCH):
            chunk = queries[start : start + BATCH]
            request = pb.ResolveRequest()
            for query in chunk:
                _put(request, query)
            response: pb.ResolveResponse = await self._peer.call(
                self._stub.Resolve,
                request,
                timeout=TIMEOUT,
                name="clarion.internal.preference.v1.PreferenceService/Resolve",
            )
            recipients += [_recipient(query, found) for query, found in zip(chunk, response.resolved, strict=True)]
        return recipients


def _put(request: pb.ResolveRequest, query: ResolveQuery) -> None:
    """In place: a message that is put into another is copied."""
    request.queries.add(
        app_id=query.app_id,
        recipient_ref=query.recipient_ref,
        category=query.category.name,
        critical=query.category.critical,
        opt_in_required=query.category.opt_in_required,
        channels=query.channels,  # our numbers are the contract's (tested)
    )


def _recipient(query: ResolveQuery, found: pb.Resolved) -> Recipient:
    if not found.found:
        return Recipient(query.recipient_ref, found=False)
    return Recipient(
        query.recipient_ref,
        found=True,
        locale=found.locale,
        country=found.country,
        channels={Channel(answer.channel): _facts(answer) for answer in found.channels},
        revision=found.revision,
        time_zone=found.time_zone,
        quiet_from=_moment(found.quiet_from_ms),
        channel_order=tuple(Channel(channel) for channel in found.channel_order),
    )


def _facts(answer: pb.ChannelAnswer) -> ChannelFacts:
    if answer.gate:
        return ChannelFacts(Closed(Gate(answer.gate), Reason(answer.reason), answer.rule))
    return ChannelFacts(
        None,
        tuple(AddressRef(found.address_id, found.sealed, found.hint) for found in answer.addresses),
        _moment(answer.quiet_until_ms),
    )


def _moment(unix_ms: int) -> datetime | None:
    return datetime.fromtimestamp(unix_ms / 1_000, UTC) if unix_ms else None
