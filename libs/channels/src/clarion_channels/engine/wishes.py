"""The gates once more, for deliveries whose recipient changed after they were planned, and for those that rested."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

import grpc

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion.internal.preference.v1.preference_service_pb2_grpc import PreferenceServiceStub
from clarion_kit.errors import unavailable
from clarion_kit.rpc.client import Peer
from clarion_kit.vocabulary import Channel, Reason
from clarion_ledger.config import ConfigCache
from clarion_ledger.dispatching import Claimed

TIMEOUT = timedelta(seconds=3)
_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Again:
    """What the gates say today: a reason to cancel, or the address (sealed) as it is now. `quiet_until`: the end of the quiet
    hours that hold now, None where none do; `time_zone`: the recipient's; `test`: it is of a test send."""

    cancelled: Reason | None
    address: bytes = b""
    rule: str = ""
    quiet_until: datetime | None = None
    time_zone: str = ""
    test: bool = False


class Wishes(Protocol):
    """Looks at recipients again."""

    async def again(self, claims: Sequence[Claimed]) -> list[Again]:
        """In order. Raises DomainError DEPENDENCY_UNAVAILABLE: what cannot be looked at is not sent."""
        ...


class PreferenceWishes:
    """Implements `Wishes` over the preference service's batch RPC."""

    def __init__(self, peer: Peer, config: ConfigCache, channel: Channel) -> None:
        self._peer = peer
        self._stub = PreferenceServiceStub(peer.channel)
        self._config = config
        self._channel = channel

    async def again(self, claims: Sequence[Claimed]) -> list[Again]:
        answers: list[Again] = []
        for start in range(0, len(claims), _BATCH):
            chunk = claims[start : start + _BATCH]
            try:
                response: pb.ResolveResponse = await self._peer.call(
                    self._stub.Resolve,
                    pb.ResolveRequest(queries=[self._query(claimed) for claimed in chunk]),
                    timeout=TIMEOUT,
                    name="clarion.internal.preference.v1.PreferenceService/Resolve",
                )
            except grpc.aio.AioRpcError as refused:  # whatever it says, no delivery is to blame for it
                raise unavailable(self._peer.daemon) from refused
            answers += [_judge(claimed, found) for claimed, found in zip(chunk, response.resolved, strict=True)]
        return answers

    def _query(self, claimed: Claimed) -> pb.ResolveRequest.Query:
        category = self._config.snapshot.categories_by_id[claimed.category_id]
        return pb.ResolveRequest.Query(
            app_id=claimed.app_id,
            recipient_ref=claimed.recipient_ref.bytes,
            category=category.name,
            critical=category.critical,
            opt_in_required=category.opt_in_required,
            channels=[self._channel],  # type: ignore[list-item]  # our numbers are the contract's (tested)
        )


def _judge(claimed: Claimed, found: pb.Resolved) -> Again:
    if not found.found:
        return Again(Reason.ERASED)
    [answer] = found.channels
    if answer.gate:
        gone = Reason(answer.reason) is Reason.NO_ADDRESS
        return Again(Reason.ADDRESS_GONE if gone else Reason.WISH_CHANGED, rule=answer.rule)
    for address in answer.addresses:
        if address.address_id == claimed.address_id.bytes:
            quiet_ms = answer.quiet_until_ms
            quiet_until = datetime.fromtimestamp(quiet_ms / 1_000, UTC) if quiet_ms else None
            return Again(None, address.sealed, quiet_until=quiet_until, time_zone=found.time_zone)
    return Again(Reason.ADDRESS_GONE)
