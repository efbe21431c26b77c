"""Whose calls are stored next."""

from hypothesis import given
from hypothesis import strategies as st

from clarion_gateway.turns import Turns

calls = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), max_size=30)


def test_single_call_of_another_app_waits_for_one_call_and_not_for_all() -> None:
    turns: Turns[str] = Turns()
    for number in range(100):
        turns.put(1, f"bulk {number}", 500)
    turns.put(2, "code", 1)

    assert list(turns.take(1_000)) == ["bulk 0", "code"]
    assert list(turns.take(1_000)) == ["bulk 1", "bulk 2"]


def test_call_that_is_larger_than_all_that_may_be_taken_is_taken_alone() -> None:
    turns: Turns[str] = Turns()
    turns.put(1, "large", 700)
    turns.put(1, "small", 1)

    assert list(turns.take(500)) == ["large"]
    assert list(turns.take(500)) == ["small"]
    assert not turns


@given(calls, st.integers(1, 20))
def test_every_call_is_taken_once_in_its_apps_order_and_within_the_bound(
    waiting: list[tuple[int, int]], most: int
) -> None:
    turns: Turns[tuple[int, int, int]] = Turns()
    for number, (app_id, size) in enumerate(waiting):
        turns.put(app_id, (app_id, number, size), size)

    assert turns.size == sum(size for _, size in waiting)
    taken: list[tuple[int, int, int]] = []
    while turns:
        group = list(turns.take(most))
        assert len(group) == 1 or sum(size for _, _, size in group) <= most
        taken += group

    assert sorted(taken, key=lambda call: call[1]) == [(app, n, size) for n, (app, size) in enumerate(waiting)]
    for app in (1, 2, 3):
        own = [number for app_id, number, _ in taken if app_id == app]
        assert own == sorted(own)
        assert turns.size_of(app) == 0
    assert turns.size == 0
