"""The rules of statistics: which window, and how counted deliveries become a funnel. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel, DeliveryState, Reason, Receipt

DEFAULT_SPAN = timedelta(hours=24)
LONGEST_SPAN = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Counted:
    """How many deliveries of a channel share state, reason and receipt."""

    channel: Channel
    state: DeliveryState
    reason: Reason | None
    receipt: Receipt | None
    count: int


@dataclass(frozen=True, slots=True)
class Funnel:
    """Notifications accepted and deliveries counted in a window."""

    accepted: int
    rows: list[Counted]


@dataclass(frozen=True, slots=True)
class ChannelFunnel:
    """Deliveries of one channel by lower-case names."""

    by_state: Counter[str] = field(default_factory=Counter)
    by_reason: Counter[str] = field(default_factory=Counter)
    by_receipt: Counter[str] = field(default_factory=Counter)


def window(since: datetime | None, until: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """The moments [since, until) to count between. Raises DomainError INVALID_FIELD."""
    until = until or now
    since = since or until - DEFAULT_SPAN
    faults = Faults()
    faults.require("since", since < until, "must be before until")
    faults.require("since", until - since <= LONGEST_SPAN, "must be at most 31 days before until")
    faults.raise_if_any()
    return since, until


def by_channel(rows: Iterable[Counted]) -> dict[Channel, ChannelFunnel]:
    """The funnel of each channel that has deliveries, in the channels' order."""
    found: dict[Channel, ChannelFunnel] = {}
    for row in sorted(rows, key=lambda row: row.channel):
        funnel = found.setdefault(row.channel, ChannelFunnel())
        funnel.by_state[row.state.name.lower()] += row.count
        if row.state is DeliveryState.SENT:
            if row.receipt is not None:
                funnel.by_receipt[row.receipt.name.lower()] += row.count
        elif row.state.terminal and row.reason is not None:
            funnel.by_reason[row.reason.name.lower()] += row.count
    return found
