"""The rules of statistics: what may be asked, and which counts answer it. Pure.

Counts are kept by the hour and by the UTC day, each for its own time, and in several grains, so that an answer reads no more
rows than it needs. A window is widened to whole hours or days, whichever are kept for it; long windows are put together from days,
and from hours at their edges.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, IntFlag

from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel, DeliveryState, Reason
from clarion_tracker.funnel import Counts, ReasonCount

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
DEFAULT_SPAN = timedelta(hours=24)
LONGEST_BY_HOUR = timedelta(days=31)
LONGEST_BY_FINE_HOUR = timedelta(days=7)
"""With templates, their versions or countries."""
LONGEST = timedelta(days=400)
MOST_GROUPS = 2_000
"""Rows in an answer; one costs about 25 µs to put together, in which the daemon does nothing else."""
MOST_REASONS = 20_000
MOST_NAMES = 100
"""Values of one filter."""


class Dimension(Enum):
    """What counts may be grouped by; values are columns of the rollups."""

    APP = "app_id"
    CATEGORY = "category_id"
    TEMPLATE_VERSION = "template_version"
    CHANNEL = "channel"
    PROVIDER = "lane_id"
    COUNTRY = "country"
    TEMPLATE = "template"


class Bucket(Enum):
    """Time buckets of an answer."""

    HOUR = "hour"
    DAY = "day"


class Rollup(Enum):
    """What counts are kept by; weeks begin on Monday, UTC."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


class Grain(IntFlag):
    """What counts tell apart beside app, category, channel and account: versions of templates, countries. Both together are
    kept by the day, and by the week for long windows."""

    NONE = 0
    TEMPLATE_VERSION = 1
    COUNTRY = 2
    BOTH = 3


@dataclass(frozen=True, slots=True)
class Kept:
    """How long counts are kept."""

    hours: timedelta
    days: timedelta


@dataclass(frozen=True, slots=True)
class Window:
    """Whole hours (`whole` HOUR) or UTC days, [since, until)."""

    since: datetime
    until: datetime
    whole: Bucket


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a window and the rollup that answers it."""

    rollup: Rollup
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Query:
    """What to count. `apps` None: all; another filter None: any value, empty: none."""

    apps: tuple[int, ...] | None
    window: Window
    bucket: Bucket | None = None
    group_by: tuple[Dimension, ...] = ()
    categories: tuple[int, ...] | None = None
    template_versions: tuple[int, ...] | None = None
    channels: tuple[Channel, ...] | None = None
    lanes: tuple[int, ...] | None = None
    countries: tuple[str, ...] | None = None
    templates: tuple[str, ...] | None = None

    @property
    def grain(self) -> Grain:
        """The coarsest that answers it."""
        return grain_of(self.group_by, self.template_versions, self.countries, self.templates)


@dataclass(frozen=True, slots=True)
class Key:
    """What the deliveries of a group have in common; what was not asked for is None."""

    start: datetime | None = None
    app_id: int | None = None
    category_id: int | None = None
    template_version: int | None = None
    channel: int | None = None
    lane_id: int | None = None
    country: str | None = None
    template: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Counts of deliveries that have `key` in common."""

    key: Key
    counts: Counts
    reasons: tuple[ReasonCount, ...] = ()


@dataclass(frozen=True, slots=True)
class Counted:
    """An answer: its groups by their keys, and up to when everything is counted."""

    as_of: datetime
    groups: tuple[Group, ...]

    @property
    def total(self) -> Counts:
        return sum((group.counts for group in self.groups), start=Counts())


def merged(counted: Counted) -> Counted:
    """All groups as one without a key."""
    reasons: dict[tuple[DeliveryState, Reason], int] = {}
    for group in counted.groups:
        for one in group.reasons:
            reasons[one.state, one.reason] = reasons.get((one.state, one.reason), 0) + one.count
    why = tuple(ReasonCount(state, reason, count) for (state, reason), count in sorted(reasons.items()))
    return Counted(counted.as_of, (Group(Key(), counted.total, why),))


def grain_of(
    group_by: Sequence[Dimension],
    template_versions: Sequence[int] | None,
    countries: Sequence[str] | None,
    templates: Sequence[str] | None = None,
) -> Grain:
    """The coarsest grain that tells apart what is grouped by or filtered."""
    grouped = Dimension.TEMPLATE in group_by or Dimension.TEMPLATE_VERSION in group_by
    by_template = grouped or template_versions is not None or templates is not None
    by_country = Dimension.COUNTRY in group_by or countries is not None
    return (Grain.TEMPLATE_VERSION if by_template else Grain.NONE) | (Grain.COUNTRY if by_country else Grain.NONE)


def window(
    since: datetime | None,
    until: datetime | None,
    bucket: Bucket | None,
    now: datetime,
    kept: Kept,
    grain: Grain = Grain.NONE,
) -> Window:
    """The window to count, widened to whole hours or days; the last 24 hours by default. Raises DomainError INVALID_FIELD."""
    until = until or now
    since = since or until - DEFAULT_SPAN
    longest = LONGEST if bucket is not Bucket.HOUR else LONGEST_BY_FINE_HOUR if grain else LONGEST_BY_HOUR
    hours_from = _floor(now - kept.hours, HOUR)
    faults = Faults()
    faults.require("since", since < until, "must be before until")
    faults.require("since", since <= now, "must not lie in the future")
    faults.require("since", until - since <= longest, f"must be at most {longest.days} days before until")
    faults.require("since", since >= _floor(now - kept.days, DAY), f"counts are kept for {kept.days.days} days")
    if bucket is Bucket.HOUR:
        faults.require("bucket", grain is not Grain.BOTH, "templates by country are counted by the day")
        faults.require("since", since >= hours_from, f"counts by hour are kept for {kept.hours.days} days")
    faults.raise_if_any()
    whole = Bucket.DAY if bucket is Bucket.DAY or grain is Grain.BOTH or since < hours_from else Bucket.HOUR
    unit = DAY if whole is Bucket.DAY else HOUR
    return Window(_floor(since, unit), _ceiling(until, unit), whole)


def spans(asked: Window, bucket: Bucket | None, *, weeks: bool = False) -> Iterator[Span]:
    """The parts of a window, in order, without gap or overlap: whole weeks from the weeks where there are any (`weeks`), whole
    days from the days, the rest from the hours."""
    if bucket is Bucket.HOUR:
        yield Span(Rollup.HOUR, asked.since, asked.until)
    elif asked.whole is Bucket.HOUR:
        yield from _split(Span(Rollup.HOUR, asked.since, asked.until), Rollup.DAY, DAY)
    elif weeks and bucket is None:
        yield from _split(Span(Rollup.DAY, asked.since, asked.until), Rollup.WEEK, WEEK)
    else:
        yield Span(Rollup.DAY, asked.since, asked.until)


def _split(whole: Span, inner: Rollup, unit: timedelta) -> Iterator[Span]:
    """What of a span are whole units, and the edges."""
    first, last = _ceiling(whole.since, unit), _floor(whole.until, unit)
    if first >= last:
        yield whole
        return
    if whole.since < first:
        yield Span(whole.rollup, whole.since, first)
    yield Span(inner, first, last)
    if last < whole.until:
        yield Span(whole.rollup, last, whole.until)


_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


def _floor(moment: datetime, unit: timedelta) -> datetime:
    return moment - (moment - _MONDAY) % unit


def _ceiling(moment: datetime, unit: timedelta) -> datetime:
    return moment + (_MONDAY - moment) % unit
