"""Numbers, times and the contracts' words as people read them. Pure."""

import re
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from clarion_kit.vocabulary import DeliveryState

# A provider's code may quote an address: whatever could be one is left out.
_PERSONAL = re.compile(r"\S*@\S*|[+(]*\d(?:[\s().-]{0,2}\d){6,}")


def word(value: IntEnum | None) -> str:
    """RETRY_WAIT → retry wait."""
    return value.name.lower().replace("_", " ") if value is not None else ""


def count(value: int) -> str:
    """1234567 → 1,234,567."""
    return f"{value:,}"


def moment(at: datetime) -> str:
    """In UTC, to the millisecond."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"


def duration(seconds: float) -> str:
    """The two largest units: 250 ms, 3.2 s, 4 min 10 s, 2 h 5 min, 3 d 4 h."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def offset(since: timedelta) -> str:
    """+3.2 s."""
    seconds = since.total_seconds()
    return duration(seconds) if seconds < 0 else f"+{duration(seconds)}"


def due(oldest_seconds: float) -> str:
    """How long the first of a queue has waited, or when it is due."""
    return f"due in {duration(-oldest_seconds)}" if oldest_seconds < -0.5 else duration(max(0.0, oldest_seconds))


def code(text: str) -> str:
    """A provider's code without what could be somebody's address or number."""
    return _PERSONAL.sub("…", text)


def tone(state: DeliveryState) -> str:
    """How a state looks: good, bad, quiet (nothing was to be sent), moving."""
    if not state.terminal:
        return "moving"
    if state is DeliveryState.SENT:
        return "good"
    return "quiet" if state in (DeliveryState.SUPPRESSED, DeliveryState.CANCELLED) else "bad"
