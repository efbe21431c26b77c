"""What a key may use up: calls a second and notifications a day, counted by the rate limiter for all gateways together.

While the rate limiter is away each gateway counts for itself: a quota then holds for each of them, so none is cut off and
none may take more than its quota times the gateways.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import grpc
from google.protobuf.duration_pb2 import Duration

from clarion.internal.ratelimit.v1 import rate_limit_service_pb2 as pb
from clarion.internal.ratelimit.v1.rate_limit_service_pb2_grpc import RateLimitServiceStub
from clarion_kit.errors import DomainError, ErrorReason, Unavailable
from clarion_kit.rpc.caller import Caller
from clarion_kit.rpc.client import Peer

log = logging.getLogger(__name__)

TIMEOUT = timedelta(milliseconds=100)
TRY_AGAIN_SECONDS = 1.0
"""How long nobody asks a rate limiter that did not answer."""
MAX_AT_ONCE = 1_000
"""What the rate limiter takes in one call, and a window may hold thousandfold."""
LONGEST_LIMIT = 1_000_000
_LOCAL_RATES = 10_000
_SHORTEST_WAIT = timedelta(milliseconds=1)
_ROUNDING_SECONDS = 1e-6
"""What a wait in whole microseconds may lack."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` per `window`, all of them at once if need be."""

    name: str
    limit: int
    window: timedelta


def requests(per_second: int) -> Rate:
    return Rate("requests_per_second", per_second, timedelta(seconds=1))


def notifications(per_day: int) -> Rate:
    """Of more than a million a day an hour's share is counted."""
    if per_day <= LONGEST_LIMIT:
        return Rate("notifications_per_day", per_day, timedelta(days=1))
    return Rate("notifications_per_day", per_day // 24, timedelta(hours=1))


class Limiter(Protocol):
    """Counts. Raises Unavailable, DomainError DEPENDENCY_UNAVAILABLE or AioRpcError where it cannot."""

    async def take(self, app_id: int, key: str, rate: Rate, count: int) -> list[timedelta]:
        """For each of `count` ≤ `MAX_AT_ONCE` takers zero, or how long until there is room."""
        ...


class RateLimiter:
    """`Limiter` over the daemon."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = RateLimitServiceStub(peer.channel)

    async def take(self, app_id: int, key: str, rate: Rate, count: int) -> list[timedelta]:
        window = Duration()
        window.FromTimedelta(rate.window)
        limit = pb.Limit(key=key, algorithm=pb.ALGORITHM_GCRA, limit=rate.limit, window=window)
        request = pb.AcquireRequest(items=[pb.Item(app_id=app_id, id=bytes(16), limits=[limit])] * count)
        response: pb.AcquireResponse = await self._peer.call(
            self._stub.Acquire,
            request,
            timeout=TIMEOUT,
            name="clarion.internal.ratelimit.v1.RateLimitService/Acquire",
        )
        return [
            timedelta(0) if grant.allowed else max(grant.retry_after.ToTimedelta(), _SHORTEST_WAIT)
            for grant in response.grants
        ]


class LocalRates:
    """GCRA of this process alone, for the keys that were used last."""

    def __init__(self) -> None:
        self._arrivals: OrderedDict[str, float] = OrderedDict()

    def take(self, key: str, rate: Rate, count: int, now: float) -> list[timedelta]:
        """As `Limiter.take`; `now` in seconds that never step back."""
        gap = rate.window.total_seconds() / rate.limit
        arrival = max(self._arrivals.get(key, now), now)
        waits: list[timedelta] = []
        for _ in range(count):
            early = arrival - now - gap * (rate.limit - 1)
            if early > _ROUNDING_SECONDS:
                waits.append(max(timedelta(seconds=early), _SHORTEST_WAIT))
            else:
                arrival += gap
                waits.append(timedelta(0))
        self._arrivals[key] = arrival
        self._arrivals.move_to_end(key)
        if len(self._arrivals) > _LOCAL_RATES:
            self._arrivals.popitem(last=False)
        return waits


class Quotas:
    """Takes from the quotas of keys."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._local = LocalRates()
        self._away_until = 0.0

    async def take(self, caller: Caller, rate: Rate, count: int = 1) -> list[DomainError | None]:
        """For each of `count` takers None, or QUOTA_EXCEEDED with the time of another try."""
        key = f"key:{caller.key}:{rate.name}"
        waits: list[timedelta] = []
        while len(waits) < count:
            waits += await self._take(caller.app_id, key, rate, min(count - len(waits), MAX_AT_ONCE))
        return [_exceeded(caller, rate, wait) if wait else None for wait in waits]

    async def _take(self, app_id: int, key: str, rate: Rate, count: int) -> Sequence[timedelta]:
        if time.monotonic() >= self._away_until:
            try:
                async with asyncio.timeout(TIMEOUT.total_seconds() * 1.5):
                    return await self._limiter.take(app_id, key, rate, count)
            except (DomainError, Unavailable, grpc.aio.AioRpcError, TimeoutError) as away:
                log.warning("quotas are counted here for a moment: %s", type(away).__name__)
                self._away_until = time.monotonic() + TRY_AGAIN_SECONDS
        return self._local.take(key, rate, count, time.monotonic())


def _exceeded(caller: Caller, rate: Rate, wait: timedelta) -> DomainError:
    return DomainError(
        ErrorReason.QUOTA_EXCEEDED,
        f"the key's quota {rate.name} is used up",
        metadata={"quota": rate.name, "key": caller.key},
        retry_after=wait,
    )
