"""What the console shows. No addresses, no content: nothing here names a person but the client's own ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from clarion_kit.vocabulary import (
    Channel,
    DeliveryState,
    EventKind,
    Gate,
    NotificationState,
    Priority,
    Reason,
    Receipt,
    StopReason,
    Verdict,
)


class Span(StrEnum):
    """How far back the funnel goes."""

    HOUR = "hour"
    DAY = "day"

    def begin(self, now: datetime) -> datetime:
        """The full hour from which it counts: at least that much is in it."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        return hour - (timedelta(hours=1) if self is Span.HOUR else timedelta(days=1))


@dataclass(frozen=True, slots=True)
class ChannelFunnel:
    """Deliveries of a channel by how they ended; those that were sent also by what came back, each counted at every rank it
    reached. `lost`: failed, expired or dead letter."""

    channel: Channel
    planned: int
    sent: int = 0
    suppressed: int = 0
    cancelled: int = 0
    lost: int = 0
    delivered: int = 0
    seen: int = 0
    clicked: int = 0

    @property
    def in_flight(self) -> int:
        return max(0, self.planned - self.sent - self.suppressed - self.cancelled - self.lost)


@dataclass(frozen=True, slots=True)
class Queue:
    """Rows that rest in one place; `oldest_seconds` negative: the first is due in that time."""

    stage: str
    state: str
    rows: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Stop:
    """A provider account that takes no work; `probe_at` None: only a person lets it go on."""

    reason: StopReason
    since: datetime
    probe_at: datetime | None


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider account: how it stands, what it holds, and its answers within the last minute."""

    app: str
    name: str
    kind: str
    channel: Channel
    enabled: bool
    stop: Stop | None = None
    in_flight: int = 0
    held: int = 0
    taken: int = 0
    refused: int = 0
    quality: Mapping[str, int] = field(default_factory=dict)
    """Percent of its weight that it keeps, by country, where that is not all of it."""


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything at one moment; the funnels count what was accepted or came due since `since`, and are a second behind."""

    at: datetime
    span: Span
    since: datetime
    funnels: Sequence[ChannelFunnel]
    queues: Sequence[Queue]
    providers: Sequence[Provider]


@dataclass(frozen=True, slots=True)
class Found:
    """A notification that a search found."""

    notification_id: UUID
    app: str
    event_id: str
    category: str
    priority: Priority
    state: NotificationState
    accepted_at: datetime
    recipients: int


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, in the order it did."""

    at: datetime
    kind: EventKind
    state: DeliveryState | None = None
    reason: Reason | None = None
    receipt: Receipt | None = None
    account: str = ""
    code: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class GateNote:
    """A gate that did not simply pass."""

    gate: Gate
    verdict: Verdict
    reason: Reason | None
    rule: str


@dataclass(frozen=True, slots=True)
class DeliveryFacts:
    """A delivery with what happened to it."""

    delivery_id: UUID
    recipient_ref: UUID
    channel: Channel
    state: DeliveryState
    reason: Reason | None
    receipt: Receipt | None
    account: str
    attempts: int
    ambiguous: bool
    planned_at: datetime
    terminal_at: datetime | None
    receipt_at: datetime | None
    provider_message_id: str = ""
    passed_up_to: Gate | None = None
    gates: Sequence[GateNote] = ()
    events: Sequence[Event] = ()


@dataclass(frozen=True, slots=True)
class NotificationFacts:
    """A notification with its deliveries. `trace_id` empty: it was not sampled."""

    found: Found
    expire_at: datetime
    deliver_at: datetime | None
    trace_id: str
    events: Sequence[Event]
    deliveries: Sequence[DeliveryFacts]
    deliveries_in_all: int
    """More than there are `deliveries` where those are too many for a page."""
