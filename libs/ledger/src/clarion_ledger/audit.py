"""The audit compares independent records, so that it can fail (decisions: audit that can fail).

Each check counts contradictions; `unaccounted` is their sum. It reads one snapshot, so that work in progress is no
contradiction. `audit` looks at a span of time, `Auditor` follows the events and looks at what they touched.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from clarion_kit.vocabulary import Channel
from clarion_ledger.audit_checks import CHECKS, FINDING_TOUCHED, counting_since
from clarion_ledger.db import Connection, Pool, connection
from clarion_ledger.ids import timestamp_ms

STUCK_AFTER = timedelta(minutes=10)
"""A row in flight without a lease, an enqueue or a due time is wrong at once; one overdue by this rests too long."""
FULL_TIMEOUT_SECONDS = 600
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""Before every ledger: an audit since then is full."""


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
        for name in CHECKS:
            count = await db.fetchval(counting_since(name), since, app_id, timeout=FULL_TIMEOUT_SECONDS)
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
            found = await self._contradictions(db, touched) if touched else []
        if rows:
            self._cursor = _Cursor(rows[-1]["xid"], rows[-1]["seq"], rows[-1]["at"])
        self._suspects = {id_ for _, id_ in found}
        counted = Counter(name for name, _ in found)
        return {name: counted[name] for name in CHECKS}, len(rows) == self.batch

    async def _contradictions(self, db: Connection, touched: list[UUID]) -> list[tuple[str, UUID]]:
        first, last = (timestamp_ms(id_) / 1000 for id_ in (min(touched), max(touched)))
        await db.execute("SET LOCAL enable_nestloop = off")
        found = await db.fetch(FINDING_TOUCHED, touched, first, last, timeout=FULL_TIMEOUT_SECONDS)
        await db.execute("SET LOCAL enable_nestloop = on")
        return [(name, id_) for name, id_ in found]


async def _take_time(db: Connection) -> None:
    await db.execute(f"SET LOCAL statement_timeout = '{FULL_TIMEOUT_SECONDS}s'")
    await db.execute("SET LOCAL plan_cache_mode = force_custom_plan")
