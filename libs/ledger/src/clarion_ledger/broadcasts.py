"""Broadcasts: the row that each is, the lease under which planners take turns, and the one transaction that plans a chunk.

The cursor (the last recipient planned), the counters, the children and their deliveries move together, fenced by the lease
generation: whatever dies, every recipient gets one child. A child is a notification without event key and payload; its id
is derived from broadcast and recipient.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from clarion_kit import crash
from clarion_kit.vocabulary import BroadcastState, DeliveryState, EventKind, Priority
from clarion_ledger import audit_log
from clarion_ledger.db import Connection, Pool, connection
from clarion_ledger.ids import floor_of, timestamp_ms
from clarion_ledger.planning import Plan, write

LEASE = timedelta(seconds=15)
"""A chunk takes well under a second; what died is taken over after this."""
MAX_CHUNK = 500
MAX_TRIES = 5
"""Failures of one chunk after which what cannot be planned alone ends with a reason."""
_VERSION = 7 << 76
_VARIANT = 0b10 << 62
_COUNT_TIMEOUT_SECONDS = 4.0


class LeaseLost(Exception):
    """Another planner holds the broadcast, or it does not run any more: nothing of the chunk was written."""


@dataclass(frozen=True, slots=True)
class NewBroadcast:
    """What the edge hands over: validated, its payload sealed (table "broadcast", owner: the event id).

    `deliver_at` None: now; `expire_at` None: `time_to_live` after it is due, or after `last_at` where that is later. `template`:
    its name, empty where the content is its own.
    """

    app_id: int
    event_id: str
    payload_hash: bytes
    category_id: int
    priority: Priority
    deliver_at: datetime | None
    expire_at: datetime | None
    time_to_live: timedelta
    pace: int
    payload: bytes = field(repr=False)
    traceparent: str = ""
    last_at: datetime | None = None
    template: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """It is durable; `fresh`: stored by this call. `same`: False where the event id was used for another payload."""

    broadcast_id: UUID
    fresh: bool
    same: bool


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A broadcast as it stands. `total` None: not estimated yet; `rate`: recipients a second of its last turns."""

    broadcast_id: UUID
    app_id: int
    category_id: int
    event_id: str
    priority: Priority
    state: BroadcastState
    accepted_at: datetime
    deliver_at: datetime
    expire_at: datetime
    ended_at: datetime | None
    pace: int
    planned: int
    deliveries: int
    suppressed: int
    total: int | None
    rate: float


@dataclass(frozen=True, slots=True)
class Turn:
    """A broadcast that this planner holds. `cursor`: the last recipient planned, all zeros at the beginning. `since_served`:
    since it was held before, None where that is long ago."""

    broadcast: Broadcast
    lease_gen: int
    cursor: UUID
    tries: int
    expired: bool
    traceparent: str
    since_served: timedelta | None
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Plans of the next recipients, in their order; `last`: there are none behind them. `total`: an estimate of them all."""

    plans: Sequence[Plan]
    cursor: UUID
    last: bool
    total: int | None = None

    @property
    def deliveries(self) -> int:
        return sum(delivery.reason is None for plan in self.plans for delivery in plan.deliveries)

    @property
    def suppressed(self) -> int:
        return sum(delivery.reason is not None for plan in self.plans for delivery in plan.deliveries)


def child_id(broadcast_id: UUID, recipient_ref: UUID) -> UUID:
    """A UUIDv7 (RFC 9562) with the broadcast's time and 74 bits of SHA-256 over both."""
    digest = hashlib.sha256(b"clarion child\0" + broadcast_id.bytes + recipient_ref.bytes).digest()
    bits = int.from_bytes(digest[:10]) >> 6
    high, low = bits >> 62, bits & ((1 << 62) - 1)
    moment = broadcast_id.int >> 80 << 80
    return UUID(int=moment | _VERSION | (high << 64) | _VARIANT | low)


def siblings(broadcast_id: UUID) -> tuple[UUID, UUID]:
    """All ids of its children and their deliveries lie in [first, last]; those of others may, too."""
    moment = timestamp_ms(broadcast_id)
    return floor_of(moment), UUID(int=floor_of(moment + 1).int - 1)


_INSERT = f"""
WITH stored AS (
    INSERT INTO ledger.broadcast (deliver_at, next_at, expire_at, broadcast_id, app_id, event_id, payload_hash, category_id,
                                  priority, pace, payload, traceparent, template)
    SELECT greatest($1, now()), greatest($1, now()),
           coalesce($2, greatest($1, $3, now()) + $4), CASE WHEN $1 > now() THEN uuidv7($1 - now()) ELSE uuidv7() END,
           $5, $6, $7, $8, $9, $10, $11, $12, $13
    ON CONFLICT (app_id, event_id) DO NOTHING RETURNING broadcast_id, app_id
), happened AS (
    INSERT INTO ledger.event (notification_id, app_id, kind, code)
    SELECT broadcast_id, app_id, {EventKind.BROADCAST}, 'STARTED' FROM stored
)
SELECT broadcast_id FROM stored
"""
_KNOWN = "SELECT broadcast_id, payload_hash FROM ledger.broadcast WHERE app_id = $1 AND event_id = $2"
_COLUMNS = """broadcast_id, app_id, category_id, event_id, priority, state, accepted_at, deliver_at, expire_at, ended_at, pace,
planned, deliveries, suppressed, total, rate"""
_GET = f"SELECT {_COLUMNS} FROM ledger.broadcast WHERE broadcast_id = $1 AND app_id = $2"
_PAGE = f"SELECT {_COLUMNS} FROM ledger.broadcast WHERE app_id = $1 AND broadcast_id < $2 ORDER BY broadcast_id DESC LIMIT $3"
_MOVE = f"""
WITH moved AS (
    UPDATE ledger.broadcast SET state = $3, ended_at = CASE WHEN $5 THEN now() ELSE ended_at END, rate = 0
    WHERE broadcast_id = $1 AND app_id = $2 AND state = ANY ($4) RETURNING broadcast_id, app_id
)
INSERT INTO ledger.event (notification_id, app_id, kind, code)
SELECT broadcast_id, app_id, {EventKind.BROADCAST}, $6 FROM moved
"""
# The one that was served longest ago, of those nobody holds.
_CLAIM = f"""
WITH picked AS (
    SELECT broadcast_id AS id FROM ledger.broadcast
    WHERE state = 1 AND next_at <= now() AND (lease_until IS NULL OR lease_until < now()) AND broadcast_id <> ALL ($2)
    ORDER BY served_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE ledger.broadcast b SET lease_gen = lease_gen + 1, lease_until = now() + $1, served_at = now()
FROM picked p WHERE b.broadcast_id = p.id
RETURNING {_COLUMNS}, lease_gen, cursor, tries, traceparent, payload, expire_at <= now() AS expired,
          CASE WHEN old.served_at > now() - interval '10 seconds' THEN now() - old.served_at END AS since_served
"""
_HOLD = """
SELECT FROM ledger.broadcast WHERE broadcast_id = $1 AND lease_gen = $2 AND cursor = $3 AND state = 1 FOR NO KEY UPDATE
"""
_CHILDREN = """
WITH parent AS (
    SELECT * FROM ledger.broadcast WHERE broadcast_id = $1
), stored AS (
    INSERT INTO ledger.notification (expire_at, id, app_id, category_id, recipient_count, priority, state, event_id, broadcast_id)
    SELECT p.expire_at, i.id, p.app_id, p.category_id, 1, p.priority, 2, '', p.broadcast_id
    FROM parent p, unnest($2::uuid[]) AS i (id)
), work AS (
    INSERT INTO ledger.plan_work (ready_since, notification_id, app_id, priority)
    SELECT now(), i.id, p.app_id, p.priority FROM parent p, unnest($2::uuid[]) AS i (id)
)
INSERT INTO ledger.event (notification_id, app_id, kind)
SELECT i.id, p.app_id, 2 FROM parent p, unnest($2::uuid[]) AS i (id)
"""
# A chunk behind its pace waits until its recipients' share of a second has passed since the last one was due.
_ADVANCE = f"""
WITH advanced AS (
    UPDATE ledger.broadcast b
    SET cursor = $2, planned = planned + $3, deliveries = deliveries + $4, suppressed = suppressed + $5, tries = 0,
        lease_until = now() + $6, total = CASE WHEN $7 THEN planned + $3 ELSE coalesce($8, total) END,
        next_at = CASE WHEN pace = 0 THEN next_at
                       ELSE greatest(next_at, now() - interval '1 second') + interval '1 second' * ($3::float8 / pace) END,
        state = CASE WHEN $7 THEN 3 ELSE state END, ended_at = CASE WHEN $7 THEN now() END,
        rate = CASE WHEN $7 THEN 0 ELSE rate END
    WHERE broadcast_id = $1 RETURNING broadcast_id, app_id, next_at > now() AS waits
), happened AS (
    INSERT INTO ledger.event (notification_id, app_id, kind, code)
    SELECT broadcast_id, app_id, {EventKind.BROADCAST}, 'PLANNED' FROM advanced WHERE $7
)
SELECT waits FROM advanced
"""
_RELEASE = """
UPDATE ledger.broadcast
SET lease_until = NULL, rate = CASE WHEN state = 1 THEN $3 ELSE 0 END, next_at = CASE WHEN $4 THEN now() + $5 ELSE next_at END,
    tries = CASE WHEN $4 THEN tries + 1 ELSE tries END
WHERE broadcast_id = $1 AND lease_gen = $2
"""
_EXPIRE = f"""
WITH gone AS (
    UPDATE ledger.broadcast SET state = 6, ended_at = now(), rate = 0
    WHERE state IN (1, 2) AND expire_at <= now() AND broadcast_id IN (
        SELECT broadcast_id FROM ledger.broadcast WHERE state IN (1, 2) AND expire_at <= now()
        ORDER BY broadcast_id LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED
    ) RETURNING broadcast_id, app_id
)
INSERT INTO ledger.event (notification_id, app_id, kind, code)
SELECT broadcast_id, app_id, {EventKind.BROADCAST}, 'EXPIRED' FROM gone
"""
_CANCELLING = "SELECT broadcast_id, app_id FROM ledger.broadcast WHERE state = 4 ORDER BY broadcast_id LIMIT 100"
# In the order of the index, not of the ids: nothing here ever waits for another's row, so no order can deadlock. The rows are
# locked in a statement of their own, for the reason that 0006_protection.sql gives.
_PICK = """
SELECT w.delivery_id FROM ledger.delivery_work w
JOIN ledger.notification n ON n.id = w.notification_id AND n.id BETWEEN $2 AND $3
WHERE w.notification_id BETWEEN $2 AND $3 AND n.broadcast_id = $1 AND w.state <> 3
ORDER BY w.notification_id LIMIT $4 FOR UPDATE OF w SKIP LOCKED
"""
_END = """
WITH ended AS (
    DELETE FROM ledger.delivery_work w WHERE w.delivery_id = ANY ($1) RETURNING w.*
), deliveries AS (
    UPDATE ledger.delivery d SET state = 24, reason = 70, attempts = e.attempt, ambiguous = e.ambiguous, terminal_at = now()
    FROM ended e WHERE d.id = e.delivery_id AND d.id BETWEEN $2 AND $3 RETURNING d.id
), happened AS (
    INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, reason, attempt)
    SELECT notification_id, delivery_id, app_id, lane_id, 5, 24, 70, attempt FROM ended
)
SELECT (SELECT count(*) FROM ended) AS ended, (SELECT count(*) FROM deliveries) AS updated
"""
_FINISH = f"""
WITH finished AS (
    UPDATE ledger.broadcast SET state = 5, ended_at = now() WHERE broadcast_id = $1 AND state = 4 AND NOT EXISTS (
        SELECT FROM ledger.delivery_work w JOIN ledger.notification n ON n.id = w.notification_id AND n.id BETWEEN $2 AND $3
        WHERE w.notification_id BETWEEN $2 AND $3 AND n.broadcast_id = $1
    ) RETURNING broadcast_id, app_id
)
INSERT INTO ledger.event (notification_id, app_id, kind, code)
SELECT broadcast_id, app_id, {EventKind.BROADCAST}, 'CANCELLED' FROM finished
"""
# Others' deliveries of the same millisecond are few: they are told apart by a list.
_OUTCOMES = """
SELECT d.state, count(*) AS n FROM ledger.delivery d
WHERE d.id BETWEEN $2 AND $3 AND d.notification_id <> ALL (ARRAY(
    SELECT n.id FROM ledger.notification n WHERE n.id BETWEEN $2 AND $3 AND n.broadcast_id IS DISTINCT FROM $1))
GROUP BY 1
"""


_ACTS = {
    BroadcastState.PAUSED: "PauseBroadcast",
    BroadcastState.RUNNING: "ResumeBroadcast",
    BroadcastState.CANCELLING: "CancelBroadcast",
}
"""Methods by what they make of a broadcast."""


async def start(pool: Pool, new: NewBroadcast) -> Started:
    """Make a broadcast durable, or find the one of its event id; one that a client starts is in the audit log. Raises
    LedgerUnavailable, DomainError STORAGE_FULL."""
    async with connection(pool) as db, db.transaction():
        fresh = await db.fetchval(
            _INSERT,
            new.deliver_at,
            new.expire_at,
            new.last_at,
            new.time_to_live,
            new.app_id,
            new.event_id,
            new.payload_hash,
            new.category_id,
            new.priority,
            new.pace,
            new.payload,
            new.traceparent or None,
            new.template or None,
        )
        if fresh is not None:
            if audit_log.is_called():
                await audit_log.record(db, "StartBroadcast", new.app_id, f"broadcast {fresh}")
            return Started(fresh, fresh=True, same=True)
        known = await db.fetchrow(_KNOWN, new.app_id, new.event_id)
    if known is None:
        raise RuntimeError("a broadcast is neither new nor known")
    return Started(known["broadcast_id"], fresh=False, same=known["payload_hash"] == new.payload_hash)


async def get(pool: Pool, app_id: int, broadcast_id: UUID) -> Broadcast | None:
    """One broadcast of an app. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        row = await db.fetchrow(_GET, broadcast_id, app_id)
    return _broadcast(row) if row is not None else None


async def page(pool: Pool, app_id: int, *, before: UUID, size: int) -> list[Broadcast]:
    """Broadcasts of an app with ids before `before`, newest first. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(_PAGE, app_id, before, size)
    return [_broadcast(row) for row in rows]


async def outcomes(pool: Pool, broadcast_id: UUID) -> dict[DeliveryState, int] | None:
    """Deliveries by state, those in flight under one of its states; None where counting took too long. A second for a
    million. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        try:
            rows = await db.fetch(_OUTCOMES, broadcast_id, *siblings(broadcast_id), timeout=_COUNT_TIMEOUT_SECONDS)
        except (TimeoutError, asyncpg.QueryCanceledError):
            return None
    return {DeliveryState(row["state"]): row["n"] for row in rows}


async def pause(pool: Pool, app_id: int, broadcast_id: UUID) -> bool:
    """Plan nothing more of a running one; False where it does not run. Raises LedgerUnavailable."""
    return await _move(pool, app_id, broadcast_id, BroadcastState.PAUSED, [BroadcastState.RUNNING])


async def resume(pool: Pool, app_id: int, broadcast_id: UUID) -> bool:
    """Go on with a paused one; False where it is not paused. Raises LedgerUnavailable."""
    return await _move(pool, app_id, broadcast_id, BroadcastState.RUNNING, [BroadcastState.PAUSED])


async def cancel(pool: Pool, app_id: int, broadcast_id: UUID) -> bool:
    """Plan nothing more, and let `end_cancelled` end what is in flight; False where it is cancelled already. Raises
    LedgerUnavailable."""
    states = [BroadcastState.RUNNING, BroadcastState.PAUSED, BroadcastState.PLANNED, BroadcastState.EXPIRED]
    return await _move(pool, app_id, broadcast_id, BroadcastState.CANCELLING, states)


async def claim(pool: Pool, *, without: Sequence[UUID] = ()) -> Turn | None:
    """Hold the broadcast that was served longest ago of those that may be planned now and are nobody's; None: there is
    none. `without`: not these. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        row = await db.fetchrow(_CLAIM, LEASE, list(without))
    if row is None:
        return None
    return Turn(
        _broadcast(row),
        row["lease_gen"],
        row["cursor"],
        row["tries"],
        row["expired"],
        row["traceparent"] or "",
        row["since_served"],
        row["payload"],
    )


async def plan_chunk(pool: Pool, turn: Turn, after: UUID, chunk: Chunk) -> bool:
    """Write the next children and move the cursor from `after`, in one transaction; True where the pace wants a rest.

    Raises LeaseLost, LedgerUnavailable, DomainError STORAGE_FULL.
    """
    now = time.monotonic()
    id_ = turn.broadcast.broadcast_id
    children = [plan.source.notification_id for plan in chunk.plans]
    crash.point("broadcast.before_commit")
    async with connection(pool) as db, db.transaction():
        if await db.fetchrow(_HOLD, id_, turn.lease_gen, after) is None:
            raise LeaseLost(str(id_))
        if children:
            await db.execute(_CHILDREN, id_, sorted(children))
            crash.point("broadcast.children_stored")
            planned = await write(db, chunk.plans, now)
            if planned != set(children):  # half of a chunk must not be committed, whatever made it
                raise RuntimeError(f"of {len(children)} children {len(planned)} were planned")
        crash.point("broadcast.children_planned")
        waits: bool = await db.fetchval(
            _ADVANCE,
            id_,
            chunk.cursor,
            len(children),
            chunk.deliveries,
            chunk.suppressed,
            LEASE,
            chunk.last,
            chunk.total,
        )
    crash.point("broadcast.after_commit")
    return waits


async def release(pool: Pool, turn: Turn, *, rate: float, failed: bool = False) -> None:
    """Let others have it. `failed`: its chunk could not be planned, which is counted; it rests for a while, longer each
    time. Raises LedgerUnavailable."""
    pause_ = timedelta(seconds=min(60, 2**turn.tries))
    async with connection(pool) as db:
        await db.execute(_RELEASE, turn.broadcast.broadcast_id, turn.lease_gen, rate, failed, pause_)


async def expire(pool: Pool) -> int:
    """End broadcasts whose deadline passed before all was planned; gives how many. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        return _count(await db.execute(_EXPIRE))


async def end_cancelled(pool: Pool) -> int:
    """End a chunk of each broadcast that is being cancelled, and those of which nothing is in flight any more; gives how
    many deliveries ended. What a dispatcher holds is looked at again by the next call. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(_CANCELLING)
    ended = 0
    for row in rows:
        id_ = row["broadcast_id"]
        async with connection(pool) as db, db.transaction():
            count = await _end_chunk(db, id_)
            if not count:
                await db.execute(_FINISH, id_, *siblings(id_))
        ended += count
    return ended


async def _end_chunk(db: Connection, broadcast_id: UUID) -> int:
    picked = await db.fetch(_PICK, broadcast_id, *siblings(broadcast_id), MAX_CHUNK)
    if not picked:
        return 0
    ids = [row["delivery_id"] for row in picked]
    counts = await db.fetchrow(_END, ids, min(ids), max(ids))
    if counts is None or counts["ended"] != counts["updated"]:
        raise RuntimeError("a cancelled delivery was not updated")
    return int(counts["ended"])


async def _move(
    pool: Pool, app_id: int, broadcast_id: UUID, to: BroadcastState, states: Sequence[BroadcastState]
) -> bool:
    async with connection(pool) as db, db.transaction():
        ended = to is BroadcastState.CANCELLING
        moved = _count(await db.execute(_MOVE, broadcast_id, app_id, to, states, ended, to.name)) > 0
        if moved:
            target, after = f"broadcast {broadcast_id}", {"state": to.name}
            await audit_log.record(db, _ACTS[to], app_id, target, after=after)
    return moved


def _broadcast(row: asyncpg.Record) -> Broadcast:
    return Broadcast(
        broadcast_id=row["broadcast_id"],
        app_id=row["app_id"],
        category_id=row["category_id"],
        event_id=row["event_id"],
        priority=Priority(row["priority"]),
        state=BroadcastState(row["state"]),
        accepted_at=row["accepted_at"],
        deliver_at=row["deliver_at"],
        expire_at=row["expire_at"],
        ended_at=row["ended_at"],
        pace=row["pace"],
        planned=row["planned"],
        deliveries=row["deliveries"],
        suppressed=row["suppressed"],
        total=row["total"],
        rate=row["rate"],
    )


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
