"""Reading: one notification with its deliveries and timeline, pages of notifications."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, NotificationState, Priority, Reason, Receipt
from clarion_ledger.db import Connection, Pool, connection, of_app

REQUEST_ROLE = "clarion_gateway_request"


@dataclass(frozen=True, slots=True)
class NotificationRow:
    notification_id: UUID
    event_id: str
    category_id: int
    priority: Priority
    state: NotificationState
    accepted_at: datetime
    deliver_at: datetime | None
    expire_at: datetime
    recipient_count: int
    traceparent: str
    broadcast_id: UUID | None = None
    test: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    delivery_id: UUID
    recipient_ref: UUID
    channel: Channel
    state: DeliveryState
    reason: Reason | None
    receipt: Receipt | None
    lane: str
    provider_message_id: str
    attempts: int
    ambiguous: bool
    gates: bytes
    planned_at: datetime
    terminal_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventRow:
    at: datetime
    kind: EventKind
    delivery_id: UUID | None
    state: DeliveryState | None
    reason: Reason | None
    lane: str
    code: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything the ledger knows of a notification."""

    notification: NotificationRow
    deliveries: list[DeliveryRow]
    timeline: list[EventRow]


# Views and a function of 0026_hot_path.sql.
_NOTIFICATION = "SELECT * FROM ledger.notification_seen n"
_SCHEDULED = "SELECT * FROM ledger.schedule_seen s"
_WHOLE = "SELECT * FROM ledger.read_whole($1, $2)"
_BY_EVENT = """
SELECT notification_id FROM ledger.event_key k
WHERE app_id = $1 AND event_id = $2 AND epoch BETWEEN (SELECT epoch - 5 FROM ledger.event_epoch) AND (SELECT epoch FROM ledger.event_epoch)
"""
_LIST = f"""
({_NOTIFICATION} WHERE n.app_id = $1 AND n.id < $2 AND n.id >= $3 AND ($4::int4 IS NULL OR n.category_id = $4)
 ORDER BY n.id DESC LIMIT $5)
UNION ALL
({_SCHEDULED} WHERE s.app_id = $1 AND s.id < $2 AND s.id >= $3 AND ($4::int4 IS NULL OR s.category_id = $4)
 ORDER BY s.id DESC LIMIT $5)
ORDER BY id DESC LIMIT $5
"""
_LIST_OF_RECIPIENT = f"""
{_NOTIFICATION} WHERE n.id IN (
    SELECT DISTINCT d.notification_id FROM ledger.delivery d
    WHERE d.recipient_ref = $6 AND d.app_id = $1
) AND n.app_id = $1 AND n.id < $2 AND n.id >= $3 AND ($4::int4 IS NULL OR n.category_id = $4)
ORDER BY n.id DESC LIMIT $5
"""
_DELIVERY_COLUMNS = (
    "delivery_ids",
    "recipient_refs",
    "channels",
    "states",
    "reasons",
    "receipts",
    "lanes",
    "provider_message_ids",
    "attempts",
    "ambiguous",
    "gates",
    "planned_ats",
    "terminal_ats",
)
_EVENT_COLUMNS = (
    "event_ats",
    "event_kinds",
    "event_deliveries",
    "event_states",
    "event_reasons",
    "event_lanes",
    "event_codes",
    "event_attempts",
)
MAX_UUID = UUID(int=(1 << 128) - 1)
"""Sorts after every id: where the first page of a newest-first listing starts."""


async def find_by_event(pool: Pool, app_id: int, event_id: str) -> UUID | None:
    """The notification of an event id of the last 30 days. Raises LedgerUnavailable."""
    async with of_app(pool, app_id, REQUEST_ROLE) as db:
        found: UUID | None = await db.fetchval(_BY_EVENT, app_id, event_id)
    return found


async def whole(pool: Pool, app_id: int, notification_id: UUID) -> Whole | None:
    """One notification of an app, None if it is not there. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        row = await db.fetchrow(_WHOLE, app_id, notification_id)
    if row is None:
        return None
    deliveries = zip(*(row[name] or () for name in _DELIVERY_COLUMNS), strict=True)
    timeline = zip(*(row[name] or () for name in _EVENT_COLUMNS), strict=True)
    return Whole(_notification(row), [_delivery(*d) for d in deliveries], [_event(*e) for e in timeline])


async def page(
    pool: Pool,
    app_id: int,
    *,
    size: int,
    before: UUID,
    since: UUID,
    category_id: int | None = None,
    recipient_ref: UUID | None = None,
) -> list[NotificationRow]:
    """Notifications newest first, ids in [since, before); a scheduled one stands at its due time, and is not found by
    its recipients before it is planned. Raises LedgerUnavailable."""
    async with of_app(pool, app_id, REQUEST_ROLE) as db:
        if recipient_ref is None:
            rows = await db.fetch(_LIST, app_id, before, since, category_id, size)
        else:
            rows = await db.fetch(_LIST_OF_RECIPIENT, app_id, before, since, category_id, size, recipient_ref)
    return [_notification(row) for row in rows]


async def frame(db: Connection, sha256: bytes) -> bytes | None:
    """A serialised MailFrame."""
    found: bytes | None = await db.fetchval("SELECT frame FROM ledger.frame WHERE sha256 = $1", sha256)
    return found


def _notification(row: asyncpg.Record) -> NotificationRow:
    return NotificationRow(
        notification_id=row["id"],
        event_id=row["event_id"],
        category_id=row["category_id"],
        priority=Priority(row["priority"]),
        state=NotificationState(row["state"]),
        accepted_at=row["accepted_at"],
        deliver_at=row["deliver_at"],
        expire_at=row["expire_at"],
        recipient_count=row["recipient_count"],
        traceparent=row["traceparent"] or "",
        broadcast_id=row["broadcast_id"],
        test=row["test"],
    )


def _delivery(
    id_: UUID,
    recipient_ref: UUID,
    channel: int,
    state: int,
    reason: int,
    receipt: int,
    lane: str | None,
    provider_message_id: str | None,
    attempts: int,
    ambiguous: bool,
    gates: bytes | None,
    planned_at: datetime,
    terminal_at: datetime | None,
) -> DeliveryRow:
    return DeliveryRow(
        delivery_id=id_,
        recipient_ref=recipient_ref,
        channel=Channel(channel),
        state=DeliveryState(state),
        reason=_reason(reason),
        receipt=_receipt(receipt),
        lane=lane or "",
        provider_message_id=provider_message_id or "",
        attempts=attempts,
        ambiguous=ambiguous,
        gates=gates or b"",
        planned_at=planned_at,
        terminal_at=terminal_at,
    )


def _event(
    at: datetime,
    kind: int,
    delivery_id: UUID | None,
    state: int | None,
    reason: int | None,
    lane: str | None,
    code: str | None,
    attempt: int | None,
) -> EventRow:
    return EventRow(
        at=at,
        kind=EventKind(kind),
        delivery_id=delivery_id,
        state=DeliveryState(state) if state else None,
        reason=_reason(reason),
        lane=lane or "",
        code=code or "",
        attempt=attempt or 0,
    )


def _reason(value: int | None) -> Reason | None:
    return Reason(value) if value else None


def _receipt(value: int | None) -> Receipt | None:
    return Receipt(value) if value else None
