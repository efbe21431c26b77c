"""The in-flight limit: down at congestion, back when it is made use of, never out of its bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.engine.limit import LEAST, AdaptiveLimit
from clarion_channels.outcome import Outcome

QUICK = 0.02
TIMEOUT = 1.0
SLOW = 2 * TIMEOUT / 4
answers = st.lists(
    st.tuples(st.sampled_from(Outcome), st.floats(0, 60), st.integers(0, 2_000), st.floats(0, 5)), max_size=300
)


@given(most=st.integers(1, 2_000), given_answers=answers)
def test_limit_stays_between_least_and_most(most: int, given_answers: list[tuple[Outcome, float, int, float]]) -> None:
    limit = AdaptiveLimit(most, TIMEOUT)
    now = 0.0
    for outcome, latency, in_flight, pause in given_answers:
        now += pause
        limit.answered(outcome, latency, in_flight, now)

        assert min(LEAST, most) <= limit.limit <= most


def test_limit_starts_at_the_most() -> None:
    assert AdaptiveLimit(300, TIMEOUT).limit == 300


@pytest.mark.parametrize("outcome", [Outcome.THROTTLE, Outcome.UNKNOWN])
def test_congestion_shrinks_the_limit_once(outcome: Outcome) -> None:
    limit = AdaptiveLimit(100, TIMEOUT)
    for _ in range(100):
        limit.answered(outcome, QUICK, 100, 10.0)

    assert limit.limit == 70


def test_congestion_that_goes_on_shrinks_it_further_to_the_least() -> None:
    limit = AdaptiveLimit(100, TIMEOUT)
    limits = []
    for second in range(1, 15):
        limit.answered(Outcome.THROTTLE, QUICK, 100, float(second))
        limits.append(limit.limit)

    assert limits[:3] == [70, 49, 34]
    assert limits[-1] == LEAST


def test_one_congestion_of_a_slow_provider_lasts_as_long_as_its_latency() -> None:
    limit = AdaptiveLimit(100, 30.0)
    for _ in range(100):
        limit.answered(Outcome.ACCEPTED, 5.0, 0, 0.0)
    limit.answered(Outcome.THROTTLE, 5.0, 100, 10.0)
    limit.answered(Outcome.THROTTLE, 5.0, 100, 14.0)
    assert limit.limit == 70

    limit.answered(Outcome.THROTTLE, 5.0, 100, 15.1)

    assert limit.limit == 49


def test_latency_that_nears_the_timeout_shrinks_the_limit() -> None:
    limit = AdaptiveLimit(100, TIMEOUT)
    for second in range(100):
        limit.answered(Outcome.ACCEPTED, SLOW, 100, float(second))

    assert limit.limit == LEAST


def test_single_slow_answer_is_no_congestion() -> None:
    limit = AdaptiveLimit(100, TIMEOUT)
    for _ in range(100):
        limit.answered(Outcome.ACCEPTED, 0.1, 100, 0.0)

    limit.answered(Outcome.ACCEPTED, TIMEOUT, 100, 10.0)

    assert limit.limit == 100


def test_provider_far_from_its_timeout_is_not_slow() -> None:
    limit = AdaptiveLimit(100, TIMEOUT)
    for second in range(100):
        limit.answered(Outcome.ACCEPTED, 0.2, 100, float(second))

    assert limit.limit == 100


def test_limit_recovers_when_the_provider_is_quick_again() -> None:
    limit = AdaptiveLimit(100, TIMEOUT)
    for second in range(30):
        limit.answered(Outcome.ACCEPTED, SLOW, 100, float(second))
    lowest = limit.limit
    for _ in range(5_000):
        limit.answered(Outcome.ACCEPTED, QUICK, limit.limit, 40.0)

    assert lowest < 20
    assert limit.limit == 100


def shrunk() -> AdaptiveLimit:
    limit = AdaptiveLimit(100, TIMEOUT)
    for second in range(1, 6):
        limit.answered(Outcome.THROTTLE, QUICK, 100, float(second))
    return limit


def test_limit_that_is_used_recovers_step_by_step() -> None:
    limit = shrunk()
    before = limit.limit
    for _ in range(before):
        limit.answered(Outcome.ACCEPTED, QUICK, limit.limit, 20.0)
    assert before < limit.limit <= before + 4

    for _ in range(5_000):
        limit.answered(Outcome.ACCEPTED, QUICK, limit.limit, 20.0)

    assert limit.limit == 100


def test_limit_that_is_not_used_stays_low() -> None:
    limit = shrunk()
    before = limit.limit
    for _ in range(5_000):
        limit.answered(Outcome.ACCEPTED, QUICK, before // 2 - 1, 20.0)

    assert limit.limit == before
