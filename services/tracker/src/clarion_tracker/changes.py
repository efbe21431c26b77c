"""What the feed tells: one change, and which changes somebody wants. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Reason, Receipt
from clarion_tracker.positions import Position


@dataclass(frozen=True, slots=True)
class Change:
    """An event of the ledger with what it is about. What concerns the notification itself has no delivery; `receipt`: what a
    receipt raised the delivery to; `event_id` and `category` are empty where the notification is gone."""

    xid: int
    seq: int
    at: datetime
    app_id: int
    kind: EventKind
    notification_id: UUID
    event_id: str = ""
    category: str = ""
    delivery_id: UUID | None = None
    recipient_ref: UUID | None = None
    channel: Channel | None = None
    state: DeliveryState | None = None
    reason: Reason | None = None
    receipt: Receipt | None = None
    provider: str = ""
    code: str = ""
    attempt: int = 0

    @property
    def place(self) -> tuple[int, int]:
        return self.xid, self.seq

    @property
    def position(self) -> Position:
        return Position(self.xid, self.seq, self.at)

    @property
    def change_id(self) -> str:
        """The same wherever and however often it is told."""
        return f"{self.xid}-{self.seq}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter; what is empty lets everything through."""

    channels: frozenset[Channel] = field(default=frozenset())
    kinds: frozenset[EventKind] = field(default=frozenset())
    states: frozenset[DeliveryState] = field(default=frozenset())
    categories: frozenset[str] = field(default=frozenset())
    notification_ids: frozenset[UUID] = field(default=frozenset())
    recipient_ref: UUID | None = None

    def of(self, changes: Iterable[Change]) -> list[Change]:
        return [change for change in changes if self.takes(change)]

    def takes(self, change: Change) -> bool:
        return (
            (not self.channels or change.channel in self.channels)
            and (not self.kinds or change.kind in self.kinds)
            and (not self.states or change.state in self.states)
            and (not self.categories or change.category in self.categories)
            and (not self.notification_ids or change.notification_id in self.notification_ids)
            and self.recipient_ref in (None, change.recipient_ref)
        )
