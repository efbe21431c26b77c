"""Reading: one notification with its deliveries and timeline, pages of notifications."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, NotificationState, Priority, Reason, Receipt
from clarion_ledger.db import Connection, Pool, of_app

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


_NOTIFICATION = """
SELECT id, event_id, category_id, priority, accepted_at, NULL::timestamptz AS deliver_at, expire_at, recipient_count, traceparent,
       broadcast_id, EXISTS (SELECT FROM ledger.test_send t WHERE t.notification_id = n.id) AS test,
       CASE WHEN state = 3 AND NOT EXISTS (SELECT FROM ledger.delivery_work w WHERE w.notification_id = n.id)
            THEN 4 ELSE state END AS state
FROM ledger.notification n
"""
_SCHEDULED = """
SELECT notification_id AS id, event_id, category_id, priority, accepted_at, deliver_at, expire_at, recipient_count, traceparent,
       NULL::uuid AS broadcast_id, EXISTS (SELECT FROM ledger.test_send t WHERE t.notification_id = s.notification_id) AS test,
       1::int2 AS state
FROM ledger.schedule s
"""
# One statement each, because a schedule that is due moves to the notifications between two.
_WHOLE = f"""
{_NOTIFICATION} WHERE n.id = $1 AND n.app_id = $2
UNION ALL
{_SCHEDULED} WHERE s.notification_id = $1 AND s.app_id = $2
"""
_BY_EVENT = """
SELECT notification_id FROM ledger.event_key k
WHERE app_id = $1 AND event_id = $2 AND epoch BETWEEN (SELECT epoch - 5 FROM ledger.event_epoch) AND (SELECT epoch FROM ledger.event_epoch)
"""
_DELIVERIES = """
SELECT d.id, d.recipient_ref, d.channel, coalesce(w.state, d.state) AS state, d.reason, d.receipt, l.name AS lane,
       d.provider_message_id, coalesce(w.attempt, d.attempts) AS attempts, d.ambiguous OR coalesce(w.ambiguous, false) AS ambiguous,
       d.gates, d.planned_at, d.terminal_at
FROM ledger.delivery d
LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id
LEFT JOIN ledger.lane l ON l.lane_id = d.lane_id
WHERE d.notification_id = $1 ORDER BY d.planned_at, d.recipient_ref, d.channel, d.id
"""
_TIMELINE = """
SELECT e.at, e.kind, e.delivery_id, e.state, e.reason, l.name AS lane, e.code, e.attempt
FROM ledger.event e LEFT JOIN ledger.lane l ON l.lane_id = e.lane_id
WHERE e.notification_id = $1 AND e.at >= $2 ORDER BY e.at, e.xid, e.seq
"""
_LIST = f"""
({_NOTIFICATION} WHERE n.app_id = $1 AND n.id < $2 AND n.id >= $3 AND ($4::int4 IS NULL OR n.category_id = $4)
 ORDER BY n.id DESC LIMIT $5)
UNION ALL
({_SCHEDULED} WHERE s.app_id = $1 AND s.notification_id < $2 AND s.notification_id >= $3
                    AND ($4::int4 IS NULL OR s.category_id = $4)
 ORDER BY s.notification_id DESC LIMIT $5)
ORDER BY id DESC LIMIT $5
"""
_LIST_OF_RECIPIENT = f"""
{_NOTIFICATION} WHERE n.id IN (
    SELECT DISTINCT d.notification_id FROM ledger.delivery d
    WHERE d.recipient_ref = $6 AND d.app_id = $1
) AND n.app_id = $1 AND n.id < $2 AND n.id >= $3 AND ($4::int4 IS NULL OR n.category_id = $4)
ORDER BY n.id DESC LIMIT $5
"""
MAX_UUID = UUID(int=(1 << 128) - 1)
"""Sorts after every id: where the first page of a newest-first listing starts."""


async def find_by_event(pool: Pool, app_id: int, event_id: str) -> UUID | None:
    """The notification of an event id of the last 30 days. Raises LedgerUnavailable."""
    async with of_app(pool, app_id, REQUEST_ROLE) as db:
        found: UUID | None = await db.fetchval(_BY_EVENT, app_id, event_id)
    return found


async def whole(pool: Pool, app_id: int, notification_id: UUID) -> Whole | None:
    """One notification of an app, None if it is not there. Raises LedgerUnavailable."""
    async with of_app(pool, app_id, REQUEST_ROLE) as db:
        row = await db.fetchrow(_WHOLE, notification_id, app_id)
        if row is None:
            return None
        deliveries = await db.fetch(_DELIVERIES, notification_id)
        timeline = await db.fetch(_TIMELINE, notification_id, row["accepted_at"])
    return Whole(_notification(row), [_delivery(d) for d in deliveries], [_event(e) for e in timeline])


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


def _delivery(row: asyncpg.Record) -> DeliveryRow:
    return DeliveryRow(
        delivery_id=row["id"],
        recipient_ref=row["recipient_ref"],
        channel=Channel(row["channel"]),
        state=DeliveryState(row["state"]),
        reason=_reason(row["reason"]),
        receipt=_receipt(row["receipt"]),
        lane=row["lane"] or "",
        provider_message_id=row["provider_message_id"] or "",
        attempts=row["attempts"],
        ambiguous=row["ambiguous"],
        gates=row["gates"] or b"",
        planned_at=row["planned_at"],
        terminal_at=row["terminal_at"],
    )


def _event(row: asyncpg.Record) -> EventRow:
    return EventRow(
        at=row["at"],
        kind=EventKind(row["kind"]),
        delivery_id=row["delivery_id"],
        state=DeliveryState(row["state"]) if row["state"] else None,
        reason=_reason(row["reason"]),
        lane=row["lane"] or "",
        code=row["code"] or "",
        attempt=row["attempt"] or 0,
    )


def _reason(value: int | None) -> Reason | None:
    return Reason(value) if value else None


def _receipt(value: int | None) -> Receipt | None:
    return Receipt(value) if value else None
