"""The audit compares independent records, so that it can fail (decisions: audit that can fail).

Each check counts contradictions; `unaccounted` is their sum. It reads one snapshot, so that work in progress is no
contradiction.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from clarion_ledger.db import Pool, connection

STUCK_AFTER = timedelta(minutes=10)
"""A row in flight without a lease, an enqueue or a due time is wrong at once; one overdue by this rests too long."""
FULL_TIMEOUT_SECONDS = 600

_SCOPE_N = "n.id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR n.app_id = $2)"
_SCOPE_D = "d.id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR d.app_id = $2)"
# uuidv7() may run some milliseconds ahead of the transaction's own now(), which stamps its events.
_OWN_EVENTS = "e.at >= $1::timestamptz - interval '1 minute'"

CHECKS: dict[str, str] = {
    # (a) accepted events = notifications, both ways
    "notification_without_accepted_event": f"""
        SELECT count(*) FROM ledger.notification n WHERE {_SCOPE_N} AND
        (SELECT count(*) FROM ledger.event e WHERE e.notification_id = n.id AND e.kind = 2 AND {_OWN_EVENTS}) <> 1""",
    "accepted_event_without_notification": """
        SELECT count(*) FROM ledger.event e WHERE e.at >= $1 AND e.kind = 2 AND ($2::int4 IS NULL OR e.app_id = $2)
        AND NOT EXISTS (SELECT FROM ledger.notification n WHERE n.id = e.notification_id)""",
    "scheduled_event_without_schedule": """
        SELECT count(*) FROM ledger.event e WHERE e.at >= $1 AND e.kind = 1 AND ($2::int4 IS NULL OR e.app_id = $2)
        AND NOT EXISTS (SELECT FROM ledger.schedule s WHERE s.notification_id = e.notification_id)
        AND NOT EXISTS (SELECT FROM ledger.notification n WHERE n.id = e.notification_id)""",
    "notification_lost_before_planning": f"""
        SELECT count(*) FROM ledger.notification n WHERE {_SCOPE_N} AND
        (n.state = 2) <> EXISTS (SELECT FROM ledger.plan_work w WHERE w.notification_id = n.id)""",
    # (b) planned_count = its deliveries
    "planned_count_differs": f"""
        SELECT count(*) FROM ledger.notification n WHERE {_SCOPE_N} AND n.state = 3 AND n.planned_count <>
        (SELECT count(*) FROM ledger.delivery d WHERE d.notification_id = n.id AND d.redrive_of IS NULL)""",
    # (c) delivery_work rows = non-terminal deliveries, both ways
    "delivery_in_flight_without_work": f"""
        SELECT count(*) FROM ledger.delivery d WHERE {_SCOPE_D} AND d.state < 20
        AND NOT EXISTS (SELECT FROM ledger.delivery_work w WHERE w.delivery_id = d.id)""",
    "work_without_delivery_in_flight": """
        SELECT count(*) FROM ledger.delivery_work w WHERE w.planned_at >= $1 AND ($2::int4 IS NULL OR w.app_id = $2)
        AND NOT EXISTS (SELECT FROM ledger.delivery d WHERE d.id = w.delivery_id AND d.state < 20)""",
    # (d) exactly one terminal event per terminal delivery, same state and reason
    "terminal_event_differs": f"""
        SELECT count(*) FROM ledger.delivery d WHERE {_SCOPE_D} AND (d.state >= 20)::int <>
        (SELECT count(*) FROM ledger.event e WHERE e.notification_id = d.notification_id AND e.delivery_id = d.id
         AND e.kind = 5 AND {_OWN_EVENTS})""",
    "terminal_event_contradicts": f"""
        SELECT count(*) FROM ledger.delivery d JOIN ledger.event e
        ON e.notification_id = d.notification_id AND e.delivery_id = d.id AND e.kind = 5 AND {_OWN_EVENTS}
        WHERE {_SCOPE_D} AND (e.state <> d.state OR coalesce(e.reason, 0) <> d.reason)""",
    # (e) each sent has an accepted attempt with the provider's id
    "sent_without_attempt": f"""
        SELECT count(*) FROM ledger.delivery d WHERE {_SCOPE_D} AND d.state = 20 AND NOT EXISTS (
            SELECT FROM ledger.attempt a WHERE a.delivery_id = d.id AND a.outcome = 1
            AND a.provider_message_id IS NOT DISTINCT FROM d.provider_message_id)""",
    "accepted_attempt_of_unsent": f"""
        SELECT count(*) FROM ledger.delivery d WHERE {_SCOPE_D} AND d.state IN (21, 22, 23, 24, 25) AND EXISTS (
            SELECT FROM ledger.attempt a WHERE a.delivery_id = d.id AND a.outcome = 1)""",
    # (f) nothing is in flight without a lease, an enqueue, or a due time
    "work_at_rest_nowhere": """
        SELECT count(*) FROM ledger.delivery_work w WHERE w.planned_at >= $1 AND ($2::int4 IS NULL OR w.app_id = $2) AND NOT (
            (w.state = 1 AND w.ready_since IS NOT NULL) OR (w.state = 2 AND w.enqueued_at IS NOT NULL)
            OR (w.state = 3 AND w.lease_until IS NOT NULL) OR (w.state IN (4, 5, 6, 7) AND w.due_at IS NOT NULL))""",
    "plan_work_at_rest_nowhere": """
        SELECT count(*) FROM ledger.plan_work w WHERE w.notification_id >= ledger.uuid_floor($1)
        AND ($2::int4 IS NULL OR w.app_id = $2) AND w.ready_since IS NULL AND w.enqueued_at IS NULL""",
    "in_flight_without_body": """
        SELECT count(*) FROM ledger.delivery_work w WHERE w.planned_at >= $1 AND ($2::int4 IS NULL OR w.app_id = $2)
        AND NOT EXISTS (SELECT FROM ledger.delivery_body b WHERE b.id = w.delivery_id)""",
}
"""Name → statement with $1 = since, $2 = app or NULL; each gives the number of contradictions."""

_TOTALS = """
SELECT (SELECT count(*) FROM ledger.notification n WHERE n.id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR n.app_id = $2)),
       (SELECT count(*) FROM ledger.schedule s WHERE $2::int4 IS NULL OR s.app_id = $2)
"""
_STATES = """
SELECT coalesce(w.state, d.state) AS state, count(*) AS n
FROM ledger.delivery d LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id
WHERE d.id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR d.app_id = $2) GROUP BY 1
"""
_STUCK = """
SELECT (SELECT count(*) FROM ledger.delivery_work w WHERE ($2::int4 IS NULL OR w.app_id = $2) AND
            (w.enqueued_at < now() - $1::interval OR w.due_at < now() - $1::interval OR w.ready_since < now() - $1::interval))
     + (SELECT count(*) FROM ledger.plan_work w WHERE ($2::int4 IS NULL OR w.app_id = $2) AND
            (w.enqueued_at < now() - $1::interval OR w.ready_since < now() - $1::interval))
"""


@dataclass(frozen=True, slots=True)
class Audit:
    """What one audit found. `states`: deliveries by state number; `stuck` is a warning, no contradiction."""

    accepted: int
    scheduled: int
    states: dict[int, int]
    findings: dict[str, int]
    stuck: int

    @property
    def unaccounted(self) -> int:
        return sum(self.findings.values())

    @property
    def deliveries(self) -> int:
        return sum(self.states.values())

    @property
    def in_flight(self) -> int:
        return sum(count for state, count in self.states.items() if state < 20) + self.scheduled


async def audit(pool: Pool, *, since: datetime, app_id: int | None = None) -> Audit:
    """Check everything planned or accepted since a moment, in one snapshot. Raises LedgerUnavailable."""
    findings: dict[str, int] = {}
    async with connection(pool) as db, db.transaction(isolation="repeatable_read", readonly=True):
        await db.execute(f"SET LOCAL statement_timeout = '{FULL_TIMEOUT_SECONDS}s'")
        await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        for name, statement in CHECKS.items():
            count = await db.fetchval(statement, since, app_id, timeout=FULL_TIMEOUT_SECONDS)
            if count:
                findings[name] = count
        totals = await db.fetchrow(_TOTALS, since, app_id, timeout=FULL_TIMEOUT_SECONDS)
        states = await db.fetch(_STATES, since, app_id, timeout=FULL_TIMEOUT_SECONDS)
        stuck = await db.fetchval(_STUCK, STUCK_AFTER, app_id, timeout=FULL_TIMEOUT_SECONDS)
    accepted, scheduled = totals or (0, 0)
    return Audit(accepted, scheduled, {row["state"]: row["n"] for row in states}, findings, stuck)
