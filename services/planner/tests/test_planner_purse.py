"""What a planner may still spend of a budget."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from clarion_ledger.budgets import Period, Slice, SmsBudget, SmsBudgetState
from clarion_planner.purse import Purse

HOUR = timedelta(hours=1)
STATE = SmsBudgetState(
    budget_id=1,
    app_id=1,
    app="shop",
    budget=SmsBudget(100, Period.DAY, "UTC"),
    used=0,
    generation=1,
    period_start=datetime(2026, 3, 1, tzinfo=UTC),
    period_end=datetime(2026, 3, 2, tzinfo=UTC),
)


def filled(segments: int, wanted: int = 10) -> Purse:
    purse = Purse(1)
    purse.receive(purse.ask(wanted), Slice(1, 1, segments, HOUR), now=0.0)
    return purse


def test_slices_of_one_period_add_up() -> None:
    purse = filled(10)
    purse.spend(4)

    purse.receive(purse.ask(5), Slice(1, 1, 5, HOUR), now=1.0)

    assert purse.unspent().segments == 11
    assert purse.covers(11, 1.0)
    assert not purse.covers(12, 1.0)


def test_slice_ends_with_its_period() -> None:
    purse = filled(10)

    assert purse.covers(1, 3599.0)
    assert not purse.covers(1, 3600.0)


def test_slice_of_a_new_period_replaces_the_old_one() -> None:
    purse = filled(10)

    purse.receive(purse.ask(1), Slice(1, 2, 3, HOUR), now=1.0)

    assert (purse.unspent().segments, purse.unspent().generation) == (3, 2)


def test_new_period_voids_what_is_left() -> None:
    purse = filled(10)

    purse.learn(replace(STATE, generation=2))

    assert not purse.covers(1, 1.0)


def test_less_than_asked_for_means_that_there_is_no_more_until_the_ledger_has_some() -> None:
    purse = filled(3, wanted=10)
    assert purse.knows_empty(1.0)

    purse.learn(replace(STATE, used=100))
    still = purse.knows_empty(1.0)
    purse.learn(replace(STATE, used=99))

    assert still
    assert not purse.knows_empty(1.0)


def test_end_of_the_period_brings_hope_to_an_empty_purse() -> None:
    assert not filled(0, wanted=10).knows_empty(3600.0)


def test_debt_is_told_once() -> None:
    purse = filled(0)
    purse.owe(7)
    asked = purse.ask(0)
    purse.owe(2)

    purse.receive(asked, Slice(1, 1, 0, HOUR), now=1.0)

    assert (asked.debt, purse.debt) == (7, 2)
