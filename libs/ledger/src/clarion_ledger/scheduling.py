"""Times as people in different zones mean them: wall times, send windows; and moving what is scheduled.

A wall time that clocks skip moves forward by the gap, of one that comes twice the first counts (PEP 495, fold 0). A send
window goes by what the wall clock shows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from uuid import UUID
from zoneinfo import ZoneInfo

from clarion.types.v1 import time_pb2
from clarion_kit.validate import Faults
from clarion_ledger.db import Pool, connection

MAX_AHEAD = timedelta(days=366)
FIRST_ZONE = timedelta(hours=14)
"""The zone farthest ahead of UTC (Pacific/Kiritimati)."""
LAST_ZONE = timedelta(hours=12)
"""The zone farthest behind (Etc/GMT+12)."""
_WALL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?", re.ASCII)
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_NOT_A_PLACE = frozenset({"Factory"})
_DAYS_TO_LOOK = 9
"""From yesterday on; a window that opens once a week may miss one opening to a change of clocks."""


@dataclass(frozen=True, slots=True)
class Window:
    """Wall times from `opens` until before `closes`, over midnight where that is earlier. `weekdays`: ISO, of the opening."""

    opens: time
    closes: time
    weekdays: frozenset[int]

    def holds(self, wall: datetime) -> bool:
        """Whether it is open when clocks show `wall`."""
        now = wall.time()
        today = wall.isoweekday() in self.weekdays
        if self.opens < self.closes:
            return today and self.opens <= now < self.closes
        yesterday = (wall - timedelta(days=1)).isoweekday() in self.weekdays
        return (today and now >= self.opens) or (yesterday and now < self.closes)


@dataclass(frozen=True, slots=True)
class Timing:
    """When a notification may go, by its recipient's clock: not before `wall` (naive), and only within `window`."""

    wall: datetime | None = None
    window: Window | None = None


@cache
def zone(name: str) -> ZoneInfo:
    """A zone by its IANA name; UTC for an empty name and for one that this version does not know."""
    return ZoneInfo(name if known_zone(name) else "UTC")


def known_zone(name: str) -> bool:
    """Whether the pinned IANA database has a place of that name."""
    return name in _zones()


@cache
def _zones() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text().split()) - _NOT_A_PLACE


def at_wall(wall: datetime, where: ZoneInfo) -> datetime:
    """The moment (UTC) at which clocks there first show a naive wall time, or would if they did not skip it."""
    return wall.replace(tzinfo=where, fold=0).astimezone(UTC)


def first_moment(wall: datetime) -> datetime:
    """When the first clock on earth shows it."""
    return wall.replace(tzinfo=UTC) - FIRST_ZONE


def last_moment(wall: datetime) -> datetime:
    """When the last clock on earth shows it."""
    return wall.replace(tzinfo=UTC) + LAST_ZONE


def earliest(timing: Timing, where: ZoneInfo, now: datetime) -> datetime | None:
    """When a recipient there may get it (UTC), None: now."""
    at = now if timing.wall is None else max(now, at_wall(timing.wall, where))
    if timing.window is not None:
        at = next_open(timing.window, where, at)
    return at if at > now else None


def next_open(window: Window, where: ZoneInfo, moment: datetime) -> datetime:
    """The first moment from `moment` on (aware; gives UTC) at which the window is open there."""
    if window.holds(moment.astimezone(where).replace(tzinfo=None)):
        return moment.astimezone(UTC)
    return min(opening for opening in _openings(window, where, moment) if opening > moment)


def _openings(window: Window, where: ZoneInfo, moment: datetime) -> Iterator[datetime]:
    """Moments at which it opens there, from about `moment` on for more than a week."""
    day = moment.astimezone(where).date() - timedelta(days=1)
    for _ in range(_DAYS_TO_LOOK):
        wall = datetime.combine(day, window.opens)
        first, second = (wall.replace(tzinfo=where, fold=fold).astimezone(UTC) for fold in (0, 1))
        # Skipped by clocks, the two stand around the change, in reverse; shown twice, each is an opening.
        minutes = range(int((first - second) / timedelta(minutes=1)) + 1) if first > second else (0,)
        for candidate in (first, *(second + timedelta(minutes=minute) for minute in minutes)):
            if window.holds(candidate.astimezone(where).replace(tzinfo=None)):
                yield candidate
        day += timedelta(days=1)


# ---------------------------------------------------------------- as the contract writes it


def read_wall(faults: Faults, field: str, text: str) -> datetime | None:
    """A naive wall time "YYYY-MM-DDThh:mm"; None and a fault where it is none."""
    if _WALL.fullmatch(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass
    faults.add(field, 'must be a wall time "YYYY-MM-DDThh:mm"')
    return None


def read_window(faults: Faults, window: time_pb2.SendWindow) -> Window | None:
    """None and faults within "send_window." where it is faulty."""
    with faults.within("send_window."):
        good = [
            faults.require(name, _CLOCK.fullmatch(text) is not None, 'must be "hh:mm"')
            for name, text in (("opens", window.opens), ("closes", window.closes))
        ]
        good.append(faults.require("closes", window.opens != window.closes, "equals opens"))
        days = window.weekdays
        good.append(
            faults.require(
                "weekdays", all(1 <= day <= 7 for day in days) and len(set(days)) == len(days), "1-7, none twice"
            )
        )
    return window_of(window) if all(good) else None


def window_of(window: time_pb2.SendWindow) -> Window:
    """A window that was read before. Raises ValueError."""
    weekdays = frozenset(window.weekdays) or frozenset(range(1, 8))
    return Window(time.fromisoformat(window.opens), time.fromisoformat(window.closes), weekdays)


def check_wall_ahead(faults: Faults, wall: datetime, now: datetime) -> None:
    """A wall time that is too far ahead is a fault."""
    faults.require("deliver_at_local", first_moment(wall) <= now + MAX_AHEAD, "more than 366 days ahead")


# ---------------------------------------------------------------- moving


@dataclass(frozen=True, slots=True)
class Moved:
    """When a scheduled notification is due now, and its deadline."""

    deliver_at: datetime
    expire_at: datetime


async def reschedule(
    pool: Pool, app_id: int, notification_id: UUID, deliver_at: datetime, expire_at: datetime | None
) -> Moved | None:
    """Move a notification that waits for its time; `expire_at` None: the deadline moves as far. None where it does not wait.

    Raises LedgerUnavailable.
    """
    async with connection(pool) as db:
        row = await db.fetchrow(
            "SELECT * FROM ledger.reschedule($1, $2, $3, $4)", app_id, notification_id, deliver_at, expire_at
        )
    return Moved(row["deliver_at"], row["expire_at"]) if row is not None else None
