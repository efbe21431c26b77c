"""Cursors: what an app gets back is where it was; anything else is told apart."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.errors import DomainError, ErrorReason
from clarion_tracker.positions import Position, cursor_of, parse_cursor

BIGINT = st.integers(0, (1 << 63) - 1)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
POSITIONS = st.builds(Position, BIGINT, BIGINT, MOMENTS)
APPS = st.integers(1, (1 << 31) - 1)
HERE = Position(900, 17, datetime(2026, 3, 1, tzinfo=UTC))
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def fault_of(app_id: int, cursor: str) -> str:
    with pytest.raises(DomainError) as refused:
        parse_cursor(app_id, cursor)
    assert refused.value.reason is ErrorReason.CURSOR_INVALID
    return refused.value.metadata["fault"]


@given(APPS, POSITIONS)
def test_cursor_comes_back_as_the_place_it_was_made_of(app_id: int, position: Position) -> None:
    cursor = cursor_of(app_id, position)

    assert len(cursor) == 48
    assert parse_cursor(app_id, cursor) == position
    assert parse_cursor(app_id, cursor).at == position.at


@given(APPS, POSITIONS, st.integers(0, 47), st.sampled_from(ALPHABET))
def test_cursor_with_a_changed_letter_is_malformed(app_id: int, position: Position, place: int, letter: str) -> None:
    cursor = cursor_of(app_id, position)
    changed = cursor[:place] + letter + cursor[place + 1 :]

    if changed == cursor:
        assert parse_cursor(app_id, changed) == position
    else:
        assert fault_of(app_id, changed) == "malformed"


@given(st.text(max_size=80))
def test_garbage_is_malformed(text: str) -> None:
    assert fault_of(1, text) == "malformed"


def test_cursor_of_another_app_is_told_apart() -> None:
    assert fault_of(2, cursor_of(1, HERE)) == "other_app"


@given(st.lists(st.tuples(BIGINT, BIGINT), min_size=2, max_size=2, unique=True))
def test_places_are_ordered_by_transaction_then_number_whatever_the_time(places: list[tuple[int, int]]) -> None:
    first, second = (
        Position(*place, HERE.at + timedelta(days=days)) for place, days in zip(places, (1, 0), strict=True)
    )

    assert (first < second) == (places[0] < places[1])
    assert Position(*places[0], HERE.at) == first
