"""When an account is taken for broken, its credentials for refused, its dead addresses for a mistake of ours."""

from datetime import timedelta

import pytest

from clarion_channels.engine.breaker import (
    ANSWERED_FOR,
    DEAD_WINDOW_SECONDS,
    REFUSALS,
    Breaker,
    BreakerPolicy,
    Credentials,
    DeadGuard,
    DeadGuardPolicy,
)
from clarion_channels.outcome import Outcome

NOW = 1_000.0
POLICY = BreakerPolicy(
    min_attempts=20, failure_ratio=0.6, window=timedelta(seconds=10), probe_after=timedelta(seconds=5)
)


def breaker(*answers: tuple[Outcome, int], now: float = NOW) -> Breaker:
    made = Breaker(POLICY)
    for outcome, count in answers:
        for _ in range(count):
            made.count(outcome, now)
    return made


@pytest.mark.parametrize("failure", [Outcome.RETRY, Outcome.AFTER, Outcome.UNKNOWN])
def test_breaker_opens_when_enough_of_enough_attempts_failed(failure: Outcome) -> None:
    assert breaker((failure, 12), (Outcome.ACCEPTED, 8)).broken(NOW)
    assert not breaker((failure, 11), (Outcome.ACCEPTED, 9)).broken(NOW)


def test_breaker_judges_nothing_from_few_attempts() -> None:
    assert not breaker((Outcome.RETRY, 19)).broken(NOW)
    assert breaker((Outcome.RETRY, 20)).broken(NOW)


@pytest.mark.parametrize("outcome", [Outcome.BAD, Outcome.DEAD, Outcome.CRED, Outcome.THROTTLE])
def test_what_is_not_the_providers_trouble_opens_no_breaker(outcome: Outcome) -> None:
    assert not breaker((outcome, 1_000)).broken(NOW)


def test_breaker_forgets_failures_older_than_its_window() -> None:
    made = breaker((Outcome.RETRY, 100))

    assert made.broken(NOW + 8)
    assert not made.broken(NOW + 10)


def test_reset_breaker_starts_anew() -> None:
    made = breaker((Outcome.RETRY, 100))
    made.reset()

    made.count(Outcome.RETRY, NOW)

    assert not made.broken(NOW)


def test_first_refusal_counts_where_nothing_was_ever_accepted() -> None:
    credentials = Credentials()
    assert not credentials.refused(NOW)

    credentials.count(Outcome.CRED, NOW)

    assert credentials.refused(NOW)


def test_account_that_accepted_a_moment_ago_is_refused_only_three_times_in_a_row() -> None:
    credentials = Credentials()
    credentials.count(Outcome.ACCEPTED, NOW)
    for _ in range(REFUSALS - 1):
        credentials.count(Outcome.CRED, NOW + 1)
    assert not credentials.refused(NOW + 1)

    credentials.count(Outcome.CRED, NOW + 1)

    assert credentials.refused(NOW + 1)


def test_accepted_message_between_refusals_proves_the_credentials_good() -> None:
    credentials = Credentials()
    for _ in range(10):
        credentials.count(Outcome.CRED, NOW)
        credentials.count(Outcome.CRED, NOW)
        credentials.count(Outcome.ACCEPTED, NOW)

    assert not credentials.refused(NOW)


def test_other_answers_neither_prove_nor_disprove_credentials() -> None:
    credentials = Credentials()
    credentials.count(Outcome.ACCEPTED, NOW)
    for outcome in (Outcome.CRED, Outcome.RETRY, Outcome.CRED, Outcome.BAD, Outcome.CRED):
        credentials.count(outcome, NOW + 1)

    assert credentials.refused(NOW + 1)


def test_proof_of_good_credentials_grows_old() -> None:
    credentials = Credentials()
    credentials.count(Outcome.ACCEPTED, NOW)

    credentials.count(Outcome.CRED, NOW + ANSWERED_FOR)
    assert not credentials.refused(NOW + ANSWERED_FOR)
    assert credentials.refused(NOW + ANSWERED_FOR + 0.1)


def test_reset_credentials_have_no_refusals() -> None:
    credentials = Credentials()
    credentials.count(Outcome.CRED, NOW)

    credentials.reset()

    assert not credentials.refused(NOW)


def guard(*answers: tuple[Outcome, int]) -> DeadGuard:
    made = DeadGuard(DeadGuardPolicy(min_answers=50, dead_ratio=0.4))
    for outcome, count in answers:
        for _ in range(count):
            made.count(outcome, NOW)
    return made


def test_sudden_share_of_dead_addresses_is_suspicious() -> None:
    assert guard((Outcome.DEAD, 20), (Outcome.ACCEPTED, 30)).suspicious(NOW)
    assert not guard((Outcome.DEAD, 19), (Outcome.ACCEPTED, 31)).suspicious(NOW)


def test_few_dead_addresses_are_believed() -> None:
    assert not guard((Outcome.DEAD, 49)).suspicious(NOW)


def test_refused_messages_count_among_the_answers_and_retries_do_not() -> None:
    assert not guard((Outcome.DEAD, 20), (Outcome.BAD, 31)).suspicious(NOW)
    assert not guard((Outcome.DEAD, 30), (Outcome.RETRY, 100)).suspicious(NOW)


def test_dead_addresses_are_forgotten_after_a_minute_and_by_a_reset() -> None:
    made = guard((Outcome.DEAD, 100))
    assert not made.suspicious(NOW + DEAD_WINDOW_SECONDS)

    again = guard((Outcome.DEAD, 100))
    again.reset()
    assert not again.suspicious(NOW)
