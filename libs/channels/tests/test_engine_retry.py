"""What follows from an answer: the whole table, and the bounds of the waits."""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.engine.engine import receipt_key
from clarion_channels.engine.retry import HOLD, Decision, RetryPolicy, decide
from clarion_channels.outcome import Outcome, Result
from clarion_kit.vocabulary import DeliveryState, Reason

POLICY = RetryPolicy()
SECOND = timedelta(seconds=1)


def decided(result: Result, *, attempt: int = 1, at_most_once: bool = False, seed: int = 0) -> Decision:
    return decide(
        result, attempt=attempt, max_attempts=3, at_most_once=at_most_once, policy=POLICY, random=Random(seed)
    )


@pytest.mark.parametrize(
    ("outcome", "at_most_once", "attempt", "state", "reason", "ambiguous", "tried"),
    [
        (Outcome.ACCEPTED, False, 1, DeliveryState.SENT, None, False, True),
        (Outcome.ACCEPTED, True, 3, DeliveryState.SENT, None, False, True),
        (Outcome.BAD, False, 1, DeliveryState.FAILED, Reason.REFUSED, False, True),
        (Outcome.BAD, False, 3, DeliveryState.FAILED, Reason.REFUSED, False, True),
        (Outcome.DEAD, False, 1, DeliveryState.FAILED, Reason.ADDRESS_DEAD, False, True),
        (Outcome.DEAD, True, 1, DeliveryState.FAILED, Reason.ADDRESS_DEAD, False, True),
        (Outcome.CRED, False, 1, DeliveryState.HELD, None, False, False),
        (Outcome.CRED, True, 3, DeliveryState.HELD, None, False, False),
        (Outcome.RETRY, False, 2, DeliveryState.RETRY_WAIT, None, False, True),
        (Outcome.RETRY, True, 2, DeliveryState.RETRY_WAIT, None, False, True),
        (Outcome.RETRY, False, 3, DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED, False, True),
        (Outcome.AFTER, False, 1, DeliveryState.RETRY_WAIT, None, False, True),
        (Outcome.AFTER, False, 3, DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED, False, True),
        (Outcome.THROTTLE, False, 1, DeliveryState.RETRY_WAIT, None, False, True),
        (Outcome.THROTTLE, True, 3, DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED, False, True),
        (Outcome.UNKNOWN, False, 1, DeliveryState.RETRY_WAIT, None, True, True),
        (Outcome.UNKNOWN, False, 3, DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED, True, True),
        (Outcome.UNKNOWN, True, 1, DeliveryState.FAILED, Reason.AMBIGUOUS, True, True),
        (Outcome.UNKNOWN, True, 3, DeliveryState.FAILED, Reason.AMBIGUOUS, True, True),
    ],
)
def test_every_outcome_leads_to_its_state(
    outcome: Outcome,
    at_most_once: bool,
    attempt: int,
    state: DeliveryState,
    reason: Reason | None,
    ambiguous: bool,
    tried: bool,
) -> None:
    decision = decided(Result(outcome), attempt=attempt, at_most_once=at_most_once)

    assert (decision.state, decision.reason) == (state, reason)
    assert (decision.ambiguous, decision.tried) == (ambiguous, tried)
    assert (decision.delay > timedelta(0)) == (state in (DeliveryState.RETRY_WAIT, DeliveryState.HELD))


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


@given(seconds=st.floats(0, 86_400), attempt=st.integers(1, 2), seed=st.integers())
def test_retry_after_is_a_floor_with_jitter_above_it(seconds: float, attempt: int, seed: int) -> None:
    floor = timedelta(seconds=seconds)

    decision = decided(Result(Outcome.AFTER, retry_after=floor), attempt=attempt, seed=seed)

    assert decision.state is DeliveryState.RETRY_WAIT
    assert floor < decision.delay <= floor * 1.1 + POLICY.base


def test_waiters_of_one_retry_after_do_not_come_back_as_one() -> None:
    result = Result(Outcome.THROTTLE, retry_after=30 * SECOND)

    delays = {decided(result, seed=seed).delay for seed in range(100)}

    assert len(delays) == 100
    assert max(delays) - min(delays) > SECOND


@given(seed=st.integers())
def test_refused_credentials_hold_longer_than_their_lane_is_stopped(seed: int) -> None:
    assert HOLD <= decided(Result(Outcome.CRED), seed=seed).delay <= HOLD * 1.2


@pytest.mark.parametrize(
    ("message_id", "key"),
    [
        ("", ""),
        ("ABC-1", "7:abc-1"),
        ("0000001A", "7:1a"),
        ("000", "7:0"),
        ("first,second,third", "7:first"),
        (" 42 , 43", "7:42"),
        (",43", ""),
    ],
)
def test_receipt_key_is_the_first_segments_id_without_its_decoration(message_id: str, key: str) -> None:
    assert receipt_key(7, Result(Outcome.ACCEPTED, provider_message_id=message_id)) == key
