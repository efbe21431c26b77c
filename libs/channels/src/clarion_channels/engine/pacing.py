"""Pacing: how many messages of an account may go now, counted once for all workers by the rate limiter.

Urgent messages may use all of an account's rate, others four fifths of it. While the limiter is away, a local bucket
with the same rate serves (then every worker has it), and says so in a metric.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import grpc
from google.protobuf.duration_pb2 import Duration
from prometheus_client import Counter

from clarion.internal.ratelimit.v1 import rate_limit_service_pb2 as pb
from clarion.internal.ratelimit.v1.rate_limit_service_pb2_grpc import RateLimitServiceStub
from clarion_channels.engine.policies import Pace
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.rpc.client import Peer
from clarion_kit.vocabulary import Priority

log = logging.getLogger(__name__)

TIMEOUT = timedelta(milliseconds=100)
OTHERS_SHARE = 0.8
_BATCH = 1_000
_WHOLE = 1_000
"""The limiter takes whole numbers per window: a window of so many messages keeps the fractions of a slow rate."""
_LONGEST_WINDOW_SECONDS = 31 * 86_400.0
_TRY_AGAIN_SECONDS = 1.0


class Pacer(Protocol):
    """Says which of some messages may go now."""

    async def acquire(self, app_id: int, lane_id: int, pace: Pace, priorities: Sequence[Priority]) -> list[timedelta]:
        """For each message, in order: zero, or how long it should wait. Never raises for a limiter that is away."""
        ...


@dataclass(slots=True)
class _Bucket:
    """A local GCRA: the theoretical arrival time of the next message."""

    arrival: float = 0.0

    def take(self, rate: float, burst: int, now: float) -> float:
        """Seconds to wait; 0: taken."""
        early = max(self.arrival, now) - now - burst / rate
        if early + 1 / rate > 1e-9:
            return early + 1 / rate
        self.arrival = max(self.arrival, now) + 1 / rate
        return 0.0


class LimiterPacer:
    """Implements `Pacer` over the rate limiter's batch RPC."""

    def __init__(self, peer: Peer, unchecked: Counter) -> None:
        """`unchecked` counts messages paced by the local bucket."""
        self._peer = peer
        self._unchecked = unchecked
        self._stub = RateLimitServiceStub(peer.channel)
        self._local: dict[tuple[int, bool], _Bucket] = {}
        self._away_until = 0.0

    async def acquire(self, app_id: int, lane_id: int, pace: Pace, priorities: Sequence[Priority]) -> list[timedelta]:
        if time.monotonic() < self._away_until:
            return self._locally(lane_id, pace, priorities)
        waits: list[timedelta] = []
        try:
            for start in range(0, len(priorities), _BATCH):
                chunk = priorities[start : start + _BATCH]
                waits += await self._ask(app_id, lane_id, pace, chunk)
        except (DomainError, Unavailable, grpc.aio.AioRpcError) as away:
            log.warning("pacing is local for a moment: %s", away)
            self._away_until = time.monotonic() + _TRY_AGAIN_SECONDS
            waits += self._locally(lane_id, pace, priorities[len(waits) :])
        return waits

    async def _ask(self, app_id: int, lane_id: int, pace: Pace, priorities: Sequence[Priority]) -> list[timedelta]:
        whole = _limit(f"pace:{lane_id}", pace.per_second, pace.burst)
        others = _limit(f"pace:{lane_id}:others", pace.per_second * OTHERS_SHARE, pace.burst * OTHERS_SHARE)
        request = pb.AcquireRequest()
        for priority in priorities:
            limits = [whole] if priority is Priority.URGENT else [others, whole]
            request.items.add(app_id=app_id, limits=limits)
        response: pb.AcquireResponse = await self._peer.call(
            self._stub.Acquire,
            request,
            timeout=TIMEOUT,
            name="clarion.internal.ratelimit.v1.RateLimitService/Acquire",
        )
        return [
            timedelta(0) if grant.allowed else max(grant.retry_after.ToTimedelta(), timedelta(milliseconds=10))
            for grant in response.grants
        ]

    def _locally(self, lane_id: int, pace: Pace, priorities: Sequence[Priority]) -> list[timedelta]:
        self._unchecked.inc(len(priorities))
        now = time.monotonic()
        whole = self._local.setdefault((lane_id, True), _Bucket())
        others = self._local.setdefault((lane_id, False), _Bucket())
        waits = []
        for priority in priorities:
            wait = 0.0
            if priority is not Priority.URGENT:
                wait = others.take(pace.per_second * OTHERS_SHARE, max(1, int(pace.burst * OTHERS_SHARE)), now)
            wait = wait or whole.take(pace.per_second, pace.burst, now)
            waits.append(timedelta(seconds=wait))
        return waits


def _limit(key: str, per_second: float, burst: float) -> pb.Limit:
    seconds = min(max(1.0, _WHOLE / per_second), _LONGEST_WINDOW_SECONDS)
    window = Duration()
    window.FromTimedelta(timedelta(seconds=seconds))
    return pb.Limit(
        key=key,
        algorithm=pb.ALGORITHM_GCRA,
        limit=max(1, round(per_second * seconds)),
        window=window,
        burst=max(1, int(burst)),
    )
