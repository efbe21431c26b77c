"""A timetable fixes every call in advance, at the rate and in the shares that were asked for."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_local.bench.timetable import items, timetable


@given(
    rate=st.floats(min_value=1, max_value=3_000),
    seconds=st.floats(min_value=0.5, max_value=20),
    unary_share=st.floats(min_value=0, max_value=1),
    batch=st.integers(min_value=1, max_value=500),
)
def test_calls_are_in_order_numbered_without_gaps_and_as_many_as_the_rate_says(
    rate: float, seconds: float, unary_share: float, batch: int
) -> None:
    calls = timetable(rate, seconds, unary_share=unary_share, batch=batch)

    assert all(0 < call.at < seconds for call in calls)
    assert [call.at for call in calls] == sorted(call.at for call in calls)
    place = 0
    for call in calls:
        assert call.first == place
        place += call.count
    assert abs(items(calls) - rate * seconds) <= 1 + batch


def test_a_tenth_is_sent_one_by_one_and_the_rest_twenty_a_call() -> None:
    calls = timetable(1_850, 60)

    singles = sum(call.count for call in calls if call.count == 1)
    assert items(calls) == pytest.approx(111_000, abs=21)
    assert singles / items(calls) == pytest.approx(0.1, abs=0.001)
    assert {call.count for call in calls} == {1, 20}


def test_calls_of_a_kind_are_evenly_spaced() -> None:
    moments = [call.at for call in timetable(100, 3, unary_share=1.0)]

    assert [after - before for before, after in pairwise(moments)] == pytest.approx([0.01] * 299)


@pytest.mark.parametrize(
    ("rate", "seconds", "share", "batch"),
    [(0.0, 1.0, 0.1, 20), (-1.0, 1.0, 0.1, 20), (1.0, 0.0, 0.1, 20), (1.0, 1.0, 1.1, 20), (1.0, 1.0, 0.1, 0)],
)
def test_timetables_that_cannot_be_are_refused(rate: float, seconds: float, share: float, batch: int) -> None:
    with pytest.raises(ValueError, match="timetable"):
        timetable(rate, seconds, unary_share=share, batch=batch)
