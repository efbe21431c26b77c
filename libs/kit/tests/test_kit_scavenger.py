"""Bulk goes slower while others are late, and only then."""

import asyncio

import pytest

from clarion_kit.scavenger import LONGEST_PAUSE, SMALL_STEP, Scavenger


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scavenger(clock: Clock) -> Scavenger:
    return Scavenger(clock)


def arrive(scavenger: Scavenger, clock: Clock, *waits: float) -> None:
    """Others, a decision apart from each other."""
    for seconds in waits:
        clock.now += 0.11
        scavenger.waited(seconds)


async def test_bulk_alone_goes_at_once_and_whole(scavenger: Scavenger) -> None:
    assert await scavenger.step(100) == 100


async def test_others_that_are_late_make_bulk_go_in_small_steps_with_longer_and_longer_pauses(
    scavenger: Scavenger, clock: Clock
) -> None:
    arrive(scavenger, clock, 0.005, 0.2)
    first = scavenger.pause_seconds
    arrive(scavenger, clock, 0.2, 0.2)

    assert 0 < first < scavenger.pause_seconds
    assert await scavenger.step(100) == 100 // SMALL_STEP
    assert await scavenger.step(1) == 1


def test_pause_is_bounded_however_late_others_are(scavenger: Scavenger, clock: Clock) -> None:
    arrive(scavenger, clock, 0.005, *[5.0] * 100)

    assert scavenger.pause_seconds == LONGEST_PAUSE.total_seconds()


def test_pause_ends_when_others_are_in_time_again(scavenger: Scavenger, clock: Clock) -> None:
    arrive(scavenger, clock, 0.005, *[0.3] * 5)
    longest = scavenger.pause_seconds
    arrive(scavenger, clock, 0.01)
    shorter = scavenger.pause_seconds
    arrive(scavenger, clock, *[0.01] * 30)

    assert 0 < shorter < longest
    assert scavenger.pause_seconds == 0.0


async def test_bulk_has_everything_when_nobody_else_is_there_any_more(scavenger: Scavenger, clock: Clock) -> None:
    arrive(scavenger, clock, 0.005, *[0.3] * 50)
    clock.now += 3.0

    assert await scavenger.step(100) == 100
    arrive(scavenger, clock, 0.005)
    assert not scavenger.yields


@pytest.mark.parametrize("apart", [-3.0, 7.0])
def test_clocks_that_are_apart_make_nobody_late(scavenger: Scavenger, clock: Clock, apart: float) -> None:
    arrive(scavenger, clock, *[apart + 0.01, apart + 0.012] * 10)
    assert not scavenger.yields

    arrive(scavenger, clock, apart + 0.2)
    assert scavenger.yields


def test_clocks_that_drift_are_followed(scavenger: Scavenger, clock: Clock) -> None:
    """After two windows, what was the best once is forgotten."""
    arrive(scavenger, clock, 0.005)
    clock.now += 61
    arrive(scavenger, clock, 0.105)
    assert scavenger.yields
    clock.now += 61
    arrive(scavenger, clock, 0.105, 0.105)

    assert not scavenger.yields


def test_what_rested_for_long_says_nothing(scavenger: Scavenger, clock: Clock) -> None:
    arrive(scavenger, clock, 0.005, 3_600.0)

    assert not scavenger.yields


async def test_steps_that_are_asked_for_together_come_one_after_the_other(
    scavenger: Scavenger, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once, most_at_once = 0, 0
    rest = asyncio.sleep

    async def sleep(seconds: float) -> None:
        nonlocal at_once, most_at_once
        at_once += 1
        most_at_once = max(most_at_once, at_once)
        await rest(0)
        at_once -= 1

    arrive(scavenger, clock, 0.005, 0.2)
    monkeypatch.setattr(asyncio, "sleep", sleep)

    assert await asyncio.gather(*(scavenger.step(100) for _ in range(4))) == [100 // SMALL_STEP] * 4
    assert most_at_once == 1


async def test_a_step_that_is_cancelled_ends(scavenger: Scavenger, clock: Clock) -> None:
    arrive(scavenger, clock, 0.005, *[5.0] * 100)
    step = asyncio.create_task(scavenger.step(10))
    await asyncio.sleep(0)
    step.cancel()

    with pytest.raises(asyncio.CancelledError):
        await step
