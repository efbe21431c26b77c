"""What the gates CAPS and CONTENT_DEDUPE ask of the rate limiter, and what follows from its answers. No I/O.

A cap is a set of delivery ids within a window, so that the same delivery counts once however often it is asked for. A
calendar period is a set of its own, named by its first day in the recipient's zone. The same content on one address is a
set that holds one delivery.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

from clarion_kit.vocabulary import Channel
from clarion_ledger.config import Cap, CapPeriod

NEAR_LIMIT_PERCENT = 80
"""A cap says that it is near once so much of it is used."""
_LATEST_HOUR = timedelta(hours=2)
"""A set outlives its period by this much, so that no entry of it is forgotten within."""


@dataclass(frozen=True, slots=True)
class Dedupe:
    """The same content once within `window` on an address; `digest` is keyed by the app."""

    address_id: bytes
    digest: bytes
    window: timedelta


@dataclass(frozen=True, slots=True)
class CapQuery:
    """One delivery against the caps of its category that apply to its channel, and against what was sent a moment ago."""

    app_id: int
    delivery_id: UUID
    recipient_ref: bytes
    category: str
    channel: Channel
    caps: tuple[Cap, ...]
    zone: str = ""
    dedupe: Dedupe | None = None

    @property
    def asks(self) -> bool:
        return bool(self.caps) or self.dedupe is not None


@dataclass(frozen=True, slots=True)
class Taken:
    """What one SMS took of a budget, in the period that `generation` names."""

    budget_id: int
    generation: int
    segments: int


@dataclass(frozen=True, slots=True)
class CapAnswer:
    """`unchecked`: nobody could say, so it may go. `rule` of what is allowed: why it may go over a limit. `shadow`: rules on
    trial that would have stopped it. `near`: the rules that are nearly used up. `retry_after`: when there may be room again,
    where it is not allowed and that can be known. `duplicate`: the same content was sent a moment ago. `taken`: what it took of
    SMS budgets."""

    allowed: bool
    unchecked: bool = False
    rule: str = ""
    shadow: str = ""
    near: str = ""
    retry_after: timedelta | None = None
    duplicate: bool = False
    taken: tuple[Taken, ...] = ()


class Caps(Protocol):
    """Implemented over the rate limiter."""

    async def acquire(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        """In order. Never raises for a limiter that is away: caps fail open and say so."""
        ...

    async def peek(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        """What `acquire` would say now, without taking."""
        ...


class NoCaps:
    """Implements `Caps`: everything may go."""

    async def acquire(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        return [CapAnswer(True)] * len(queries)

    async def peek(self, queries: Sequence[CapQuery]) -> list[CapAnswer]:
        return [CapAnswer(True)] * len(queries)


@dataclass(frozen=True, slots=True)
class WindowLimit:
    """A limit as the limiter counts it. `ends_at`: when a calendar period ends, None of what slides."""

    key: str
    limit: int
    window: timedelta
    rule: str
    ends_at: datetime | None = None
    duplicate: bool = False


def caps_for(caps: Sequence[Cap], channel: Channel, *, test: bool) -> tuple[Cap, ...]:
    """Those that a delivery counts in; a test send only in those of the whole app."""
    return tuple(cap for cap in caps if cap.channel in (None, channel) and (cap.whole_app or not test))


def limits_of(query: CapQuery, now: datetime, *, shadow: bool) -> list[WindowLimit]:
    """Those that stop, or those on trial, in the order of the gates. `now` is aware."""
    made: list[WindowLimit] = []
    if query.dedupe is not None and not shadow:
        dedupe = query.dedupe
        key = f"d:{dedupe.address_id.hex()}:{query.category}:{dedupe.digest[:12].hex()}"
        rule = f"category {query.category}: same content within {dedupe.window}"
        made.append(WindowLimit(key, 1, dedupe.window, rule, duplicate=True))
    for cap in query.caps:
        limit = _cap_limit(query, cap, now)
        if cap.shadow is shadow and limit.key not in {other.key for other in made}:
            made.append(limit)
    return made


def period_bounds(period: CapPeriod, zone: tzinfo, now: datetime) -> tuple[date, datetime]:
    """First day of the period that `now` (aware) is in, and the moment at which the next one begins; both as the zone's
    calendar has them, whatever its clocks did on the way."""
    today = now.astimezone(zone).date()
    match period:
        case CapPeriod.DAY:
            first, following = today, today + timedelta(days=1)
        case CapPeriod.WEEK:
            first = today - timedelta(days=today.weekday())
            following = first + timedelta(days=7)
        case CapPeriod.MONTH:
            first = today.replace(day=1)
            following = (first + timedelta(days=31)).replace(day=1)
    midnight = datetime.combine(following, datetime.min.time(), zone)
    # Where midnight does not exist, the day begins after the gap: the round trip moves there.
    return first, midnight.astimezone(UTC)


def zone_of(name: str) -> tzinfo:
    """The zone of that name, UTC for one that is not known."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not found, not a name, not a file
        return UTC


def near_limit(limits: Sequence[WindowLimit], lefts: Sequence[int]) -> str:
    """The rules that are nearly used up; `lefts` is what each limit has left. None where that is not told of each."""
    if len(lefts) != len(limits):
        return ""
    return "; ".join(
        limit.rule
        for limit, left in zip(limits, lefts, strict=True)
        if not limit.duplicate and left * 100 <= limit.limit * (100 - NEAR_LIMIT_PERCENT)
    )


def wait_of(limit: WindowLimit, retry_after: timedelta, now: datetime) -> timedelta:
    """How long until a closed limit has room: a sliding window says it itself, a calendar period when it ends."""
    return retry_after if limit.ends_at is None else max(limit.ends_at - now, timedelta(0))


def _cap_limit(query: CapQuery, cap: Cap, now: datetime) -> WindowLimit:
    scope = cap.channel.slug if cap.channel else "all"
    owner = "a" if cap.whole_app else f"r:{query.recipient_ref.hex()}"
    key = f"{owner}:{query.category}:{scope}"
    where = cap.channel.slug if cap.channel else "all channels"
    whose = " of the app" if cap.whole_app else ""
    if cap.period is None:
        rule = f"category {query.category}: {cap.limit} per {cap.window} on {where}{whose}"
        return WindowLimit(f"{key}:{int(cap.window.total_seconds())}", cap.limit, cap.window, rule)
    zone = UTC if cap.whole_app else zone_of(query.zone)
    first, ends_at = period_bounds(cap.period, zone, now)
    began_at = datetime.combine(first, datetime.min.time(), zone)
    name = cap.period.name.lower()
    return WindowLimit(
        f"{key}:{name[0]}{first.isoformat()}",
        cap.limit,
        ends_at - began_at + _LATEST_HOUR,
        f"category {query.category}: {cap.limit} per {name} on {where}{whose}",
        ends_at,
    )
