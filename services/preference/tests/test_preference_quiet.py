"""Quiet hours by the clock on the wall, over changes of clocks."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_preference.quiet import QuietWindow, quiet_from, quiet_until

NEW_YORK = ZoneInfo("America/New_York")
SEOUL = ZoneInfo("Asia/Seoul")
ZONES = [NEW_YORK, SEOUL, *map(ZoneInfo, ("Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"))]
NIGHT = QuietWindow(22 * 60, 7 * 60)
MINUTE = timedelta(minutes=1)

# Around changes of clocks in both directions, the half-hour one of Lord Howe and the day that Apia skipped.
CHANGES = [
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC),
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
]

windows = st.builds(
    QuietWindow,
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.one_of(st.just(frozenset(range(1, 8))), st.frozensets(st.integers(1, 7), min_size=1)),
).filter(lambda window: window.start_minute != window.end_minute)
moments = st.builds(
    lambda change, minutes: change + minutes * MINUTE, st.sampled_from(CHANGES), st.integers(-3 * 1440, 3 * 1440)
)


def at(zone: ZoneInfo, *wall: int, fold: int = 0) -> datetime:
    return datetime(*wall, tzinfo=zone, fold=fold).astimezone(UTC)  # type: ignore[misc,arg-type]  # numbers of a date


def walls(zone: ZoneInfo, moment: datetime) -> tuple[date, int]:
    wall = moment.astimezone(zone)
    return wall.date(), wall.hour * 60 + wall.minute


def shown(window_set: Sequence[QuietWindow], zone: ZoneInfo, moment: datetime) -> bool:
    day, minute = walls(zone, moment)
    return any(window.shows(day.isoweekday(), minute) for window in window_set)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ((2026, 6, 1, 21, 59), None),
        ((2026, 6, 1, 22, 0), (2026, 6, 2, 7, 0)),
        ((2026, 6, 2, 0, 0), (2026, 6, 2, 7, 0)),
        ((2026, 6, 2, 6, 59), (2026, 6, 2, 7, 0)),
        ((2026, 6, 2, 7, 0), None),
    ],
)
def test_window_over_midnight_holds_from_its_start_to_before_its_end(
    now: tuple[int, ...], until: tuple[int, ...] | None
) -> None:
    assert quiet_until([NIGHT], SEOUL, at(SEOUL, *now)) == (until and at(SEOUL, *until))


def test_windows_that_touch_and_overlap_are_one() -> None:
    lunch, nap, tea = QuietWindow(720, 780), QuietWindow(770, 840), QuietWindow(840, 900)

    assert quiet_until([tea, lunch, nap], SEOUL, at(SEOUL, 2026, 6, 1, 12, 30)) == at(SEOUL, 2026, 6, 1, 15, 0)


def test_window_of_friday_holds_on_saturday_morning_and_not_on_friday_morning() -> None:
    friday = QuietWindow(22 * 60, 10 * 60, frozenset({5}))

    assert quiet_until([friday], SEOUL, at(SEOUL, 2026, 6, 6, 9, 0)) == at(SEOUL, 2026, 6, 6, 10, 0)
    assert quiet_until([friday], SEOUL, at(SEOUL, 2026, 6, 5, 9, 0)) is None
    assert quiet_from([friday], SEOUL, at(SEOUL, 2026, 6, 6, 9, 0)) == at(SEOUL, 2026, 6, 12, 22, 0)


def test_end_that_a_clock_skips_is_the_moment_of_the_skip() -> None:
    until = quiet_until([QuietWindow(22 * 60, 150)], NEW_YORK, at(NEW_YORK, 2026, 3, 8, 1, 0))

    assert until == at(NEW_YORK, 2026, 3, 8, 3, 0)


def test_start_that_a_clock_skips_is_the_moment_of_the_skip() -> None:
    early = QuietWindow(150, 240)

    assert quiet_until([early], NEW_YORK, at(NEW_YORK, 2026, 3, 8, 1, 59)) is None
    assert quiet_until([early], NEW_YORK, at(NEW_YORK, 2026, 3, 8, 3, 0)) == at(NEW_YORK, 2026, 3, 8, 4, 0)


def test_window_inside_the_skip_does_not_happen() -> None:
    skipped = QuietWindow(130, 160)

    assert quiet_until([skipped], NEW_YORK, at(NEW_YORK, 2026, 3, 8, 3, 0)) is None
    assert quiet_from([skipped], NEW_YORK, at(NEW_YORK, 2026, 3, 8, 1, 0)) == at(NEW_YORK, 2026, 3, 9, 2, 10)


@pytest.mark.parametrize(("hour", "minute", "fold"), [(0, 30, 0), (1, 15, 0), (1, 45, 0), (1, 15, 1)])
def test_end_that_is_shown_twice_is_the_later(hour: int, minute: int, fold: int) -> None:
    now = at(NEW_YORK, 2026, 11, 1, hour, minute, fold=fold)

    until = quiet_until([QuietWindow(22 * 60, 90)], NEW_YORK, now)

    assert until == at(NEW_YORK, 2026, 11, 1, 1, 30, fold=1)


def test_start_that_is_shown_twice_is_the_earlier() -> None:
    late = QuietWindow(90, 180)

    assert quiet_until([late], NEW_YORK, at(NEW_YORK, 2026, 11, 1, 1, 15, fold=1)) == at(NEW_YORK, 2026, 11, 1, 3, 0)
    assert quiet_until([late], NEW_YORK, at(NEW_YORK, 2026, 11, 1, 1, 15, fold=0)) is None


def test_window_over_the_day_that_apia_skipped_ends_where_the_calendar_goes_on() -> None:
    apia = ZoneInfo("Pacific/Apia")

    until = quiet_until([NIGHT], apia, at(apia, 2011, 12, 29, 23, 0))

    # The window of the 30th begins with the skip and ends on the morning of the 31st.
    assert until == at(apia, 2011, 12, 31, 7, 0)


def test_quiet_hours_without_end_are_asked_again_after_a_week() -> None:
    always = [QuietWindow(0, 720), QuietWindow(720, 0)]
    now = at(SEOUL, 2026, 6, 1, 12, 0)

    until = quiet_until(always, SEOUL, now)

    assert until is not None
    assert timedelta(days=8) <= until - now < timedelta(days=10)


@given(st.lists(windows, min_size=1, max_size=4), st.sampled_from(ZONES), moments)
def test_every_minute_that_the_wall_shows_as_quiet_is_quiet(
    window_set: list[QuietWindow], zone: ZoneInfo, now: datetime
) -> None:
    if shown(window_set, zone, now):
        assert quiet_until(window_set, zone, now) is not None


@given(st.lists(windows, min_size=1, max_size=4), st.sampled_from(ZONES), moments)
def test_quiet_never_ends_inside_another_window(window_set: list[QuietWindow], zone: ZoneInfo, now: datetime) -> None:
    until = quiet_until(window_set, zone, now)

    if until is not None and until - now < timedelta(days=8):
        assert until > now
        assert not shown(window_set, zone, until)
        assert quiet_until(window_set, zone, until) is None


@given(st.lists(windows, min_size=1, max_size=3), st.sampled_from(ZONES), moments, st.floats(0, 1))
def test_every_moment_until_the_end_has_the_same_end(
    window_set: list[QuietWindow], zone: ZoneInfo, now: datetime, part: float
) -> None:
    until = quiet_until(window_set, zone, now)

    if until is not None and until - now < timedelta(days=8):
        between = now + (until - now) * part
        assert quiet_until(window_set, zone, between) in (until, None if between == until else until)


@given(st.lists(windows, min_size=1, max_size=3), st.sampled_from(ZONES), moments)
def test_a_moment_that_is_not_quiet_stays_so_until_the_next_beginning(
    window_set: list[QuietWindow], zone: ZoneInfo, now: datetime
) -> None:
    if quiet_until(window_set, zone, now) is not None:
        return
    beginning = quiet_from(window_set, zone, now)

    if beginning is not None:
        assert quiet_until(window_set, zone, beginning - timedelta(microseconds=1)) is None
        assert quiet_until(window_set, zone, beginning) is not None
        assert quiet_until(window_set, zone, now + (beginning - now) / 2) is None
