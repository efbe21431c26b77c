"""What the ledger says of the demonstration's app. Read only."""

from dataclasses import dataclass
from datetime import datetime

from clarion_kit.vocabulary import Channel, DeliveryState, Priority, Reason, Receipt
from clarion_ledger.db import Pool, connection
from clarion_local.demo.report import DeliveryFact

_DELIVERIES = """
SELECT d.id, d.channel, coalesce(w.state, d.state) AS state, d.reason, d.receipt, d.priority, d.attempts, d.ambiguous,
       l.kind, d.provider_message_id, extract(epoch FROM d.terminal_at - n.accepted_at)::float8 AS seconds
FROM ledger.delivery d
JOIN ledger.notification n ON n.id = d.notification_id
LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id
LEFT JOIN ledger.lane l ON l.lane_id = d.lane_id
WHERE d.app_id = $1 AND d.id >= ledger.uuid_floor($2) AND n.accepted_at >= $2
"""
_PENDING = """
SELECT (SELECT count(*) FROM ledger.plan_work WHERE app_id = $1) AS to_plan,
       (SELECT count(*) FROM ledger.schedule WHERE app_id = $1) AS scheduled,
       (SELECT count(*) FROM ledger.delivery_work WHERE app_id = $1 AND state = 4) AS to_retry,
       (SELECT count(*) FROM ledger.delivery_work WHERE app_id = $1 AND state = 5) AS deferred,
       (SELECT count(*) FROM ledger.delivery_work WHERE app_id = $1 AND state = 6) AS held,
       (SELECT count(*) FROM ledger.delivery_work WHERE app_id = $1 AND state = 7) AS waiting,
       (SELECT count(*) FROM ledger.delivery_work WHERE app_id = $1 AND state < 4) AS to_send,
       (SELECT count(*) FROM ledger.delivery WHERE app_id = $1 AND id >= ledger.uuid_floor($2)
            AND channel = $3 AND state = 20 AND receipt = 0) AS receipts
"""
_SEEN = """
SELECT count(*) FROM ledger.delivery WHERE app_id = $1 AND id >= ledger.uuid_floor($2) AND receipt >= $3
"""


@dataclass(frozen=True, slots=True)
class Pending:
    """What is not finished: notifications to plan or scheduled, deliveries by what they wait for, SMS receipts."""

    to_plan: int
    scheduled: int
    to_send: int
    to_retry: int
    deferred: int
    held: int
    waiting: int
    receipts: int

    @property
    def total(self) -> int:
        return self.to_plan + self.scheduled + self.deliveries + self.receipts

    @property
    def deliveries(self) -> int:
        """Those that have not ended."""
        return self.to_send + self.to_retry + self.deferred + self.held + self.waiting

    def __str__(self) -> str:
        parts = {
            "to plan": self.to_plan,
            "scheduled": self.scheduled,
            "to send": self.to_send,
            "to retry": self.to_retry,
            "deferred": self.deferred,
            "held": self.held,
            "waiting": self.waiting,
            "receipts to come": self.receipts,
        }
        return ", ".join(f"{count} {what}" for what, count in parts.items() if count) or "nothing in flight"


async def now(pool: Pool) -> datetime:
    """The database's clock. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        moment: datetime = await db.fetchval("SELECT date_trunc('milliseconds', now())")
    return moment


async def pending(pool: Pool, app_id: int, since: datetime) -> Pending:
    """What is not finished now. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        row = await db.fetchrow(_PENDING, app_id, since, Channel.SMS)
    return Pending(**dict(row)) if row else Pending(0, 0, 0, 0, 0, 0, 0, 0)


async def seen(pool: Pool, app_id: int, since: datetime) -> int:
    """Deliveries planned since a moment that a person has opened. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        count: int = await db.fetchval(_SEEN, app_id, since, Receipt.SEEN)
    return count


async def deliveries(pool: Pool, app_id: int, since: datetime) -> list[DeliveryFact]:
    """Every delivery of the notifications accepted since a moment. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(_DELIVERIES, app_id, since)
    return [
        DeliveryFact(
            delivery_id=str(row["id"]),
            channel=Channel(row["channel"]),
            state=DeliveryState(row["state"]),
            reason=Reason(row["reason"]) if row["reason"] else None,
            receipt=Receipt(row["receipt"]) if row["receipt"] else None,
            priority=Priority(row["priority"]),
            attempts=row["attempts"],
            ambiguous=row["ambiguous"],
            kind=row["kind"] or "",
            message_id=row["provider_message_id"] or "",
            seconds=row["seconds"],
        )
        for row in rows
    ]
