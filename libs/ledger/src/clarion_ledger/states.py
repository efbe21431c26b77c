"""The one transition table of notifications and deliveries, as data. The SQL of this package moves rows only along it."""

from collections.abc import Mapping

from clarion_kit.vocabulary import DeliveryState as D
from clarion_kit.vocabulary import NotificationState as N

_ENDS_EARLY = frozenset({D.SUPPRESSED, D.EXPIRED, D.CANCELLED})

NOTIFICATION_TRANSITIONS: Mapping[N, frozenset[N]] = {
    N.SCHEDULED: frozenset({N.ACCEPTED, N.CANCELLED, N.EXPIRED}),
    N.ACCEPTED: frozenset({N.PLANNED, N.CANCELLED, N.EXPIRED}),
    N.PLANNED: frozenset({N.DONE}),
    N.DONE: frozenset(),
    N.CANCELLED: frozenset(),
    N.EXPIRED: frozenset(),
}
"""PLANNED → DONE is derived: no delivery of it is in flight (adr/0001)."""

DELIVERY_TRANSITIONS: Mapping[D, frozenset[D]] = {
    D.READY: frozenset({D.ENQUEUED, D.HELD}) | _ENDS_EARLY,
    D.ENQUEUED: frozenset({D.LEASED, D.READY, D.HELD, D.DEAD_LETTERED}) | _ENDS_EARLY,
    D.LEASED: frozenset({D.SENT, D.FAILED, D.RETRY_WAIT, D.READY, D.DEFERRED, D.HELD, D.DEAD_LETTERED}) | _ENDS_EARLY,
    D.RETRY_WAIT: frozenset({D.ENQUEUED, D.READY, D.HELD, D.DEAD_LETTERED}) | _ENDS_EARLY,
    D.DEFERRED: frozenset({D.READY, D.ENQUEUED, D.HELD}) | _ENDS_EARLY,
    D.HELD: frozenset({D.READY, D.ENQUEUED, D.LEASED, D.DEAD_LETTERED}) | _ENDS_EARLY,
    D.WAITING: frozenset({D.READY, D.ENQUEUED}) | _ENDS_EARLY,
    D.SENT: frozenset(),
    D.FAILED: frozenset(),
    D.SUPPRESSED: frozenset(),
    D.EXPIRED: frozenset(),
    D.CANCELLED: frozenset(),
    D.DEAD_LETTERED: frozenset(),
}

IN_FLIGHT = tuple(state for state in D if not state.terminal)
TERMINAL = tuple(state for state in D if state.terminal)


def may_follow(before: D, after: D) -> bool:
    """Whether a delivery may go from one state to the other."""
    return after in DELIVERY_TRANSITIONS[before]
