import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from clarion.internal.ratelimit.v1 import rate_limit_service_pb2 as pb
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.telemetry.metrics import Metrics
from clarion_local.servers.valkey import ValkeyServer
from clarion_rate_limiter.adapters.valkey import ValkeyLimits
from clarion_rate_limiter.deciding import Decider
from clarion_rate_limiter.domain import Algorithm, Grant, Item, Limit
from clarion_rate_limiter.errors import SharedLimitsUnavailable
from clarion_rate_limiter.local import LocalLimits
from clarion_rate_limiter.rpc import RateLimitRpc

SECOND = 1_000_000
DAY = 86_400 * SECOND


def window(key: str = "r:1:promotion", limit: int = 2, window_us: int = DAY) -> Limit:
    return Limit(key, Algorithm.WINDOW, limit, window_us, limit)


def gcra(key: str = "sends", limit: int = 2, window_us: int = 60 * SECOND, burst: int = 2) -> Limit:
    return Limit(key, Algorithm.GCRA, limit, window_us, burst)


def item(number: int, *limits: Limit, app_id: int = 1) -> Item:
    return Item(app_id, number.to_bytes(16, "big"), limits)


def local() -> LocalLimits:
    return LocalLimits(lambda: time.monotonic_ns() // 1_000)


class Gone:
    """The port SharedLimits while Valkey is away, until `back`; counts how often it was asked."""

    def __init__(self) -> None:
        self.back = False
        self.asked = 0

    async def decide(self, items: Sequence[Item], *, take: bool) -> list[Grant]:
        self.asked += 1
        await self.ping()
        return [Grant(None, 0, (9,))] * len(items)

    async def ping(self) -> None:
        if not self.back:
            raise SharedLimitsUnavailable("test")


def sample(registry: CollectorRegistry, name: str, labels: dict[str, str] | None = None) -> float | None:
    return registry.get_sample_value(name, labels or {})


async def test_without_valkey_limits_hold_locally_and_say_so() -> None:
    metrics = Metrics()
    decider = Decider(Gone(), local(), metrics)

    grants = await decider.acquire([item(number, window()) for number in range(3)])

    assert [grant.allowed for grant in grants] == [True, True, False]
    assert all(grant.unchecked for grant in grants)
    assert sample(metrics.registry, "clarion_limiter_fallback_total") == 3
    assert sample(metrics.registry, "clarion_limiter_decisions_total", {"verdict": "granted"}) == 2
    assert sample(metrics.registry, "clarion_limiter_decisions_total", {"verdict": "refused"}) == 1


async def test_an_absent_valkey_is_asked_twice_and_then_only_by_the_probe() -> None:
    shared = Gone()
    decider = Decider(shared, local(), Metrics())

    for number in range(5):
        await decider.acquire([item(number, window())])
    await decider.probe()
    asked = shared.asked
    shared.back = True
    await decider.probe()
    (grant,) = await decider.acquire([item(9, window())])

    assert asked == 2
    assert grant == Grant(None, 0, (9,))


def test_the_local_limiter_forgets_what_was_not_used_for_longest() -> None:
    limiter = LocalLimits(lambda: 0, max_entries=6)
    for number in range(3):
        limiter.decide([item(1, window(f"key{number}", limit=1))], take=True)

    limiter.decide([item(1, window("key9", limit=1))], take=True)

    answers = limiter.decide([item(2, window(f"key{number}", limit=1)) for number in (0, 1, 2, 9)], take=False)
    assert [answer.allowed for answer in answers] == [True, False, False, False]


class _NoContext:
    """This servicer does not look at it."""


CONTEXT: grpc.aio.ServicerContext[object, object] = _NoContext()  # type: ignore[assignment]


def request(
    *, app_id: int = 1, id: bytes = b"i" * 16, key: str = "k", limit: int = 1, seconds: int = 60, repeat: int = 1
) -> pb.AcquireRequest:
    asked = pb.Limit(key=key, algorithm=pb.ALGORITHM_WINDOW, limit=limit)
    asked.window.FromSeconds(seconds)
    return pb.AcquireRequest(items=[pb.Item(app_id=app_id, id=id, limits=[asked] * repeat)])


@pytest.mark.parametrize(
    ("faulty", "field"),
    [
        (lambda: pb.AcquireRequest(), "items"),
        (lambda: request(app_id=0), "items[0].app_id"),
        (lambda: request(id=b"short"), "items[0].id"),
        (lambda: request(key=""), "items[0].limits[0]"),
        (lambda: request(key="k" * 129), "items[0].limits[0]"),
        (lambda: request(limit=0), "items[0].limits[0]"),
        (lambda: request(limit=1_000_001), "items[0].limits[0]"),
        (lambda: request(seconds=0), "items[0].limits[0]"),
        (lambda: request(seconds=33 * 86_400), "items[0].limits[0]"),
        (lambda: request(repeat=0), "items[0].limits"),
        (lambda: request(repeat=2), "items[0].limits"),
        (lambda: request(repeat=11), "items[0].limits"),
    ],
)
async def test_a_faulty_item_is_named(faulty: Callable[[], pb.AcquireRequest], field: str) -> None:
    rpc = RateLimitRpc(Decider(Gone(), local(), Metrics()))

    with pytest.raises(DomainError) as refused:
        await rpc.Acquire(faulty(), CONTEXT)

    assert refused.value.reason is ErrorReason.INVALID_FIELD
    assert [fault.field for fault in refused.value.fields] == [field]


async def test_a_grant_says_which_limit_closed_and_when_it_opens() -> None:
    rpc = RateLimitRpc(Decider(Gone(), LocalLimits(lambda: 0), Metrics()))
    await rpc.Acquire(request(), CONTEXT)

    response = await rpc.Acquire(request(id=b"j" * 16), CONTEXT)

    (grant,) = response.grants
    assert (grant.allowed, grant.closed_limit, grant.retry_after.ToSeconds(), grant.unchecked) == (False, 0, 60, True)


@pytest.fixture
async def shared(valkey_url: str) -> AsyncIterator[ValkeyLimits]:
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()
    async with ValkeyLimits.connect(valkey_url, connections=4) as connected:
        yield connected


async def test_an_item_takes_from_all_of_its_limits_or_none(shared: ValkeyLimits) -> None:
    narrow, wide = window("narrow", limit=1), window("wide", limit=3)

    grants = await shared.decide([item(1, wide, narrow), item(2, wide, narrow), item(3, wide)], take=True)

    assert [(grant.closed_limit, grant.remaining) for grant in grants] == [(None, 0), (1, 0), (None, 1)]
    assert 0 < grants[1].retry_after_us <= DAY


async def test_taking_again_with_the_same_id_counts_once(shared: ValkeyLimits) -> None:
    batch = [item(1, window()), item(2, window()), item(3, window())]

    first = await shared.decide(batch, take=True)
    again = await shared.decide(batch, take=True)

    assert [grant.allowed for grant in first] == [grant.allowed for grant in again] == [True, True, False]


async def test_apps_do_not_share_limits(shared: ValkeyLimits) -> None:
    batch = [item(number, gcra(burst=1), app_id=number) for number in (1, 2, 1, 2)]

    grants = await shared.decide(batch, take=True)

    assert [grant.allowed for grant in grants] == [True, True, False, False]


async def test_a_batch_of_many_limits_is_answered_in_order(shared: ValkeyLimits) -> None:
    batch = [item(n, *[window(f"{n % 100}.{k}", limit=1) for k in range(8)], app_id=1 + n % 3) for n in range(300)]

    grants = await shared.decide(batch, take=True)

    assert all(grant.allowed for grant in grants)
    again = await shared.decide(
        [item(n + 1_000, window(f"{n % 100}.7", limit=1), app_id=1 + n % 3) for n in range(300)], take=False
    )
    assert not any(grant.allowed for grant in again)


async def test_looking_takes_nothing(shared: ValkeyLimits) -> None:
    await shared.decide([item(number, window(), gcra()) for number in range(5)], take=False)

    (grant,) = await shared.decide([item(1, window(), gcra())], take=True)

    assert grant == Grant(None, 0, (1, 1))


async def test_every_key_dies_with_its_window(shared: ValkeyLimits, valkey_url: str) -> None:
    await shared.decide(
        [item(1, window("w", window_us=10 * SECOND), gcra("g", limit=2, window_us=10 * SECOND))], take=True
    )

    async with Redis.from_url(valkey_url) as client:
        lives = {key: await client.pttl(key) async for key in client.scan_iter()}

    assert sorted(lives) == [b"rl:{1}g10000000/2:g", b"rl:{1}w10000000:w"]
    assert 0 < lives[b"rl:{1}g10000000/2:g"] <= 5_001
    assert 5_001 < lives[b"rl:{1}w10000000:w"] <= 10_001


async def test_concurrent_batches_grant_no_more_than_the_limit(shared: ValkeyLimits) -> None:
    limit = window(limit=50)

    batches = await asyncio.gather(
        *[shared.decide([item(batch * 100 + n, limit) for n in range(20)], take=True) for batch in range(4)]
    )

    assert sum(grant.allowed for grants in batches for grant in grants) == 50


async def test_flushed_counters_and_scripts_cost_nothing_but_the_counts(shared: ValkeyLimits, valkey_url: str) -> None:
    await shared.decide([item(1, window(limit=1))], take=True)
    async with Redis.from_url(valkey_url) as client:
        await client.flushall()
        await client.script_flush()

    (grant,) = await shared.decide([item(2, window(limit=1))], take=True)

    assert grant == Grant(None, 0, (0,))


@pytest.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[ValkeyServer]:
    server = ValkeyServer(tmp_path / "valkey")
    await server.start()
    try:
        yield server
    finally:
        await server.stop(timedelta(seconds=5))


async def test_a_frozen_valkey_fails_open_and_is_used_again_when_it_thaws(own_valkey: ValkeyServer) -> None:
    async with ValkeyLimits.connect(own_valkey.url(), connections=4) as shared:
        decider = Decider(shared, local(), Metrics())
        (before,) = await decider.acquire([item(1, window())])
        own_valkey.process.send_signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(1):
                frozen = [(await decider.acquire([item(number, window())]))[0] for number in range(2, 12)]
        finally:
            own_valkey.process.send_signal(signal.SIGCONT)
        after = await until_checked(decider)
        fresh = [await decider.acquire([item(1, window(f"fresh{limit}", limit=limit))]) for limit in (7, 8, 9)]

    # An answer that came too late must not be taken for a later one's.
    assert [grants[0].remaining for grants in fresh] == [6, 7, 8]
    assert not before.unchecked
    assert all(grant.unchecked for grant in frozen)
    assert not after.unchecked


async def test_a_restarted_valkey_is_used_again(own_valkey: ValkeyServer) -> None:
    async with ValkeyLimits.connect(own_valkey.url(), connections=4) as shared:
        decider = Decider(shared, local(), Metrics())
        await decider.acquire([item(1, window())])
        own_valkey.process.send_signal(signal.SIGKILL)
        await own_valkey.stop()
        (away,) = await decider.acquire([item(2, window())])
        await own_valkey.start()
        after = await until_checked(decider)

    assert away.unchecked
    assert not after.unchecked


async def until_checked(decider: Decider) -> Grant:
    """The first grant that Valkey gave, within 10 s."""
    async with asyncio.timeout(10):
        while True:
            await decider.probe()
            (grant,) = await decider.acquire([item(99, window("later"))])
            if not grant.unchecked:
                return grant
