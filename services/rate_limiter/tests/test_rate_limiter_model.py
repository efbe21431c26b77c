"""Valkey and the local limiter against one plain model of the rules."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import count
from math import ceil, floor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from clarion_rate_limiter.adapters import valkey
from clarion_rate_limiter.domain import Algorithm, Grant, Item, Limit
from clarion_rate_limiter.local import LocalLimits

SECOND = 1_000_000
START = 1_800_000_000 * SECOND
IDS = [bytes([number]) * 16 for number in range(6)]


@dataclass
class Model:
    """The rules as the contract words them, in exact fractions, with no thought for cost."""

    taken: dict[tuple[int, str], list[tuple[int, bytes]]] = field(default_factory=dict)
    theoretical_arrival: dict[tuple[int, str], Fraction] = field(default_factory=dict)

    def decide(self, items: Sequence[Item], now: int, take: bool) -> list[Grant]:
        return [self._decide(item, now, take) for item in items]

    def _decide(self, item: Item, now: int, take: bool) -> Grant:
        lefts: list[int] = []
        takes: list[Callable[[], object]] = []
        for index, limit in enumerate(item.limits):
            check = self._window if limit.algorithm is Algorithm.WINDOW else self._gcra
            retry_after, left, apply = check(item, limit, now)
            if retry_after > 0:
                return Grant(index, retry_after, ())
            lefts.append(left - (1 if take and apply else 0))
            if apply:
                takes.append(apply)
        if take:
            for apply in takes:
                apply()
        return Grant(None, 0, tuple(max(0, left) for left in lefts))

    def _window(self, item: Item, limit: Limit, now: int) -> tuple[int, int, Callable[[], object] | None]:
        held = self.taken.setdefault((item.app_id, f"{limit.key} {limit.window_us}"), [])
        live = sorted((at, taker) for at, taker in held if at > now - limit.window_us)
        left = limit.limit - len(live)
        if item.id in [taker for _, taker in live]:
            return 0, left, None
        if left <= 0:
            return live[-limit.limit][0] + limit.window_us - now, 0, None
        return 0, left, lambda: held.append((now, item.id))

    def _gcra(self, item: Item, limit: Limit, now: int) -> tuple[int, int, Callable[[], object] | None]:
        key = (item.app_id, f"{limit.key} {limit.window_us} {limit.limit}")
        interval = Fraction(limit.window_us, limit.limit)
        arrival = max(self.theoretical_arrival.get(key, Fraction(now)), Fraction(now))
        allowed_at = arrival + interval - limit.burst * interval
        if allowed_at > now:
            return ceil(allowed_at - now), 0, None
        left = floor((now + limit.burst * interval - arrival) / interval)
        return 0, left, lambda: self.theoretical_arrival.__setitem__(key, arrival + interval)


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    algorithm = draw(st.sampled_from(Algorithm))
    return Limit(
        key=draw(st.sampled_from(["a", "b"])),
        algorithm=algorithm,
        limit=draw(st.sampled_from([1, 2, 3, 7])),
        window_us=draw(st.sampled_from([SECOND, 3 * SECOND, 86_400 * SECOND])),
        burst=draw(st.integers(1, 4)),
    )


def items(app_id: int = 1) -> st.SearchStrategy[Item]:
    several = st.lists(limits(), min_size=1, max_size=3, unique_by=lambda limit: limit.name)
    return st.builds(Item, st.just(app_id), st.sampled_from(IDS), several.map(tuple))


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 333_333, SECOND - 1, SECOND, 2_500_000, 86_400 * SECOND]),
        st.booleans(),
        st.lists(items(), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_the_local_limiter_answers_as_the_model(steps: list[tuple[int, bool, list[Item]]]) -> None:
    now = START
    local = LocalLimits(lambda: now)
    model = Model()

    for passed, take, batch in steps:
        now += passed
        answers = local.decide(batch, take=take)

        assert [replace(answer, unchecked=False) for answer in answers] == model.decide(batch, now, take)
        assert all(answer.unchecked for answer in answers)


_apps = count(1_000)


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_url) as connected:
        yield connected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
async def test_valkey_answers_as_the_model(client: Redis, steps: list[tuple[int, bool, list[Item]]]) -> None:
    clock = "test:clock"
    script = valkey.script().replace("redis.call('TIME')", f"redis.call('HMGET', '{clock}', 'seconds', 'micros')")
    limiter = valkey.ValkeyLimits(client, script)
    model = Model()
    app_id = next(_apps)
    now = START

    for passed, take, batch in steps:
        now += passed
        ours = [replace(item, app_id=app_id) for item in batch]
        await client.hset(clock, mapping={"seconds": now // SECOND, "micros": now % SECOND})

        assert await limiter.decide(ours, take=take) == model.decide(ours, now, take)
