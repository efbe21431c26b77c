"""Quiet hours: a reminder waits for their end, an offer is dropped."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from clarion.recipient.v1.recipient_service_pb2 import QuietHours, Wishes
from clarion_client import Content, Notification, Push
from clarion_kit.vocabulary import EventKind
from clarion_local.demo.scenes import cast
from clarion_local.demo.scenes.scene import Stage, Told, ends
from clarion_local.demo.shop import MARKETING, REMINDER

NAME = "quiet_hours"
_ZONE = "Asia/Seoul"
_NIGHT = timedelta(hours=8)
_LEAD = timedelta(seconds=6)
"""Between handing in and the end of the night: it must be planned before."""
_LIFE = timedelta(seconds=14)
"""Behind the end of the night. What is deferred goes within the first half of it, so that not everybody's comes at once."""
_LIMIT = timedelta(minutes=2)


def end_of_night(now: datetime) -> datetime:
    """The next full minute that is far enough ahead: quiet hours are told in minutes."""
    earliest = now + _LEAD
    return earliest.replace(second=0, microsecond=0) + timedelta(minutes=1)


def quiet_hours_until(end: datetime, zone: str) -> QuietHours:
    """Eight hours that end at a moment, as minutes on a wall of the zone."""
    wall, began = end.astimezone(ZoneInfo(zone)), (end - _NIGHT).astimezone(ZoneInfo(zone))
    return QuietHours(start_minute=began.hour * 60 + began.minute, end_minute=wall.hour * 60 + wall.minute)


async def play(stage: Stage) -> Told:
    """Raises ClarionError, Late."""
    end = end_of_night(datetime.now(UTC))
    wishes = Wishes(quiet_hours=quiet_hours_until(end, _ZONE))
    sleeper = await stage.person("sleeper", [cast.device("sleeper")], time_zone=_ZONE, wishes=wishes)
    offer = await stage.send("quiet:offer", _to(sleeper, MARKETING, "20 % off"))
    collect = replace(_to(sleeper, REMINDER, "Collect it"), expire_at=end + _LIFE)
    reminder = await stage.send("quiet:reminder", collect)
    [dropped] = (await stage.ended(offer)).deliveries
    whole = await stage.ended(reminder, _LIMIT)
    [waited] = whole.deliveries
    deferred = any(EventKind(entry.kind) is EventKind.DEFERRED for entry in whole.timeline)
    after = (waited.terminal_at.ToDatetime(UTC) - end).total_seconds()
    held = deferred and ends(waited) == "sent" and after >= 0 and ends(dropped) == "suppressed: quiet_hours"
    return Told(
        NAME,
        f"a reminder waited until the night of its recipient was over ({end.astimezone(ZoneInfo(_ZONE)):%H:%M} in "
        f"{_ZONE}) and was {ends(waited)} {after:.1f} s later; an offer in that night was {ends(dropped)}",
        2,
        {"deferred": deferred, "reminder": ends(waited), "offer": ends(dropped)},
        "" if held else f"the reminder should have waited, the offer not have gone: {ends(waited)}, {ends(dropped)}",
    )


def _to(person: str, category: str, title: str) -> Notification:
    return Notification(
        recipients=[person], category=category, content=Content(push=Push(title=title, body="See more."))
    )
