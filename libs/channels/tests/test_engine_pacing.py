"""Pacing: what the limiter is asked, what its answers mean, and the local bucket for when it is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.internal.ratelimit.v1 import rate_limit_service_pb2 as pb
from clarion.internal.ratelimit.v1.rate_limit_service_pb2_grpc import (
    RateLimitServiceServicer,
    add_RateLimitServiceServicer_to_server,
)
from clarion_channels.engine import pacing
from clarion_channels.engine.pacing import LimiterPacer, _Bucket
from clarion_channels.engine.policies import Pace
from clarion_kit.rpc.client import Peer
from clarion_kit.rpc.server import MeshAuthenticator, RpcServer
from clarion_kit.telemetry import names
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Priority

ZERO = timedelta(0)
PACE = Pace(10.0, 10)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no limiter that is away."""
    monkeypatch.setattr(pacing, "TIMEOUT", timedelta(seconds=10))


class Limiter(RateLimitServiceServicer):
    """Lets `room` items through and tells the others to wait."""

    def __init__(self) -> None:
        self.room = 1_000_000
        self.away: grpc.StatusCode | None = None
        self.requests: list[pb.AcquireRequest] = []

    async def Acquire(
        self, request: pb.AcquireRequest, context: grpc.aio.ServicerContext[pb.AcquireRequest, pb.AcquireResponse]
    ) -> pb.AcquireResponse:
        if self.away is not None:
            await context.abort(self.away, "away")
        self.requests.append(request)
        response = pb.AcquireResponse()
        for _ in request.items:
            grant = response.grants.add(allowed=self.room > 0)
            if not grant.allowed:
                grant.retry_after.FromMilliseconds(250 * -self.room)
            self.room -= 1
        return response

    async def Peek(
        self, request: pb.PeekRequest, context: grpc.aio.ServicerContext[pb.PeekRequest, pb.PeekResponse]
    ) -> pb.PeekResponse:
        raise AssertionError("nobody peeks")


@asynccontextmanager
async def pacing_with(limiter: Limiter, telemetry: Telemetry) -> AsyncIterator[LimiterPacer]:
    server = RpcServer(
        "rate_limiter",
        "127.0.0.1:0",
        None,
        MeshAuthenticator(insecure=True),
        telemetry,
        [partial(add_RateLimitServiceServicer_to_server, limiter)],
    )
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            unchecked = telemetry.metrics.counter(names.PACING_LOCAL).labels("android")
            yield LimiterPacer(Peer("rate_limiter", channel, telemetry), unchecked)
    finally:
        await server.stop(timedelta(seconds=1))


def unchecked(telemetry: Telemetry) -> float:
    return telemetry.metrics.registry.get_sample_value("clarion_pacing_unchecked_total", {"channel": "android"}) or 0.0


async def test_urgent_messages_may_use_the_whole_pace_and_others_four_fifths(telemetry: Telemetry) -> None:
    limiter = Limiter()
    async with pacing_with(limiter, telemetry) as pacer:
        await pacer.acquire(3, 7, Pace(200.0, 50), [Priority.URGENT, Priority.BULK])

    [request] = limiter.requests
    urgent, bulk = request.items
    assert (urgent.app_id, [limit.key for limit in urgent.limits]) == (3, ["pace:7"])
    assert [limit.key for limit in bulk.limits] == ["pace:7:others", "pace:7"]
    whole, others = bulk.limits[1], bulk.limits[0]
    assert whole == urgent.limits[0]
    assert [limit.algorithm for limit in bulk.limits] == [pb.ALGORITHM_GCRA] * 2
    assert (whole.burst, others.burst) == (50, 40)
    for limit, per_second in ((whole, 200.0), (others, 160.0)):
        assert limit.limit / limit.window.ToTimedelta().total_seconds() == pytest.approx(per_second)


@pytest.mark.parametrize("per_second", [0.05, 0.3, 2.5, 333.3, 5_000.0])
async def test_limit_keeps_the_fractions_of_a_rate(telemetry: Telemetry, per_second: float) -> None:
    limiter = Limiter()
    async with pacing_with(limiter, telemetry) as pacer:
        await pacer.acquire(3, 7, Pace(per_second, 1), [Priority.BULK])

    for limit, share in zip(limiter.requests[0].items[0].limits, (0.8, 1.0), strict=True):
        rate = limit.limit / limit.window.ToTimedelta().total_seconds()
        assert rate == pytest.approx(per_second * share, rel=0.002)
        assert limit.burst == 1


async def test_windows_stay_within_what_the_limiter_takes(telemetry: Telemetry) -> None:
    limiter = Limiter()
    async with pacing_with(limiter, telemetry) as pacer:
        for per_second in (1e-9, 1_000_000.0):
            await pacer.acquire(3, 7, Pace(per_second, 1), [Priority.BULK])

    for request in limiter.requests:
        for limit in request.items[0].limits:
            assert timedelta(seconds=1) <= limit.window.ToTimedelta() <= timedelta(days=31)
            assert 1 <= limit.limit <= 1_000_000


async def test_answers_keep_their_order_and_a_refusal_is_never_without_a_wait(telemetry: Telemetry) -> None:
    limiter = Limiter()
    limiter.room = 2
    async with pacing_with(limiter, telemetry) as pacer:
        waits = await pacer.acquire(3, 7, PACE, [Priority.NORMAL] * 4)

    assert waits == [ZERO, ZERO, timedelta(milliseconds=10), timedelta(milliseconds=250)]
    assert unchecked(telemetry) == 0


async def test_many_messages_are_asked_for_in_several_calls(telemetry: Telemetry) -> None:
    limiter = Limiter()
    async with pacing_with(limiter, telemetry) as pacer:
        waits = await pacer.acquire(3, 7, PACE, [Priority.NORMAL] * 2_500)

    assert waits == [ZERO] * 2_500
    assert [len(request.items) for request in limiter.requests] == [1_000, 1_000, 500]


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
async def test_limiter_that_is_away_is_replaced_by_a_bucket_that_keeps_a_fifth_for_urgent_messages(
    telemetry: Telemetry, status: grpc.StatusCode
) -> None:
    limiter = Limiter()
    limiter.away = status
    async with pacing_with(limiter, telemetry) as pacer:
        bulk = await pacer.acquire(3, 7, PACE, [Priority.BULK] * 50)
        urgent = await pacer.acquire(3, 7, PACE, [Priority.URGENT] * 50)
        other_lane = await pacer.acquire(3, 8, PACE, [Priority.BULK])

    assert (bulk.count(ZERO), urgent.count(ZERO)) == (8, 2)
    assert bulk[:8] == [ZERO] * 8
    assert other_lane == [ZERO]
    assert unchecked(telemetry) == 101


async def test_limiter_that_is_away_is_not_asked_again_at_once(telemetry: Telemetry) -> None:
    limiter = Limiter()
    limiter.away = grpc.StatusCode.UNAVAILABLE
    async with pacing_with(limiter, telemetry) as pacer:
        await pacer.acquire(3, 7, PACE, [Priority.BULK])
        limiter.away = None
        await pacer.acquire(3, 7, PACE, [Priority.BULK])

    assert limiter.requests == []
    assert unchecked(telemetry) == 2


@given(
    rate=st.floats(0.1, 1_000),
    burst=st.integers(1, 500),
    tries=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 100)), min_size=1, max_size=60),
)
def test_local_bucket_never_lets_more_through_than_its_rate_and_burst(
    rate: float, burst: int, tries: list[tuple[float, int]]
) -> None:
    bucket = _Bucket()
    began = now = 1_000.0
    taken = 0
    for pause, wanted in tries:
        now += pause
        taken += sum(bucket.take(rate, burst, now) == 0 for _ in range(wanted))

        assert taken <= burst + rate * (now - began) + 1e-3


@given(rate=st.floats(0.1, 1_000), burst=st.integers(1, 50))
def test_local_bucket_gives_the_next_message_its_turn_after_the_wait_it_told(rate: float, burst: int) -> None:
    bucket = _Bucket()
    now = 1_000.0
    for _ in range(burst):
        assert bucket.take(rate, burst, now) == 0

    wait = bucket.take(rate, burst, now)

    assert wait == pytest.approx(1 / rate, rel=1e-3)
    assert bucket.take(rate, burst, now + wait * 0.5) > 0
    assert bucket.take(rate, burst, now + wait + 1e-6) == 0
