"""Times as people type them: "90s", "10m", "24h", "7d", or ISO 8601 with an offset. Pure."""

import re
from datetime import datetime, timedelta

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,7})([smhd])")


def duration(text: str) -> timedelta:
    """A whole number of seconds, minutes, hours or days. Raises ValueError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no duration such as 90s, 10m, 24h or 7d")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def ahead(text: str, now: datetime) -> datetime:
    """A moment, or as long from `now` as the duration says. Raises ValueError."""
    return now + duration(text) if _DURATION.fullmatch(text.strip()) else _moment(text)


def ago(text: str, now: datetime) -> datetime:
    """A moment, or as long before `now` as the duration says. Raises ValueError."""
    return now - duration(text) if _DURATION.fullmatch(text.strip()) else _moment(text)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is neither a duration (10m, 24h) nor a time (2030-01-31T09:00+09:00)") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset; write 2030-01-31T09:00+09:00 or …Z")
    return moment
