"""What follows from an answer: the whole table, and the bounds of the waits."""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.engine.retry import Decision, RetryPolicy, decide
from clarion_channels.outcome import Outcome, Result
from clarion_kit.vocabulary import DeliveryState, Reason

POLICY = RetryPolicy()
PATIENT = RetryPolicy(deadline=timedelta(days=2))
SECOND = timedelta(seconds=1)
ZERO = timedelta(0)

SENT = (DeliveryState.SENT, None)
REFUSED = (DeliveryState.FAILED, Reason.REFUSED)
DEAD = (DeliveryState.FAILED, Reason.ADDRESS_DEAD)
AMBIGUOUS = (DeliveryState.FAILED, Reason.AMBIGUOUS)
AGAIN = (DeliveryState.RETRY_WAIT, None)
HELD = (DeliveryState.HELD, None)
EXHAUSTED = (DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED)


def decided(
    result: Result,
    *,
    attempt: int = 1,
    at_most_once: bool = False,
    stopped: bool = False,
    age: timedelta = ZERO,
    policy: RetryPolicy = POLICY,
    seed: int = 0,
) -> Decision:
    return decide(
        result,
        attempt=attempt,
        max_attempts=3,
        at_most_once=at_most_once,
        stopped=stopped,
        age=age,
        policy=policy,
        random=Random(seed),
    )


@pytest.mark.parametrize(
    ("outcome", "at_most_once", "attempt", "expected", "ambiguous"),
    [
        (Outcome.ACCEPTED, False, 1, SENT, False),
        (Outcome.ACCEPTED, True, 3, SENT, False),
        (Outcome.BAD, False, 1, REFUSED, False),
        (Outcome.BAD, False, 3, REFUSED, False),
        (Outcome.DEAD, False, 1, DEAD, False),
        (Outcome.DEAD, True, 1, DEAD, False),
        (Outcome.CRED, False, 1, AGAIN, False),
        (Outcome.CRED, True, 3, EXHAUSTED, False),
        (Outcome.RETRY, False, 2, AGAIN, False),
        (Outcome.RETRY, True, 2, AGAIN, False),
        (Outcome.RETRY, False, 3, EXHAUSTED, False),
        (Outcome.AFTER, False, 1, AGAIN, False),
        (Outcome.AFTER, False, 3, EXHAUSTED, False),
        (Outcome.THROTTLE, False, 1, AGAIN, False),
        (Outcome.THROTTLE, True, 3, EXHAUSTED, False),
        (Outcome.UNKNOWN, False, 1, AGAIN, True),
        (Outcome.UNKNOWN, False, 3, EXHAUSTED, True),
        (Outcome.UNKNOWN, True, 1, AMBIGUOUS, True),
        (Outcome.UNKNOWN, True, 3, AMBIGUOUS, True),
    ],
)
def test_answer_of_a_working_lane_leads_to_its_state(
    outcome: Outcome,
    at_most_once: bool,
    attempt: int,
    expected: tuple[DeliveryState, Reason | None],
    ambiguous: bool,
) -> None:
    decision = decided(Result(outcome), attempt=attempt, at_most_once=at_most_once)

    assert (decision.state, decision.reason) == expected
    assert (decision.ambiguous, decision.tried) == (ambiguous, True)
    assert (decision.delay > ZERO) == (expected is AGAIN)


@pytest.mark.parametrize(
    ("outcome", "at_most_once", "attempt", "expected", "ambiguous", "tried"),
    [
        (Outcome.ACCEPTED, False, 1, SENT, False, True),
        (Outcome.BAD, False, 1, REFUSED, False, True),
        (Outcome.DEAD, False, 1, HELD, False, False),
        (Outcome.DEAD, True, 3, HELD, False, False),
        (Outcome.CRED, False, 1, HELD, False, False),
        (Outcome.CRED, False, 3, HELD, False, False),
        (Outcome.RETRY, False, 1, HELD, False, True),
        (Outcome.AFTER, False, 2, HELD, False, True),
        (Outcome.THROTTLE, False, 1, HELD, False, True),
        (Outcome.RETRY, False, 3, EXHAUSTED, False, True),
        (Outcome.UNKNOWN, False, 1, HELD, True, True),
        (Outcome.UNKNOWN, True, 1, AMBIGUOUS, True, True),
    ],
)
def test_answer_of_a_stopped_lane_leads_to_its_state(
    outcome: Outcome,
    at_most_once: bool,
    attempt: int,
    expected: tuple[DeliveryState, Reason | None],
    ambiguous: bool,
    tried: bool,
) -> None:
    decision = decided(Result(outcome), attempt=attempt, at_most_once=at_most_once, stopped=True)

    assert (decision.state, decision.reason) == expected
    assert (decision.ambiguous, decision.tried) == (ambiguous, tried)


@given(attempt=st.integers(1, 10_000), seed=st.integers())
def test_backoff_is_full_jitter_below_a_capped_ceiling(attempt: int, seed: int) -> None:
    delay = POLICY.delay(attempt, Random(seed))

    ceiling = min(POLICY.cap, POLICY.base * 2 ** min(attempt - 1, 40))
    assert ceiling * 0.01 <= delay <= ceiling


def test_backoff_uses_the_whole_range() -> None:
    random = Random(7)
    delays = [POLICY.delay(20, random) for _ in range(1_000)]

    assert min(delays) < POLICY.cap * 0.05
    assert max(delays) > POLICY.cap * 0.95


@given(seconds=st.floats(0, 80_000), attempt=st.integers(1, 2), seed=st.integers())
def test_retry_after_is_a_floor_with_jitter_above_it(seconds: float, attempt: int, seed: int) -> None:
    floor = timedelta(seconds=seconds)

    decision = decided(Result(Outcome.AFTER, retry_after=floor), attempt=attempt, seed=seed, policy=PATIENT)

    assert decision.state is DeliveryState.RETRY_WAIT
    assert floor < decision.delay <= floor * 1.1 + POLICY.base


def test_waiters_of_one_retry_after_do_not_come_back_as_one() -> None:
    result = Result(Outcome.THROTTLE, retry_after=30 * SECOND)

    delays = {decided(result, seed=seed).delay for seed in range(100)}

    assert len(delays) == 100
    assert max(delays) - min(delays) > SECOND


@given(age=st.floats(0, 200), seed=st.integers())
def test_no_attempt_begins_after_the_deadline(age: float, seed: int) -> None:
    policy = RetryPolicy(base=10 * SECOND, deadline=100 * SECOND)

    decision = decided(Result(Outcome.RETRY), age=age * SECOND, policy=policy, seed=seed)

    if decision.state is DeliveryState.RETRY_WAIT:
        assert age * SECOND + decision.delay <= policy.deadline
    else:
        assert (decision.state, decision.reason) == EXHAUSTED
        assert age * SECOND + policy.base > policy.deadline


def test_retry_after_beyond_the_deadline_ends_the_delivery() -> None:
    result = Result(Outcome.AFTER, retry_after=timedelta(days=2))

    assert decided(result).state is DeliveryState.DEAD_LETTERED
