"""Those who wait for a lane come back one after the other, at the rate it works off."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.engine.protection import LONGEST_REST, SHORTEST_REST, Turns


@given(
    waiters=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 5_000)), min_size=1, max_size=200),
)
def test_rests_are_neither_too_short_nor_too_long(waiters: list[tuple[float, float]]) -> None:
    turns = Turns()
    now = 100.0
    for pause, per_second in waiters:
        now += pause
        rest = turns.next(now, per_second)

        assert SHORTEST_REST - LONGEST_REST / 1e6 <= rest <= LONGEST_REST * 1.000001


def test_waiters_are_spread_at_the_rate() -> None:
    turns = Turns()

    rests = [turns.next(100.0, 50.0).total_seconds() for _ in range(100)]

    assert rests[0] == pytest.approx(0.22)
    assert [later - sooner for sooner, later in pairwise(rests)] == pytest.approx([0.02] * 99)


def test_pause_starts_the_turns_anew() -> None:
    turns = Turns()
    for _ in range(100):
        turns.next(100.0, 10.0)

    assert turns.next(200.0, 10.0).total_seconds() == pytest.approx(0.3)


def test_rate_is_that_of_the_answers() -> None:
    turns = Turns()
    for number in range(5_001):
        turns.answered(100.0 + number / 500)

    assert turns.per_second == pytest.approx(500, rel=0.01)


def test_rate_follows_a_provider_that_gets_slower() -> None:
    turns = Turns()
    for number in range(2_001):
        turns.answered(100.0 + number / 500)
    for number in range(1, 1_001):
        turns.answered(104.0 + number / 50)

    assert turns.per_second == pytest.approx(50, rel=0.15)


def test_nothing_is_known_of_the_rate_before_the_first_second() -> None:
    turns = Turns()
    turns.answered(100.0)
    turns.answered(100.5)

    assert turns.per_second == 0.0


def test_lane_that_runs_dry_while_some_wait_gets_its_next_sooner_and_faster() -> None:
    turns = Turns()
    for number in range(201):
        turns.answered(100.0 + number / 100)
    rate = turns.per_second
    for _ in range(1_000):
        turns.next(102.0, rate)

    for _ in range(100):
        turns.hasten(102.0)
    rests = [turns.next(102.0, turns.per_second).total_seconds() for _ in range(2)]

    assert turns.per_second == pytest.approx(2 * rate)
    assert rests == pytest.approx([0.2 + 0.5 / rate, 0.2 + 1 / rate])


def test_lane_that_has_little_to_do_and_nobody_waiting_keeps_its_rate() -> None:
    turns = Turns()
    for number in range(201):
        turns.answered(100.0 + number / 100)
    rate = turns.per_second

    turns.hasten(102.0)

    assert turns.per_second == rate
