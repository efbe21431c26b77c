"""Caps as the limiter counts them: windows, calendar periods, what a closed gate makes of a delivery."""

from datetime import UTC, date, datetime, timedelta
from random import Random
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.vocabulary import Channel, DeliveryState, Reason
from clarion_ledger.caps import CapAnswer, CapQuery, Dedupe, limits_of, near_limit, period_bounds, wait_of, zone_of
from clarion_ledger.config import Cap, CapPeriod, CategoryRule
from clarion_ledger.deferral import Denied, over_cap, quiet_hours
from clarion_ledger.rests import Rest

DAY = timedelta(days=1)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
ZONES = st.sampled_from(
    [
        "UTC",
        "Asia/Seoul",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",
        "Pacific/Apia",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Cairo",
    ]
)
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC))


def query(*caps: Cap, zone: str = "", dedupe: Dedupe | None = None) -> CapQuery:
    return CapQuery(7, UUID(int=1), b"r" * 16, "offers", Channel.SMS, caps, zone, dedupe)


def category(*, defer: bool = True, critical: bool = False) -> CategoryRule:
    return CategoryRule(1, 7, "offers", critical=critical, defer_over_cap=defer, defer_in_quiet_hours=defer)


@given(ZONES, MOMENTS, st.sampled_from(CapPeriod))
def test_a_moment_is_within_its_period_and_the_next_one_begins_at_its_end(
    zone_name: str, now: datetime, period: CapPeriod
) -> None:
    zone = ZoneInfo(zone_name)

    first, ends_at = period_bounds(period, zone, now)
    following, _ = period_bounds(period, zone, ends_at)

    assert now < ends_at <= now + timedelta(days=32)
    assert first <= now.astimezone(zone).date()
    assert following > first
    before, _ = period_bounds(period, zone, ends_at - timedelta(microseconds=1))
    assert before == first


@given(ZONES, MOMENTS, st.sampled_from(CapPeriod), st.timedeltas(timedelta(0), timedelta(days=70)))
def test_periods_part_time_without_a_gap_or_an_overlap(
    zone_name: str, begin: datetime, period: CapPeriod, later: timedelta
) -> None:
    """Walked one after the other, each begins where the last one ended; whatever moment is asked for is of the one it lies in."""
    zone = ZoneInfo(zone_name)
    moment = begin + later
    first, ends_at = period_bounds(period, zone, begin)
    while ends_at <= moment:
        before = first
        first, ends_at = period_bounds(period, zone, ends_at)
        assert first > before

    assert period_bounds(period, zone, moment) == (first, ends_at)


@given(ZONES, MOMENTS, st.sampled_from(CapPeriod))
def test_set_of_a_period_outlives_it_within_what_the_limiter_takes(
    zone_name: str, now: datetime, period: CapPeriod
) -> None:
    [limit] = limits_of(query(Cap(None, 3, timedelta(0), period), zone=zone_name), now, shadow=False)

    assert limit.ends_at is not None
    assert limit.ends_at - now < limit.window <= timedelta(days=32)
    assert len(limit.key.encode()) <= 128


@pytest.mark.parametrize(
    ("period", "first", "ends"),
    [
        (CapPeriod.DAY, date(2026, 11, 22), datetime(2026, 11, 22, 15, tzinfo=UTC)),
        (CapPeriod.WEEK, date(2026, 11, 16), datetime(2026, 11, 22, 15, tzinfo=UTC)),
        (CapPeriod.MONTH, date(2026, 11, 1), datetime(2026, 11, 30, 15, tzinfo=UTC)),
    ],
)
def test_periods_are_those_of_the_recipients_calendar(period: CapPeriod, first: date, ends: datetime) -> None:
    assert period_bounds(period, ZoneInfo("Asia/Seoul"), NOON) == (first, ends)


def test_day_on_which_the_clocks_change_is_as_long_as_it_is_there() -> None:
    zone = ZoneInfo("Europe/Berlin")
    morning = datetime(2026, 10, 25, 6, tzinfo=UTC)

    _, ends_at = period_bounds(CapPeriod.DAY, zone, morning)

    assert ends_at == datetime(2026, 10, 25, 23, tzinfo=UTC)


@pytest.mark.parametrize("name", ["", "Nowhere/Atall", "../etc/passwd", "\0", "Europe"])
def test_zone_that_is_not_known_counts_in_utc(name: str) -> None:
    assert zone_of(name) is UTC


def test_same_content_comes_before_the_caps_and_trials_apart() -> None:
    caps = (Cap(None, 3, DAY), Cap(Channel.SMS, 1, DAY, shadow=True))
    asked = query(*caps, dedupe=Dedupe(b"a" * 16, b"d" * 32, timedelta(minutes=5)))

    binding, trials = limits_of(asked, NOON, shadow=False), limits_of(asked, NOON, shadow=True)

    assert [(limit.limit, limit.duplicate) for limit in binding] == [(1, True), (3, False)]
    assert [limit.limit for limit in trials] == [1]


def test_quota_of_the_app_is_one_set_for_all_recipients() -> None:
    quota = Cap(None, 1_000, timedelta(0), CapPeriod.DAY, whole_app=True)

    [seoul] = limits_of(query(quota, zone="Asia/Seoul"), NOON, shadow=False)
    [apia] = limits_of(query(quota, zone="Pacific/Apia"), NOON, shadow=False)

    assert seoul == apia
    assert (b"r" * 16).hex() not in seoul.key


def test_cap_that_is_named_twice_counts_once() -> None:
    assert len(limits_of(query(Cap(None, 3, DAY), Cap(None, 5, DAY)), NOON, shadow=False)) == 1


@pytest.mark.parametrize(("remaining", "near"), [(3, ""), (2, "offers"), (0, "offers")])
def test_cap_is_near_from_four_fifths_on(remaining: int, near: str) -> None:
    limits = limits_of(query(Cap(None, 10, DAY)), NOON, shadow=False)

    assert (near in near_limit(limits, [remaining])) if near else near_limit(limits, [remaining]) == ""


def test_every_cap_that_is_near_is_told_and_the_window_of_a_content_is_none() -> None:
    dedupe = Dedupe(b"a" * 16, b"d" * 32, timedelta(hours=1))
    week = Cap(None, 100, 7 * DAY)
    limits = limits_of(query(Cap(None, 3, DAY), week, dedupe=dedupe), NOON, shadow=False)

    assert [limit.duplicate for limit in limits] == [True, False, False]
    assert near_limit(limits, [0, 2, 20]) == limits[2].rule
    assert near_limit(limits, [0, 0, 20]) == f"{limits[1].rule}; {limits[2].rule}"
    assert near_limit(limits, [0, 2, 21]) == ""


def test_limiter_that_does_not_tell_of_each_cap_leaves_open_which_is_near() -> None:
    limits = limits_of(query(Cap(None, 3, DAY), Cap(None, 100, 7 * DAY)), NOON, shadow=False)

    assert near_limit(limits, []) == ""


def test_calendar_period_has_room_when_it_ends_whatever_slides() -> None:
    [limit] = limits_of(query(Cap(None, 3, timedelta(0), CapPeriod.DAY)), NOON, shadow=False)

    assert wait_of(limit, timedelta(days=20), NOON) == timedelta(hours=12)


LIVES = st.timedeltas(timedelta(seconds=1), timedelta(days=30))
WAITS = st.timedeltas(timedelta(0), timedelta(days=40))


@given(LIVES, WAITS, st.integers())
def test_what_is_deferred_comes_back_after_its_gate_opens_and_before_its_deadline(
    life: timedelta, wait: timedelta, seed: int
) -> None:
    expire_at, random = NOON + life, Random(seed)

    hushed = quiet_hours(category(), NOON + wait, expire_at, NOON, random)
    capped = over_cap(category(), CapAnswer(False, rule="r", retry_after=wait), expire_at, NOON, random)

    for found, gate in ((hushed, "quiet"), (capped, "cap")):
        match found:
            case Rest():
                due_at = found.due_at or NOON + found.delay
                assert found.state is DeliveryState.DEFERRED
                assert NOON + wait <= due_at < expire_at
            case Denied():
                assert found.reason is Reason.DEFERRED_TOO_LONG
                assert wait >= life
            case None:
                assert (gate, wait) == ("quiet", timedelta(0))


def test_closed_gate_of_a_category_that_drops_ends_it() -> None:
    rule, later = category(defer=False), NOON + timedelta(minutes=1)

    hushed = quiet_hours(rule, later, NOON + DAY, NOON, Random(1))
    capped = over_cap(rule, CapAnswer(False, rule="r", retry_after=DAY / 2), NOON + DAY, NOON, Random(1))

    assert isinstance(hushed, Denied)
    assert isinstance(capped, Denied)
    assert (hushed.reason, capped.reason) == (Reason.QUIET_HOURS, Reason.CAPPED)


def test_critical_category_knows_no_quiet_hours() -> None:
    assert quiet_hours(category(critical=True), NOON + DAY, NOON + DAY, NOON, Random(1)) is None


def test_gate_that_cannot_say_when_it_opens_ends_it() -> None:
    found = over_cap(category(), CapAnswer(False, rule="sms budget KR"), NOON + DAY, NOON, Random(1))

    assert found == Denied(Reason.CAPPED, "sms budget KR")
