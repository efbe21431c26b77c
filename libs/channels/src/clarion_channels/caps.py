"""Caps over the rate limiter's batch RPC, for planner and dispatchers; without it they are open, and say so."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import grpc
from google.protobuf.duration_pb2 import Duration

from clarion.internal.ratelimit.v1 import rate_limit_service_pb2 as pb
from clarion.internal.ratelimit.v1.rate_limit_service_pb2_grpc import RateLimitServiceStub
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.rpc.client import Peer
from clarion_ledger.caps import CapAnswer, CapQuery, WindowLimit, limits_of, near_limit, wait_of

log = logging.getLogger(__name__)

TIMEOUT = timedelta(milliseconds=500)
BATCH = 1_000
_SERVICE = "clarion.internal.ratelimit.v1.RateLimitService"


class LimiterCaps:
    """Implements `Caps`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = RateLimitServiceStub(peer.channel)

    async def acquire(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        """In order; unchecked where the limiter is away."""
        return await self._answers(queries, take=True)

    async def peek(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        """In order; unchecked where the limiter is away."""
        return await self._answers(queries, take=False)

    async def _answers(self, queries: Sequence[CapQuery], *, take: bool) -> list[CapAnswer]:
        now = datetime.now(UTC)
        binding = [limits_of(query, now, shadow=False) for query in queries]
        answers = [
            _answer(limits, grant, now)
            for limits, grant in zip(binding, await self._grants(queries, binding, take), strict=True)
        ]
        # Rules on trial count what goes, each by itself: one that is full must not keep another from counting.
        trials = [
            (place, limit)
            for place, query in enumerate(queries)
            if answers[place].allowed
            for limit in limits_of(query, now, shadow=True)
        ]
        if not trials:
            return answers
        grants = await self._grants([queries[place] for place, _ in trials], [[limit] for _, limit in trials], take)
        for (place, limit), grant in zip(trials, grants, strict=True):
            if grant is not None and not grant.allowed:
                rules = [rule for rule in (answers[place].shadow, limit.rule) if rule]
                answers[place] = replace(answers[place], shadow="; ".join(rules))
        return answers

    async def _grants(
        self, queries: Sequence[CapQuery], limits: Sequence[Sequence[WindowLimit]], take: bool
    ) -> list[pb.Grant | None]:
        """In order; None where nothing is asked. Those of a limiter that is away are unchecked."""
        asked = [place for place, found in enumerate(limits) if found]
        grants: list[pb.Grant | None] = [None] * len(queries)
        for start in range(0, len(asked), BATCH):
            chunk = asked[start : start + BATCH]
            items = [_item(queries[place], limits[place]) for place in chunk]
            for place, grant in zip(chunk, await self._ask(items, take), strict=True):
                grants[place] = grant
        return grants

    async def _ask(self, items: Sequence[pb.Item], take: bool) -> Sequence[pb.Grant]:
        try:
            if take:
                acquired: pb.AcquireResponse = await self._peer.call(
                    self._stub.Acquire, pb.AcquireRequest(items=items), timeout=TIMEOUT, name=f"{_SERVICE}/Acquire"
                )
                return acquired.grants
            seen: pb.PeekResponse = await self._peer.call(
                self._stub.Peek, pb.PeekRequest(items=items), timeout=TIMEOUT, name=f"{_SERVICE}/Peek"
            )
            return seen.grants
        except (DomainError, Unavailable, grpc.aio.AioRpcError) as away:
            log.warning("caps unchecked: %s", away)
            return [pb.Grant(allowed=True, unchecked=True)] * len(items)


def _answer(limits: Sequence[WindowLimit], grant: pb.Grant | None, now: datetime) -> CapAnswer:
    if grant is None:
        return CapAnswer(True)
    if grant.allowed:
        near = "" if grant.unchecked else near_limit(limits, grant.remaining_each)
        return CapAnswer(True, grant.unchecked, near=near)
    closed = limits[grant.closed_limit]
    return CapAnswer(
        False,
        grant.unchecked,
        closed.rule,
        retry_after=wait_of(closed, grant.retry_after.ToTimedelta(), now),
        duplicate=closed.duplicate,
    )


def _item(query: CapQuery, limits: Sequence[WindowLimit]) -> pb.Item:
    return pb.Item(app_id=query.app_id, id=query.delivery_id.bytes, limits=[_limit(limit) for limit in limits])


def _limit(limit: WindowLimit) -> pb.Limit:
    window = Duration()
    window.FromTimedelta(limit.window)
    return pb.Limit(key=limit.key, algorithm=pb.ALGORITHM_WINDOW, limit=limit.limit, window=window)
