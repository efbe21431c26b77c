"""What statistics count, and what follows from the counts. Pure."""

from dataclasses import dataclass, fields
from typing import Self

from clarion_kit.vocabulary import DeliveryState, Reason


@dataclass(frozen=True, slots=True)
class Counts:
    """Notifications accepted and what became of their deliveries. A click implies an open, an open a delivery; what machines
    opened and clicked is in none of these. Fields are columns of the rollups, in the order of their measures."""

    accepted: int = 0
    planned: int = 0
    sent: int = 0
    failed: int = 0
    suppressed: int = 0
    expired: int = 0
    cancelled: int = 0
    dead_lettered: int = 0
    delivered: int = 0
    undelivered: int = 0
    opened: int = 0
    clicked: int = 0
    machine_opened: int = 0
    machine_clicked: int = 0
    unsubscribed: int = 0
    converted: int = 0

    @property
    def ended(self) -> int:
        """Deliveries in a terminal state."""
        return self.sent + self.failed + self.suppressed + self.expired + self.cancelled + self.dead_lettered

    @property
    def in_flight(self) -> int:
        return self.planned - self.ended

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in MEASURES))


MEASURES = tuple(field.name for field in fields(Counts))
"""Columns of the rollups; a measure is its place here, from 1."""
OF_STATE = {
    DeliveryState.SENT: "sent",
    DeliveryState.FAILED: "failed",
    DeliveryState.SUPPRESSED: "suppressed",
    DeliveryState.EXPIRED: "expired",
    DeliveryState.CANCELLED: "cancelled",
    DeliveryState.DEAD_LETTERED: "dead_lettered",
}


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares from 0 to 1, None where there is nothing to divide by. Sent and suppressed are of the planned, delivered of those
    that a receipt came for; the others of the sent."""

    sent: float | None
    suppressed: float | None
    delivered: float | None
    opened: float | None
    clicked: float | None
    converted: float | None
    unsubscribed: float | None


def rates(counts: Counts) -> Rates:
    """The rates of a group."""
    return Rates(
        sent=_share(counts.sent, counts.planned),
        suppressed=_share(counts.suppressed, counts.planned),
        delivered=_share(counts.delivered, counts.delivered + counts.undelivered),
        opened=_share(counts.opened, counts.sent),
        clicked=_share(counts.clicked, counts.sent),
        converted=_share(counts.converted, counts.sent),
        unsubscribed=_share(counts.unsubscribed, counts.sent),
    )


def _share(part: int, whole: int) -> float | None:
    # An event may be counted of what another window sent, and people convert more than once.
    return min(1.0, part / whole) if whole > 0 else None


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """Deliveries that ended in a state for a reason."""

    state: DeliveryState
    reason: Reason
    count: int


def by_state(counts: Counts) -> dict[str, int]:
    """Deliveries by state, those in flight as one; without zeros."""
    found = {name: getattr(counts, name) for name in OF_STATE.values()}
    return {name: count for name, count in {"in_flight": counts.in_flight, **found}.items() if count}


def by_receipt(counts: Counts) -> dict[str, int]:
    """Deliveries by the highest receipt that came for each; without zeros."""
    found = {
        "undelivered": counts.undelivered,
        "delivered": counts.delivered - counts.opened,
        "seen": counts.opened - counts.clicked,
        "clicked": counts.clicked,
    }
    return {name: count for name, count in found.items() if count > 0}
