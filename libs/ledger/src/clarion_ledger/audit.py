"""The audit compares independent records, so that it can fail (decisions: audit that can fail).

Each check counts contradictions; `unaccounted` is their sum. It reads one snapshot, so that work in progress is no
contradiction. `audit` looks at a span of time, `Auditor` follows the events and looks at what they touched.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from clarion_kit.vocabulary import Channel
from clarion_ledger.db import Connection, Pool, connection

STUCK_AFTER = timedelta(minutes=10)
"""A row in flight without a lease, an enqueue or a due time is wrong at once; one overdue by this rests too long."""
FULL_TIMEOUT_SECONDS = 600
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Before every ledger: an audit since then is full."""


@dataclass(frozen=True, slots=True)
class _Scope:
    """Conditions that narrow an audit, by alias of the table: notification n, delivery d, event e, work w, plan work p,
    broadcast b. `own`: on the events of a notification in scope."""

    n: str
    d: str
    e: str
    w: str
    p: str
    b: str
    own: str


_SINCE = _Scope(
    n="n.id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR n.app_id = $2)",
    d="d.id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR d.app_id = $2)",
    e="e.at >= $1 AND ($2::int4 IS NULL OR e.app_id = $2)",
    w="w.planned_at >= $1 AND ($2::int4 IS NULL OR w.app_id = $2)",
    p="p.notification_id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR p.app_id = $2)",
    b="b.broadcast_id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR b.app_id = $2)",
    # uuidv7() may run some milliseconds ahead of the transaction's own now(), which stamps its events.
    own="e.at >= $1::timestamptz - interval '1 minute'",
)
_TOUCHED = _Scope(
    n="n.id = ANY ($1::uuid[])",
    d="d.notification_id = ANY ($1::uuid[])",
    e="e.notification_id = ANY ($1::uuid[])",
    w="w.notification_id = ANY ($1::uuid[])",
    p="p.notification_id = ANY ($1::uuid[])",
    # Only what happens to a broadcast itself touches it: counting its children after each of them would cost their square.
    b="b.broadcast_id = ANY ($1::uuid[])",
    own="true",
)

CHECKS: Mapping[str, Callable[[_Scope], str]] = {
    # (a) accepted events = notifications, both ways
    "notification_without_accepted_event": lambda s: (
        f"""
        SELECT n.id FROM ledger.notification n WHERE {s.n} AND
        (SELECT count(*) FROM ledger.event e WHERE e.notification_id = n.id AND e.kind = 2 AND {s.own}) <> 1"""
    ),
    "accepted_event_without_notification": lambda s: (
        f"""
        SELECT e.notification_id FROM ledger.event e WHERE {s.e} AND e.kind = 2
        AND NOT EXISTS (SELECT FROM ledger.notification n WHERE n.id = e.notification_id)"""
    ),
    "scheduled_event_without_schedule": lambda s: (
        f"""
        SELECT e.notification_id FROM ledger.event e WHERE {s.e} AND e.kind = 1
        AND NOT EXISTS (SELECT FROM ledger.schedule s WHERE s.notification_id = e.notification_id)
        AND NOT EXISTS (SELECT FROM ledger.notification n WHERE n.id = e.notification_id)"""
    ),
    "notification_lost_before_planning": lambda s: (
        f"""
        SELECT n.id FROM ledger.notification n WHERE {s.n} AND
        (n.state = 2) <> EXISTS (SELECT FROM ledger.plan_work p WHERE p.notification_id = n.id)"""
    ),
    # (b) planned_count = its deliveries
    "planned_count_differs": lambda s: (
        f"""
        SELECT n.id FROM ledger.notification n WHERE {s.n} AND n.state = 3 AND n.planned_count <>
        (SELECT count(*) FROM ledger.delivery d WHERE d.notification_id = n.id AND d.redrive_of IS NULL)"""
    ),
    # (c) delivery_work rows = non-terminal deliveries, both ways
    "delivery_in_flight_without_work": lambda s: (
        f"""
        SELECT d.notification_id FROM ledger.delivery d WHERE {s.d} AND d.state < 20
        AND NOT EXISTS (SELECT FROM ledger.delivery_work w WHERE w.delivery_id = d.id)"""
    ),
    "work_without_delivery_in_flight": lambda s: (
        f"""
        SELECT w.notification_id FROM ledger.delivery_work w WHERE {s.w}
        AND NOT EXISTS (SELECT FROM ledger.delivery d WHERE d.id = w.delivery_id AND d.state < 20)"""
    ),
    # (d) exactly one terminal event per terminal delivery, same state and reason
    "terminal_event_differs": lambda s: (
        f"""
        SELECT d.notification_id FROM ledger.delivery d WHERE {s.d} AND (d.state >= 20)::int <>
        (SELECT count(*) FROM ledger.event e WHERE e.notification_id = d.notification_id AND e.delivery_id = d.id
         AND e.kind = 5 AND {s.own})"""
    ),
    "terminal_event_contradicts": lambda s: (
        f"""
        SELECT d.notification_id FROM ledger.delivery d JOIN ledger.event e
        ON e.notification_id = d.notification_id AND e.delivery_id = d.id AND e.kind = 5 AND {s.own}
        WHERE {s.d} AND (e.state <> d.state OR coalesce(e.reason, 0) <> d.reason)"""
    ),
    # (e) each sent has an accepted attempt with the provider's id
    "sent_without_attempt": lambda s: (
        f"""
        SELECT d.notification_id FROM ledger.delivery d WHERE {s.d} AND d.state = 20 AND NOT EXISTS (
            SELECT FROM ledger.attempt a WHERE a.delivery_id = d.id AND a.outcome = 1
            AND a.provider_message_id IS NOT DISTINCT FROM d.provider_message_id)"""
    ),
    "accepted_attempt_of_unsent": lambda s: (
        f"""
        SELECT d.notification_id FROM ledger.delivery d WHERE {s.d} AND d.state IN (21, 22, 23, 24, 25) AND EXISTS (
            SELECT FROM ledger.attempt a WHERE a.delivery_id = d.id AND a.outcome = 1)"""
    ),
    # (f) nothing is in flight without a lease, an enqueue, or a due time
    "work_at_rest_nowhere": lambda s: (
        f"""
        SELECT w.notification_id FROM ledger.delivery_work w WHERE {s.w} AND NOT (
            (w.state = 1 AND w.ready_since IS NOT NULL) OR (w.state = 2 AND w.enqueued_at IS NOT NULL)
            OR (w.state = 3 AND w.lease_until IS NOT NULL) OR (w.state IN (4, 5, 6, 7) AND w.due_at IS NOT NULL))"""
    ),
    "plan_work_at_rest_nowhere": lambda s: (
        f"""
        SELECT p.notification_id FROM ledger.plan_work p WHERE {s.p} AND p.ready_since IS NULL AND p.enqueued_at IS NULL"""
    ),
    # what waits, waits for something: a step of an escalation or an open digest window
    "waiting_for_nothing": lambda s: (
        f"""
        SELECT w.notification_id FROM ledger.delivery_work w WHERE {s.w} AND w.state = 7 AND w.until IS NULL
        AND NOT EXISTS (SELECT FROM ledger.digest g WHERE g.digest_id = w.digest_id)"""
    ),
    # a member of a digest and the delivery that went in its place are of one recipient
    "merged_into_nothing": lambda s: (
        f"""
        SELECT d.notification_id FROM ledger.delivery d WHERE {s.d} AND d.state = 22 AND d.reason = 15 AND NOT EXISTS (
            SELECT FROM ledger.delivery c WHERE c.id = d.merged_into AND c.id <> d.id AND c.recipient_ref = d.recipient_ref
            AND (c.state, c.reason) <> (22, 15))"""
    ),
    # (g) a redrive and its dead letter name each other
    "redrive_without_letter": lambda s: (
        f"""
        SELECT d.notification_id FROM ledger.delivery d WHERE {s.d} AND d.redrive_of IS NOT NULL
        AND NOT EXISTS (SELECT FROM ledger.dead_letter l WHERE l.delivery_id = d.redrive_of AND l.redriven_as = d.id)"""
    ),
    # (h) what a broadcast counted = its children and their deliveries
    "broadcast_counts_differ": lambda s: (
        f"""
        SELECT b.broadcast_id FROM ledger.broadcast b CROSS JOIN LATERAL (
            SELECT count(*) AS children, coalesce(sum(n.planned_count), 0) AS deliveries FROM ledger.notification n
            WHERE n.id >= ledger.uuid_floor(uuid_extract_timestamp(b.broadcast_id))
            AND n.id < ledger.uuid_floor(uuid_extract_timestamp(b.broadcast_id) + interval '1 ms') AND n.broadcast_id = b.broadcast_id) c
        WHERE {s.b} AND (b.planned <> c.children OR b.deliveries + b.suppressed <> c.deliveries)"""
    ),
    "child_of_no_broadcast": lambda s: (
        f"""
        SELECT n.id FROM ledger.notification n WHERE {s.n} AND n.broadcast_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM ledger.broadcast b WHERE b.broadcast_id = n.broadcast_id)"""
    ),
    # (i) what an SMS took of a budget is held while it is in flight, or waits to be put back
    "charge_of_what_ended": lambda s: (
        f"""
        SELECT d.notification_id FROM ledger.sms_charge c JOIN ledger.delivery d ON d.id = c.delivery_id
        WHERE {s.d} AND NOT c.unspent AND d.state >= 20"""
    ),
    "in_flight_without_body": lambda s: (
        f"""
        SELECT w.notification_id FROM ledger.delivery_work w WHERE {s.w}
        AND NOT EXISTS (SELECT FROM ledger.delivery_body b WHERE b.id = w.delivery_id)"""
    ),
}
"""Name → statement over a scope; each gives the notification of every contradiction."""

_TOTALS = """
SELECT (SELECT count(*) FROM ledger.notification n WHERE n.id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR n.app_id = $2)),
       (SELECT count(*) FROM ledger.schedule s WHERE $2::int4 IS NULL OR s.app_id = $2)
"""
_STATES = """
SELECT d.app_id, d.channel, coalesce(w.state, d.state) AS state, count(*) AS n
FROM ledger.delivery d LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id
WHERE d.id >= ledger.uuid_floor($1) AND ($2::int4 IS NULL OR d.app_id = $2) GROUP BY 1, 2, 3
"""
_STUCK = """
SELECT w.app_id, w.channel, w.state, count(*) AS n,
       max(now() - coalesce(w.enqueued_at, w.ready_since, w.due_at, w.lease_until)) AS late
FROM ledger.delivery_work w WHERE ($2::int4 IS NULL OR w.app_id = $2) AND
    (w.enqueued_at < now() - $1::interval OR w.due_at < now() - $1::interval OR w.ready_since < now() - $1::interval
     OR (w.state = 3 AND w.lease_until < now() - $1::interval))
GROUP BY 1, 2, 3
UNION ALL
SELECT p.app_id, NULL, CASE WHEN p.ready_since IS NULL THEN 2 ELSE 1 END, count(*),
       max(now() - coalesce(p.enqueued_at, p.ready_since))
FROM ledger.plan_work p WHERE ($2::int4 IS NULL OR p.app_id = $2) AND
    (p.enqueued_at < now() - $1::interval OR p.ready_since < now() - $1::interval)
GROUP BY 1, 3
"""


@dataclass(frozen=True, slots=True)
class Resting:
    """Rows of one app that rest too long in a stage; `channel` None: they wait to be planned. `state` is a delivery's, or
    that of a notification that waits (1 ready, 2 enqueued). `late`: the latest one's."""

    app_id: int
    channel: Channel | None
    state: int
    rows: int
    late: timedelta


@dataclass(frozen=True, slots=True)
class Audit:
    """What one audit found. `deliveries_by`: by (app, channel, state); `resting` is a warning, no contradiction."""

    accepted: int
    scheduled: int
    deliveries_by: Mapping[tuple[int, Channel, int], int]
    findings: Mapping[str, int]
    resting: tuple[Resting, ...]

    @property
    def states(self) -> dict[int, int]:
        """Deliveries by state."""
        sums: dict[int, int] = {}
        for (_, _, state), count in self.deliveries_by.items():
            sums[state] = sums.get(state, 0) + count
        return sums

    @property
    def stuck(self) -> int:
        return sum(rest.rows for rest in self.resting)

    @property
    def unaccounted(self) -> int:
        return sum(self.findings.values())

    @property
    def deliveries(self) -> int:
        return sum(self.deliveries_by.values())

    @property
    def in_flight(self) -> int:
        return sum(count for state, count in self.states.items() if state < 20) + self.scheduled


async def audit(pool: Pool, *, since: datetime, app_id: int | None = None) -> Audit:
    """Check everything planned or accepted since a moment, in one snapshot. Raises LedgerUnavailable."""
    findings: dict[str, int] = {}
    async with connection(pool) as db, db.transaction(isolation="repeatable_read", readonly=True):
        await _take_time(db)
        for name, check in CHECKS.items():
            counted = f"SELECT count(*) FROM ({check(_SINCE)}) AS c"
            count = await db.fetchval(counted, since, app_id, timeout=FULL_TIMEOUT_SECONDS)
            if count:
                findings[name] = count
        totals = await db.fetchrow(_TOTALS, since, app_id, timeout=FULL_TIMEOUT_SECONDS)
        states = await db.fetch(_STATES, since, app_id, timeout=FULL_TIMEOUT_SECONDS)
        late = await _resting(db, app_id)
    accepted, scheduled = totals or (0, 0)
    return Audit(
        accepted,
        scheduled,
        {(row["app_id"], Channel(row["channel"]), row["state"]): row["n"] for row in states},
        findings,
        late,
    )


async def resting(pool: Pool) -> tuple[Resting, ...]:
    """What rests too long in a stage. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        return await _resting(db, None)


async def _resting(db: Connection, app_id: int | None) -> tuple[Resting, ...]:
    rows = await db.fetch(_STUCK, STUCK_AFTER, app_id, timeout=FULL_TIMEOUT_SECONDS)
    return tuple(
        Resting(row["app_id"], Channel(row["channel"]) if row["channel"] else None, row["state"], row["n"], row["late"])
        for row in rows
    )


_EVENTS = """
SELECT xid::text::int8 AS xid, seq, at, notification_id FROM ledger.event
WHERE (xid, seq) > ($1::int8::text::xid8, $2) AND at >= $3
AND xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY xid, seq LIMIT $4
"""
_LATEST_COMMIT = timedelta(hours=1)
"""No transaction of ours is open longer than this; it bounds the partitions that are read."""


@dataclass(frozen=True, slots=True)
class _Cursor:
    xid: int
    seq: int
    at: datetime


@dataclass(slots=True)
class Auditor:
    """Audits continuously, at the cost of what happens: each `step` follows the events since the last one and checks the
    notifications they touched, and again those found wrong before. Begins with the events of the last `back`; what went
    wrong before them is for `audit`."""

    pool: Pool
    back: timedelta = timedelta(minutes=10)
    batch: int = 20_000
    _cursor: _Cursor | None = None
    _suspects: set[UUID] = field(default_factory=set)

    async def step(self) -> tuple[Mapping[str, int], bool]:
        """Contradictions by check (all of them, zeros included) as they are now, and whether more events wait. Raises
        LedgerUnavailable."""
        async with connection(self.pool) as db, db.transaction(isolation="repeatable_read", readonly=True):
            await _take_time(db)
            if self._cursor is None:
                self._cursor = _Cursor(0, 0, await db.fetchval("SELECT now()") - self.back + _LATEST_COMMIT)
            at = self._cursor
            since = at.at - _LATEST_COMMIT
            rows = await db.fetch(_EVENTS, at.xid, at.seq, since, self.batch, timeout=FULL_TIMEOUT_SECONDS)
            touched = list({row["notification_id"] for row in rows} | self._suspects)
            findings: dict[str, int] = {}
            suspects: set[UUID] = set()
            for name, check in CHECKS.items():
                found = await db.fetch(check(_TOUCHED), touched, timeout=FULL_TIMEOUT_SECONDS) if touched else []
                findings[name] = len(found)
                suspects |= {row[0] for row in found}
        if rows:
            self._cursor = _Cursor(rows[-1]["xid"], rows[-1]["seq"], rows[-1]["at"])
        self._suspects = suspects
        return findings, len(rows) == self.batch


async def _take_time(db: Connection) -> None:
    await db.execute(f"SET LOCAL statement_timeout = '{FULL_TIMEOUT_SECONDS}s'")
    await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
