"""Cancelling what no provider has seen yet."""

from dataclasses import dataclass
from uuid import UUID

from clarion_kit.vocabulary import NotificationState
from clarion_ledger.db import Pool, of_app
from clarion_ledger.reading import REQUEST_ROLE


@dataclass(frozen=True, slots=True)
class Cancelled:
    """State of the notification now, deliveries ended by this call, deliveries it could not touch."""

    state: NotificationState
    cancelled: int
    unaffected: int


_UNSCHEDULE = """
WITH gone AS (
    DELETE FROM ledger.schedule WHERE notification_id = $1 AND app_id = $2
    RETURNING accepted_at, expire_at, notification_id, app_id, category_id, recipient_count, priority, event_id, traceparent
), stored AS (
    INSERT INTO ledger.notification (accepted_at, expire_at, id, app_id, category_id, recipient_count, priority, state, event_id,
                                     traceparent)
    SELECT accepted_at, expire_at, notification_id, app_id, category_id, recipient_count, priority, 5, event_id, traceparent FROM gone
), happened AS (
    INSERT INTO ledger.event (notification_id, app_id, kind)
    SELECT notification_id, app_id, kind FROM gone CROSS JOIN (VALUES (2), (7)) AS k (kind)
)
SELECT count(*) FROM gone
"""
_UNPLAN = """
WITH gone AS (
    DELETE FROM ledger.plan_work WHERE notification_id = $1 AND app_id = $2 RETURNING notification_id, app_id
), ended AS (
    UPDATE ledger.notification n SET state = 5 FROM gone g WHERE n.id = g.notification_id
), happened AS (
    INSERT INTO ledger.event (notification_id, app_id, kind) SELECT notification_id, app_id, 7 FROM gone
)
SELECT count(*) FROM gone
"""
_END_DELIVERIES = """
WITH picked AS (
    SELECT delivery_id FROM ledger.delivery_work
    WHERE notification_id = $1 AND app_id = $2 AND state <> 3 ORDER BY delivery_id FOR UPDATE SKIP LOCKED
), ended AS (
    DELETE FROM ledger.delivery_work w USING picked p WHERE w.delivery_id = p.delivery_id RETURNING w.*
), deliveries AS (
    UPDATE ledger.delivery d SET state = 24, reason = 70, attempts = e.attempt, ambiguous = e.ambiguous, terminal_at = now()
    FROM ended e WHERE d.id = e.delivery_id
), happened AS (
    INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, reason, attempt)
    SELECT notification_id, delivery_id, app_id, lane_id, 5, 24, 70, attempt FROM ended
)
SELECT count(*) FROM ended
"""


async def cancel(pool: Pool, app_id: int, notification_id: UUID) -> Cancelled | None:
    """Cancel a notification of an app, None if it is not there. Idempotent. Raises LedgerUnavailable."""
    async with of_app(pool, app_id, REQUEST_ROLE) as db:
        for statement in (_UNSCHEDULE, _UNPLAN):
            if await db.fetchval(statement, notification_id, app_id):
                return Cancelled(NotificationState.CANCELLED, 0, 0)
        state = await db.fetchval(
            "SELECT state FROM ledger.notification WHERE id = $1 AND app_id = $2", notification_id, app_id
        )
        if state is None:
            return None
        ended = await db.fetchval(_END_DELIVERIES, notification_id, app_id)
        in_flight, deliveries = await db.fetchrow(
            """SELECT (SELECT count(*) FROM ledger.delivery_work WHERE notification_id = $1),
                      (SELECT count(*) FROM ledger.delivery WHERE notification_id = $1)""",
            notification_id,
        ) or (0, 0)
    final = NotificationState(state)
    if final is NotificationState.PLANNED and not in_flight:
        final = NotificationState.DONE
    return Cancelled(final, ended, deliveries - ended)
