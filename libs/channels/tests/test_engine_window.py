"""Counts of the last seconds, compared with a list of everything that was ever counted."""

from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.engine.window import BUCKETS, Window

SECONDS = 10.0
WIDTH = SECONDS / BUCKETS

steps = st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["a", "b"]), st.integers(1, 5)), max_size=60)


@given(steps)
def test_count_holds_what_is_younger_than_nine_tenths_and_nothing_older_than_the_window(
    given_steps: list[tuple[float, str, int]],
) -> None:
    window = Window(SECONDS)
    now = 1_000.0
    counted: list[tuple[float, str, int]] = []
    for pause, name, count in given_steps:
        now += pause
        window.add(name, now, count)
        counted.append((now, name, count))

        for each in ("a", "b"):
            surely = sum(n for at, of, n in counted if of == each and now - at < SECONDS - WIDTH)
            at_most = sum(n for at, of, n in counted if of == each and now - at <= SECONDS)
            assert surely <= window.count(each, now) <= at_most


def test_everything_is_forgotten_after_the_window() -> None:
    window = Window(SECONDS)
    window.add("a", 5.0, 7)

    assert window.count("a", 5.0 + SECONDS - WIDTH) == 7
    assert window.count("a", 5.0 + SECONDS) == 0


def test_cleared_window_counts_anew() -> None:
    window = Window(SECONDS)
    window.add("a", 5.0)

    window.clear()
    window.add("a", 5.1, 2)

    assert window.count("a", 5.2) == 2


def test_unknown_name_counts_nothing() -> None:
    assert Window(SECONDS).count("a", 0.0) == 0
