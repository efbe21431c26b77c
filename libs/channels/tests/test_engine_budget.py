"""The retry budget: what retries may add while most attempts fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.engine.budget import WINDOW_SECONDS, RetryBudget
from clarion_channels.outcome import Outcome

SHARE = 0.1
RESERVE = 10
RESERVE_PER_SECOND = 0.1


def budget_after(firsts: int, outcome: Outcome, now: float = 0.0) -> RetryBudget:
    budget = RetryBudget(SHARE)
    for _ in range(firsts):
        budget.attempted(1, outcome, now)
    return budget


def retries(budget: RetryBudget, wanted: int, now: float) -> int:
    return sum(budget.allows(2, now) for _ in range(wanted))


@given(
    saved_by=st.integers(0, 2_000),
    rounds=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 100), st.floats(0, 0.5)), max_size=40),
)
def test_retries_stay_within_their_share_and_what_was_saved_while_most_attempts_fail(
    saved_by: int, rounds: list[tuple[int, int, float]]
) -> None:
    budget = budget_after(saved_by, Outcome.ACCEPTED)
    began = now = WINDOW_SECONDS
    firsts, repeated = 0, 0
    for new, waiting, pause in rounds:
        now += pause
        for _ in range(new):
            budget.attempted(1, Outcome.RETRY, now)
        firsts += new
        allowed = retries(budget, waiting, now)
        for _ in range(allowed):
            budget.attempted(2, Outcome.RETRY, now)
        repeated += allowed

        saved = min(100, RESERVE + SHARE * saved_by) + (now - began) * RESERVE_PER_SECOND
        assert repeated <= SHARE * firsts + saved + 1e-6


def test_first_attempts_are_always_allowed() -> None:
    budget = budget_after(50, Outcome.UNKNOWN)

    assert all(budget.allows(1, 0.0) for _ in range(1_000))


def test_first_attempts_earn_their_share_of_retries() -> None:
    budget = budget_after(1, Outcome.RETRY)
    retries(budget, RESERVE, 0.0)
    for _ in range(100):
        budget.attempted(1, Outcome.RETRY, 0.0)

    assert retries(budget, 50, 0.0) == 10


def test_few_failures_of_an_account_with_little_traffic_are_simply_tried_again() -> None:
    budget = budget_after(1, Outcome.RETRY)

    assert retries(budget, 50, 0.0) == RESERVE


def test_reserve_refills_slowly_and_not_beyond_itself() -> None:
    budget = budget_after(1, Outcome.RETRY)
    retries(budget, 50, 0.0)

    for now, refilled in ((20.0, 2), (25.0, 0), (30.0, 1), (1_000.0, RESERVE)):
        budget.attempted(2, Outcome.RETRY, now)
        assert retries(budget, 50, now) == refilled


def test_retries_are_free_unless_most_attempts_fail() -> None:
    budget = budget_after(50, Outcome.RETRY)
    for _ in range(50):
        budget.attempted(1, Outcome.ACCEPTED, 0.0)

    assert retries(budget, 1_000, 0.0) == 1_000


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.BAD, Outcome.DEAD])
def test_answers_that_end_a_delivery_are_no_failures(outcome: Outcome) -> None:
    assert retries(budget_after(10, outcome), 100, 0.0) == 100


def test_failures_are_forgotten_after_the_window() -> None:
    budget = budget_after(1_000, Outcome.RETRY)
    retries(budget, 1_000, 0.0)
    assert retries(budget, 10, 0.0) == 0

    assert retries(budget, 10, WINDOW_SECONDS) == 10


def test_savings_are_bounded() -> None:
    budget = budget_after(100_000, Outcome.RETRY)

    assert retries(budget, 10_000, 0.0) == 100
