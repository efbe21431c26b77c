"""Quiet hours: by the clock on the recipient's wall, exact where clocks are put forward or back. Pure rules.

A window begins at the first moment at which the wall shows its start or later, and ends at the last moment at which the wall
begins to show its end: where a clock is put back over the end, the hour between the two ends is quiet as well. A time that
a clock skips counts as the moment of the skip.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from clarion_kit.vocabulary import Channel

EVERY_DAY = frozenset(range(1, 8))
_DAY = timedelta(days=1)
_HORIZON = timedelta(days=8)
"""Quiet hours without end are looked at again after this; what is next is looked for within it."""
_MINUTES_A_DAY = 1440
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class QuietWindow:
    """Minutes after midnight; an end before the start is on the next day. `weekdays`: ISO numbers of the days on which it
    starts. `channel` None: all channels."""

    start_minute: int
    end_minute: int
    weekdays: frozenset[int] = EVERY_DAY
    channel: Channel | None = None

    def shows(self, weekday: int, minute: int) -> bool:
        """Whether a wall that shows this time is inside the window."""
        if self.start_minute < self.end_minute:
            return weekday in self.weekdays and self.start_minute <= minute < self.end_minute
        if minute >= self.start_minute:
            return weekday in self.weekdays
        return minute < self.end_minute and (weekday - 2) % 7 + 1 in self.weekdays

    def occurrence(self, day: date, zone: tzinfo) -> tuple[datetime, datetime] | None:
        """Beginning and end (UTC) of the window that starts on a day; None where none does or a skip swallows it."""
        if day.isoweekday() not in self.weekdays:
            return None
        last_day = day if self.start_minute < self.end_minute else day + _DAY
        start = _moment(day, self.start_minute, zone, last=False)
        end = _moment(last_day, self.end_minute, zone, last=True)
        return (start, end) if start < end else None


def quiet_until(windows: Sequence[QuietWindow], zone: tzinfo, now: datetime) -> datetime | None:
    """When it stops being quiet (UTC), None if it is not quiet now. Windows that overlap or touch are one.

    Where that is more than eight days ahead, some moment from then on: to be asked again.
    """
    if not windows or not _may_be_quiet(windows, zone, now):
        return None
    end = now
    while end < now + _HORIZON:
        reached = max((until for start, until in _around(windows, zone, end) if start <= end < until), default=end)
        if reached == end:
            break
        end = reached
    return None if end == now else end


def quiet_from(windows: Sequence[QuietWindow], zone: tzinfo, now: datetime) -> datetime | None:
    """When a window begins next (UTC), those that hold now left out; None if none does within a week."""
    day = now.astimezone(zone).date()
    first: datetime | None = None
    for ahead in range(-1, _HORIZON.days + 1):
        starts = [start for start, _ in _starting(windows, zone, day + ahead * _DAY) if start > now]
        if starts and (first is None or min(starts) < first):
            first = min(starts)
        elif first is not None:
            break
    return first


def _may_be_quiet(windows: Sequence[QuietWindow], zone: tzinfo, now: datetime) -> bool:
    """False for sure, or perhaps: the cheap look that answers nearly always."""
    wall = now.astimezone(zone)
    weekday, minute = wall.isoweekday(), wall.hour * 60 + wall.minute
    if any(window.shows(weekday, minute) for window in windows):
        return True
    # Between two equal times, a window may hold that the wall does not show.
    return wall.replace(fold=0).utcoffset() != wall.replace(fold=1).utcoffset()


def _around(windows: Sequence[QuietWindow], zone: tzinfo, moment: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Occurrences that may hold at a moment: a zone may skip a whole day, and a window spans two."""
    day = moment.astimezone(zone).date()
    for back in range(3):
        yield from _starting(windows, zone, day - back * _DAY)


def _starting(windows: Sequence[QuietWindow], zone: tzinfo, day: date) -> Iterator[tuple[datetime, datetime]]:
    for window in windows:
        occurrence = window.occurrence(day, zone)
        if occurrence is not None:
            yield occurrence


def _moment(day: date, minute: int, zone: tzinfo, *, last: bool) -> datetime:
    """When the wall shows a time, the first or the last moment of two; of a time that is skipped, the moment of the skip."""
    wall = datetime.combine(day, time(minute // 60, minute % 60), zone)
    moments = sorted(wall.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if moments[0] == moments[1] or _shows(moments[0], wall, zone):
        return moments[last]
    return _skip(moments[0], moments[1], zone)


def _shows(moment: datetime, wall: datetime, zone: tzinfo) -> bool:
    return moment.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None)


def _skip(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The moment between the two at which the clock is put forward, by halving."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)
