"""When what accounts answer is an incident, and how long a cause may stay untold."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.vocabulary import Channel, StopReason
from clarion_monitor.accounts import (
    Answers,
    Quality,
    death_readings,
    error_readings,
    quality_readings,
    state_of,
)
from clarion_monitor.app import TELL_EVERY
from clarion_monitor.causes import Account, Stopped, stop_readings
from clarion_monitor.domain import Kind, Limits
from clarion_monitor.settings import Settings
from clarion_monitor.watch import STALLED_AFTER

LIMITS = Limits(timedelta(seconds=60), timedelta(seconds=300), dead_letters=0)
SMS = Account(app_id=1, lane_id=7, channel=Channel.SMS)
JITTER = 1.2
"""Of the pause between two looks."""
counts = st.integers(0, 1_000)


def answers(good: int = 0, failed: int = 0, dead: int = 0, lane_id: int = 7) -> Answers:
    return Answers(Account(1, lane_id, Channel.SMS), "shop", "main", good, failed, dead)


@pytest.mark.parametrize(
    ("good", "failed", "told"),
    [(5, 5, True), (6, 5, False), (1_001, 1_000, False), (4, 5, False), (0, 9, False), (0, 10, True), (10, 0, False)],
)
def test_half_of_ten_answers_failed_is_an_incident(good: int, failed: int, told: bool) -> None:
    readings = error_readings([answers(good, failed)], LIMITS)

    assert any(reading.passed for reading in readings) is told


def test_dead_addresses_are_no_trouble_of_the_provider() -> None:
    assert not any(reading.passed for reading in error_readings([answers(dead=100)], LIMITS))


@pytest.mark.parametrize(("good", "dead", "told"), [(120, 30, True), (121, 30, False), (0, 29, False), (0, 30, True)])
def test_jump_of_dead_addresses_is_an_incident(good: int, dead: int, told: bool) -> None:
    readings = death_readings([answers(good, dead=dead)], [], LIMITS)

    assert any(reading.passed for reading in readings) is told


def test_jump_and_the_stop_it_brings_are_one_incident() -> None:
    stop = Stopped(SMS, StopReason.DEAD_JUMP, timedelta(0))

    [before], [after], [both] = (
        death_readings([answers(dead=40)], [], LIMITS),
        death_readings([], [stop], LIMITS),
        death_readings([answers(dead=40)], [stop], LIMITS),
    )

    assert before.key == after.key == both.key
    assert after.passed
    assert "takes no work" in both.what
    assert stop_readings([stop], LIMITS) == []


def test_account_is_told_of_once_for_its_worst_country() -> None:
    quality = [
        Quality(SMS, "shop", "main", country, factor) for country, factor in (("JP", 49), ("KR", 12), ("US", 100))
    ]

    [reading] = quality_readings(quality, LIMITS)

    assert reading.passed
    assert (reading.what, reading.value, reading.limit) == ("sms: the account delivers badly in KR", 88, 50)


@pytest.mark.parametrize(("factor", "told"), [(100, False), (50, False), (49, True)])
def test_account_that_keeps_half_of_its_weight_is_left_alone(factor: int, told: bool) -> None:
    [reading] = quality_readings([Quality(SMS, "shop", "main", "KR", factor)], LIMITS)

    assert reading.passed is told


@pytest.mark.parametrize(
    ("reason", "enabled", "state"),
    [
        (None, True, "works"),
        (None, False, "disabled"),
        (2, True, "breaker"),
        (3, False, "dead_jump"),
        (99, True, "stopped"),
    ],
)
def test_state_of_an_account_has_a_word_also_for_reasons_of_later(
    reason: int | None, enabled: bool, state: str
) -> None:
    assert state_of(reason, enabled=enabled) == state


@given(st.lists(st.tuples(counts, counts, counts, st.integers(1, 3)), max_size=6))
def test_every_incident_of_accounts_has_one_reading_and_a_share_within_its_bounds(
    drawn: list[tuple[int, int, int, int]],
) -> None:
    by_lane = {lane: answers(good, failed, dead, lane) for good, failed, dead, lane in drawn}
    stops = [Stopped(one.account, StopReason.DEAD_JUMP, timedelta(0)) for one in by_lane.values() if one.failed % 2]

    errors = error_readings(by_lane.values(), LIMITS)
    deaths = death_readings(by_lane.values(), stops, LIMITS)

    keys = [reading.key for reading in (*errors, *deaths)]
    assert len(keys) == len(set(keys))
    assert all(0 <= reading.value <= 100 for reading in errors)
    assert all(reading.passed and reading.kind is Kind.TOKEN_DEATHS for reading in deaths)


def test_every_cause_is_told_within_a_minute_by_default() -> None:
    """The rule's own time, up to two looks (the first may begin the clock), and a round of telling."""
    settings = Settings.model_construct(alert_mail_to="", alert_mail_from="")
    limits = settings.limits
    own = (limits.queue_age, limits.outbox_age, limits.standstill, limits.breaker_open, STALLED_AFTER, timedelta(0))

    longest = max(own) + JITTER * (
        2 * timedelta(seconds=max(settings.look_seconds, settings.audit_seconds)) + TELL_EVERY
    )

    assert longest <= timedelta(seconds=60)
