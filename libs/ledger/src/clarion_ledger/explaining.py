"""What the ledger knows of why a notification's deliveries stand where they stand."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from clarion_kit.vocabulary import Channel, DeliveryState, Reason
from clarion_ledger.db import Pool, connection


@dataclass(frozen=True, slots=True)
class ToldDelivery:
    """A delivery with its gate record. `content` (sealed) is empty where there is none or it is kept no more; `said` and
    `said_reason`: of the last event that deferred or ended it; `step`, `due_at`, `locale`, `hint`: while it is in flight."""

    delivery_id: UUID
    recipient_ref: UUID
    channel: Channel
    state: DeliveryState
    reason: Reason | None
    gates: bytes
    lane_id: int | None
    template_version: int
    country: str
    locale: str
    hint: str
    step: int
    due_at: datetime | None
    said: str
    said_reason: Reason | None
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Told:
    """A notification's deliveries, none while it is not planned. `payload`: sealed, empty where it is kept no more."""

    event_id: str
    category_id: int
    payload: bytes = field(repr=False)
    deliveries: tuple[ToldDelivery, ...] = ()
    test: bool = False


_NOTIFICATION = """
SELECT f.*, EXISTS (SELECT FROM ledger.test_send t WHERE t.notification_id = $1) AS test FROM (
    SELECT n.event_id, n.category_id, b.payload
    FROM ledger.notification n LEFT JOIN ledger.notification_body b ON b.id = n.id
    WHERE n.id = $1 AND n.app_id = $2
    UNION ALL
    SELECT s.event_id, s.category_id, s.payload FROM ledger.schedule s WHERE s.notification_id = $1 AND s.app_id = $2
    LIMIT 1
) f
"""
_DELIVERIES = """
SELECT d.id, d.recipient_ref, d.channel, coalesce(w.state, d.state) AS state, d.reason, d.gates, coalesce(w.lane_id, d.lane_id) AS lane_id,
       d.template_version, d.country, w.locale, w.hint, w.step, nullif(w.due_at, 'infinity') AS due_at, b.content, e.code,
       e.reason AS said_reason
FROM ledger.delivery d
LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id
LEFT JOIN ledger.delivery_body b ON b.id = d.id
LEFT JOIN LATERAL (
    SELECT code, reason FROM ledger.event e
    WHERE e.notification_id = d.notification_id AND e.delivery_id = d.id AND e.kind IN (5, 11) ORDER BY e.at DESC, e.seq DESC LIMIT 1
) e ON true
WHERE d.notification_id = $1 AND d.app_id = $2 ORDER BY d.id
"""


async def told(pool: Pool, app_id: int, notification_id: UUID) -> Told | None:
    """A notification of an app, None if it is not there. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        row = await db.fetchrow(_NOTIFICATION, notification_id, app_id)
        if row is None:
            return None
        rows = await db.fetch(_DELIVERIES, notification_id, app_id)
    return Told(
        row["event_id"],
        row["category_id"],
        row["payload"] or b"",
        tuple(
            ToldDelivery(
                found["id"],
                found["recipient_ref"],
                Channel(found["channel"]),
                DeliveryState(found["state"]),
                Reason(found["reason"]) if found["reason"] else None,
                found["gates"] or b"",
                found["lane_id"],
                found["template_version"] or 0,
                found["country"] or "",
                found["locale"] or "",
                found["hint"] or "",
                found["step"] or 0,
                found["due_at"],
                found["code"] or "",
                Reason(found["said_reason"]) if found["said_reason"] else None,
                found["content"] or b"",
            )
            for found in rows
        ),
        row["test"],
    )
