"""Quotas on a limiter that a test scripts."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_gateway import quotas
from clarion_gateway.quotas import LocalRates, Quotas, Rate, notifications, requests
from clarion_kit.errors import ErrorReason, unavailable
from clarion_kit.rpc.caller import Caller

CALLER = Caller("client", 7, "ck_1", frozenset({"send:*"}))
SECOND = timedelta(seconds=1)


class Scripted:
    """Gives the waits of `answers`, then none; `away`: does not answer."""

    def __init__(self, *answers: timedelta, away: bool = False) -> None:
        self.answers = list(answers)
        self.away = away
        self.asked: list[tuple[int, str, Rate, int]] = []

    async def take(self, app_id: int, key: str, rate: Rate, count: int) -> list[timedelta]:
        self.asked.append((app_id, key, rate, count))
        if self.away:
            raise unavailable("rate_limiter")
        given, self.answers = self.answers[:count], self.answers[count:]
        return [*given, *[timedelta(0)] * (count - len(given))]


async def test_quota_that_is_used_up_says_when_to_try_again() -> None:
    limiter = Scripted(timedelta(0), timedelta(seconds=3))
    rate = requests(5)

    found = await Quotas(limiter).take(CALLER, rate, 3)

    assert [one is None for one in found] == [True, False, True]
    refused = found[1]
    assert refused is not None
    assert (refused.reason, refused.retry_after) == (ErrorReason.QUOTA_EXCEEDED, timedelta(seconds=3))
    assert refused.metadata == {"quota": "requests_per_second", "key": "ck_1"}
    assert limiter.asked == [(7, "key:ck_1:requests_per_second", Rate("requests_per_second", 5, SECOND), 3)]


async def test_large_batch_is_asked_for_in_parts() -> None:
    limiter = Scripted()

    found = await Quotas(limiter).take(CALLER, notifications(10), 2_500)

    assert len(found) == 2_500
    assert [count for *_, count in limiter.asked] == [1_000, 1_000, 500]


@pytest.mark.parametrize(
    ("per_day", "limit", "window"),
    [(1, 1, timedelta(days=1)), (1_000_000, 1_000_000, timedelta(days=1)), (24_000_000, 1_000_000, timedelta(hours=1))],
)
def test_quota_of_a_day_is_a_limit_that_the_limiter_takes(per_day: int, limit: int, window: timedelta) -> None:
    assert notifications(per_day) == Rate("notifications_per_day", limit, window)


async def test_without_the_limiter_the_gateway_counts_and_asks_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(quotas, "time", SimpleNamespace(monotonic=lambda: now))
    limiter = Scripted(away=True)
    counting = Quotas(limiter)

    found = [*await counting.take(CALLER, requests(2), 2), *await counting.take(CALLER, requests(2))]

    assert [one is None for one in found] == [True, True, False]
    assert len(limiter.asked) == 1
    limiter.away = False
    now += quotas.TRY_AGAIN_SECONDS
    assert await counting.take(CALLER, requests(2)) == [None]
    assert len(limiter.asked) == 2


@given(st.integers(1, 50), st.lists(st.tuples(st.floats(0, 3), st.integers(1, 20)), max_size=30))
def test_own_count_never_lets_through_more_than_the_rate_and_a_burst(
    limit: int, calls: list[tuple[float, int]]
) -> None:
    rates, rate = LocalRates(), Rate("x", limit, SECOND)
    now = started = 100.0
    passed = 0

    for pause, count in calls:
        now += pause
        waits = rates.take("k", rate, count, now)
        passed += sum(wait == timedelta(0) for wait in waits)
        assert len(waits) == count
        assert passed <= limit + (now - started) * limit + 1e-3


@given(st.integers(1, 1_000))
def test_own_count_opens_again_when_it_says(limit: int) -> None:
    rates, rate = LocalRates(), Rate("x", limit, SECOND)
    assert not any(rates.take("k", rate, limit, 0.0))
    [wait] = rates.take("k", rate, 1, 0.0)

    assert timedelta(0) < wait <= SECOND + timedelta(milliseconds=1)
    assert rates.take("k", rate, 1, wait.total_seconds()) == [timedelta(0)]


def test_own_count_forgets_keys_that_were_not_used_for_longest() -> None:
    rates, rate = LocalRates(), Rate("x", 1, SECOND)
    for number in range(quotas._LOCAL_RATES + 1):
        rates.take(f"k{number}", rate, 1, 0.0)

    assert len(rates._arrivals) == quotas._LOCAL_RATES
    assert rates.take("k0", rate, 1, 0.0) == [timedelta(0)]
