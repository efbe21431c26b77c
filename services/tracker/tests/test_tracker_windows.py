"""Which window statistics count, and which of the kept counts answer it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.errors import DomainError
from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_tracker.funnel import Counts, ReasonCount, by_receipt, by_state, rates
from clarion_tracker.statistics import (
    DAY,
    HOUR,
    WEEK,
    Bucket,
    Counted,
    Dimension,
    Grain,
    Group,
    Kept,
    Key,
    Rollup,
    Window,
    grain_of,
    merged,
    spans,
    window,
)

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TODAY = datetime(2026, 3, 1, tzinfo=UTC)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
KEPT = Kept(timedelta(days=35), timedelta(days=400))


def test_window_is_the_last_day_widened_to_whole_hours_by_default() -> None:
    assert window(None, None, None, NOW, KEPT) == Window(NOON - DAY, NOON + HOUR, Bucket.HOUR)


def test_whole_hours_stay_as_they_are() -> None:
    assert window(NOON - HOUR, NOON, Bucket.HOUR, NOW, KEPT) == Window(NOON - HOUR, NOON, Bucket.HOUR)


def test_buckets_of_days_widen_a_window_to_whole_days() -> None:
    assert window(NOW - DAY, NOW, Bucket.DAY, NOW, KEPT) == Window(TODAY - DAY, TODAY + DAY, Bucket.DAY)


def test_window_from_before_the_kept_hours_is_counted_in_days() -> None:
    assert window(NOW - timedelta(days=36), NOW, None, NOW, KEPT) == Window(
        TODAY - timedelta(days=36), TODAY + DAY, Bucket.DAY
    )


@pytest.mark.parametrize("bucket", [None, Bucket.DAY])
def test_window_may_span_all_that_is_kept(bucket: Bucket | None) -> None:
    assert window(NOW - timedelta(days=400), NOW, bucket, NOW, KEPT).since == TODAY - timedelta(days=400)


@pytest.mark.parametrize(
    ("since", "until", "bucket"),
    [
        (NOW, NOW, None),
        (NOW, NOW - DAY, None),
        (NOW + timedelta(seconds=1), None, None),
        (NOW + DAY, NOW + 2 * DAY, None),
        (NOW - timedelta(days=401), None, None),
        (NOW - timedelta(days=500), NOW - timedelta(days=450), None),
        (NOW - timedelta(days=31, seconds=1), None, Bucket.HOUR),
        (NOW - timedelta(days=36), NOW - timedelta(days=35), Bucket.HOUR),
    ],
)
def test_window_that_is_empty_too_long_ahead_or_forgotten_is_refused(
    since: datetime, until: datetime | None, bucket: Bucket | None
) -> None:
    with pytest.raises(DomainError, match="since"):
        window(since, until, bucket, NOW, KEPT)


@pytest.mark.parametrize("grain", [Grain.TEMPLATE_VERSION, Grain.COUNTRY])
def test_fine_counts_by_hour_reach_a_week(grain: Grain) -> None:
    week = timedelta(days=7)

    assert window(NOW - week, NOW, Bucket.HOUR, NOW, KEPT, grain).whole is Bucket.HOUR
    with pytest.raises(DomainError, match="since"):
        window(NOW - week - timedelta(seconds=1), NOW, Bucket.HOUR, NOW, KEPT, grain)


def test_templates_by_country_are_counted_by_the_day() -> None:
    assert window(NOW - HOUR, NOW, None, NOW, KEPT, Grain.BOTH) == Window(TODAY, TODAY + DAY, Bucket.DAY)
    with pytest.raises(DomainError, match="bucket"):
        window(NOW - HOUR, NOW, Bucket.HOUR, NOW, KEPT, Grain.BOTH)


@pytest.mark.parametrize(
    ("group_by", "versions", "countries", "templates", "grain"),
    [
        ([Dimension.CHANNEL, Dimension.PROVIDER, Dimension.CATEGORY, Dimension.APP], None, None, None, Grain.NONE),
        ([Dimension.TEMPLATE_VERSION], None, None, None, Grain.TEMPLATE_VERSION),
        ([Dimension.TEMPLATE], None, None, None, Grain.TEMPLATE_VERSION),
        ([], (), None, None, Grain.TEMPLATE_VERSION),
        ([], None, None, ("welcome",), Grain.TEMPLATE_VERSION),
        ([Dimension.COUNTRY], None, None, None, Grain.COUNTRY),
        ([], None, ("KR",), None, Grain.COUNTRY),
        ([Dimension.COUNTRY], (1,), None, None, Grain.BOTH),
        ([Dimension.TEMPLATE], None, ("KR",), None, Grain.BOTH),
        ([Dimension.COUNTRY], None, None, ("welcome",), Grain.BOTH),
    ],
)
def test_grain_is_the_coarsest_that_tells_apart_what_is_asked(
    group_by: list[Dimension],
    versions: tuple[int, ...] | None,
    countries: tuple[str, ...] | None,
    templates: tuple[str, ...] | None,
    grain: Grain,
) -> None:
    assert grain_of(group_by, versions, countries, templates) is grain


@given(
    st.timedeltas(timedelta(seconds=1), timedelta(days=399)),
    st.timedeltas(timedelta(0), timedelta(days=399)),
    st.sampled_from([None, Bucket.DAY]),
    st.sampled_from([Grain.NONE, Grain.BOTH]),
    st.booleans(),
)
def test_spans_fill_the_window_without_gap_or_overlap(
    back: timedelta, length: timedelta, bucket: Bucket | None, grain: Grain, weeks: bool
) -> None:
    since = NOW - back
    asked = window(since, since + length + timedelta(seconds=1), bucket, NOW, KEPT, grain)

    found = list(spans(asked, bucket, weeks=weeks and grain is Grain.BOTH))

    assert asked.since <= since < asked.until
    assert [asked.since, *(span.until for span in found)] == [*(span.since for span in found), asked.until]
    for span in found:
        unit = {Rollup.HOUR: HOUR, Rollup.DAY: DAY, Rollup.WEEK: WEEK}[span.rollup]
        assert span.since < span.until
        assert not (span.since - MONDAY) % unit
        assert not (span.until - MONDAY) % unit
        assert span.rollup is not Rollup.HOUR or span.since >= NOW - KEPT.hours - HOUR
        assert span.rollup is not Rollup.WEEK or (weeks and grain is Grain.BOTH and bucket is None)


def test_long_window_reads_days_and_only_its_edges_in_hours() -> None:
    found = list(spans(window(NOW - timedelta(days=30), NOW, None, NOW, KEPT), None))

    assert [span.rollup for span in found] == [Rollup.HOUR, Rollup.DAY, Rollup.HOUR]
    assert found[1].until - found[1].since == timedelta(days=29)


def test_month_of_templates_by_country_reads_whole_weeks_and_only_its_edges_in_days() -> None:
    asked = window(NOW - timedelta(days=26), NOW + timedelta(days=3), None, NOW, KEPT, Grain.BOTH)

    found = list(spans(asked, None, weeks=True))

    assert [span.rollup for span in found] == [Rollup.DAY, Rollup.WEEK, Rollup.DAY]
    assert found[1].until - found[1].since == 3 * WEEK
    assert found[1].since.weekday() == 0


SOME = Counts(
    accepted=9,
    planned=20,
    sent=10,
    failed=2,
    suppressed=3,
    delivered=8,
    undelivered=2,
    opened=5,
    clicked=1,
    converted=1,
)


def test_rates_are_shares_of_what_could_have_been() -> None:
    found = rates(SOME)

    assert (found.sent, found.suppressed, found.delivered) == (0.5, 0.15, 0.8)
    assert (found.opened, found.clicked, found.converted, found.unsubscribed) == (0.5, 0.1, 0.1, 0.0)


def test_rates_of_nothing_are_unset() -> None:
    found = rates(Counts())

    assert (found.sent, found.delivered, found.opened) == (None, None, None)


def test_more_conversions_than_deliveries_are_no_rate_above_one() -> None:
    assert rates(Counts(sent=1, converted=3)).converted == 1.0


def test_states_tell_what_is_in_flight_and_receipts_the_highest_of_each() -> None:
    assert by_state(SOME) == {"in_flight": 5, "sent": 10, "failed": 2, "suppressed": 3}
    assert by_receipt(SOME) == {"undelivered": 2, "delivered": 3, "seen": 4, "clicked": 1}


def test_groups_are_merged_into_their_sum() -> None:
    dead = ReasonCount(DeliveryState.FAILED, Reason.ADDRESS_DEAD, 2)
    capped = ReasonCount(DeliveryState.SUPPRESSED, Reason.CAPPED, 1)
    counted = Counted(NOW, (Group(Key(channel=1), SOME, (dead,)), Group(Key(channel=2), SOME, (capped, dead))))

    [whole] = merged(counted).groups

    assert whole.key == Key()
    assert (whole.counts.sent, whole.counts.planned) == (20, 40)
    assert whole.reasons == (ReasonCount(DeliveryState.FAILED, Reason.ADDRESS_DEAD, 4), capped)


def test_nothing_merged_is_nothing_counted() -> None:
    [whole] = merged(Counted(NOW, ())).groups

    assert whole == Group(Key(), Counts())
