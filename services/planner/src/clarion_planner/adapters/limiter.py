"""Caps over the rate limiter's batch RPC; without it they are open, and say so."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from clarion.internal.ratelimit.v1 import rate_limit_service_pb2 as pb
from clarion.internal.ratelimit.v1.rate_limit_service_pb2_grpc import RateLimitServiceStub
from clarion_kit.errors import DomainError
from clarion_kit.rpc.client import Peer
from clarion_ledger.config import Cap
from clarion_planner.ports import CapAnswer, CapQuery

log = logging.getLogger(__name__)

TIMEOUT = timedelta(milliseconds=500)
BATCH = 1_000


class LimiterClient:
    """Implements `Caps`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = RateLimitServiceStub(peer.channel)

    async def acquire(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        """In order; unchecked where the limiter is away."""
        answers: list[CapAnswer] = []
        for start in range(0, len(queries), BATCH):
            answers += await self._acquire(queries[start : start + BATCH])
        return answers

    async def _acquire(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        request = pb.AcquireRequest(items=[_item(query) for query in queries])
        try:
            response: pb.AcquireResponse = await self._peer.call(
                self._stub.Acquire,
                request,
                timeout=TIMEOUT,
                name="clarion.internal.ratelimit.v1.RateLimitService/Acquire",
            )
        except DomainError as away:
            log.warning("caps unchecked: %s", away)
            return [CapAnswer(True, unchecked=True)] * len(queries)
        return [
            CapAnswer(
                grant.allowed,
                grant.unchecked,
                "" if grant.allowed else _rule(query, query.caps[grant.closed_limit]),
            )
            for query, grant in zip(queries, response.grants, strict=True)
        ]


def _item(query: CapQuery) -> pb.Item:
    return pb.Item(app_id=query.app_id, id=query.delivery_id.bytes, limits=[_limit(query, cap) for cap in query.caps])


def _limit(query: CapQuery, cap: Cap) -> pb.Limit:
    window = Duration()
    window.FromTimedelta(cap.window)
    scope = cap.channel.slug if cap.channel else "all"
    key = f"r:{query.recipient_ref.hex()}:{query.category}:{scope}:{int(cap.window.total_seconds())}"
    return pb.Limit(key=key, algorithm=pb.ALGORITHM_WINDOW, limit=cap.limit, window=window)


def _rule(query: CapQuery, cap: Cap) -> str:
    scope = cap.channel.slug if cap.channel else "all channels"
    return f"category {query.category}: {cap.limit} per {cap.window} on {scope}"
