"""Dispatching: claim deliveries under a fenced lease, record what became of them.

The lease and the attempt count in Postgres are the only recovery path: messages are acknowledged right after the claim.
A record takes hold only where the lease generation is still the claimer's; a worker frozen past its lease writes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from clarion_kit import crash
from clarion_kit.vocabulary import DeliveryState, Priority, Reason
from clarion_ledger.db import Pool, connection


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery under lease. `address` and `content` are sealed (owner: the delivery id for content, the address id for
    the address). `country`, `locale` and `hint` are what its route was chosen by. `expired`: its deadline passed, by the
    database's clock. `changed`: the recipient's wishes or addresses are not those it was planned with. `claimed_at` is the
    database's clock, too."""

    delivery_id: UUID
    notification_id: UUID
    recipient_ref: UUID
    address_id: UUID
    app_id: int
    lane_id: int
    category_id: int
    lease_gen: int
    priority: Priority
    attempt: int
    max_attempts: int
    at_most_once: bool
    ambiguous: bool
    expired: bool
    changed: bool
    claimed_at: datetime
    planned_at: datetime
    expire_at: datetime
    collapse_key: str
    traceparent: str
    address: bytes
    content: bytes
    country: str = ""
    locale: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one claimed delivery.

    Terminal states end it; RETRY_WAIT comes again after `delay`, HELD when its lane goes on, READY as soon as its lane has
    room. `next_lane`: the account that takes over what comes again. `tried` False gives the attempt back: no provider was
    asked, or the lane was to blame. The provider call began `seconds_ago` and took `duration`, None where none was made.
    """

    claimed: Claimed
    state: DeliveryState
    reason: Reason | None = None
    outcome: int = 0
    code: str = ""
    provider_message_id: str = ""
    receipt_key: str = ""
    delay: timedelta = timedelta(0)
    ambiguous: bool = False
    seconds_ago: float = 0.0
    duration: timedelta | None = None
    tried: bool = True
    next_lane: int | None = None


_FRESH = "interval '1 second'"
"""For so long a plan's view of its recipient holds without another look."""

# The recipient is looked up only where the plan is not fresh.
_CLAIMED = f"""
SELECT l.delivery_id, l.notification_id, l.recipient_ref, l.app_id, l.lane_id, d.category_id, l.lease_gen, l.priority,
       l.attempt, l.max_attempts, l.at_most_once, l.ambiguous, l.expire_at <= now() AS expired, now() AS claimed_at,
       l.planned_at, l.expire_at,
       l.collapse_key, l.traceparent, b.address, b.content, d.address_id, d.country, l.locale, l.hint,
       l.planned_at < now() - {_FRESH} AND r.revision IS DISTINCT FROM l.wishes_revision AS changed
FROM leased l
JOIN ledger.delivery_body b ON b.id = l.delivery_id AND b.id BETWEEN $1 AND $2
JOIN ledger.delivery d ON d.id = l.delivery_id AND d.id BETWEEN $1 AND $2
LEFT JOIN LATERAL (
    SELECT p.revision FROM preference.recipient p
    WHERE l.planned_at < now() - {_FRESH} AND p.app_id = l.app_id AND p.recipient_ref = l.recipient_ref
) r ON true
"""

_CLAIM = f"""
WITH picked AS (
    SELECT delivery_id FROM ledger.delivery_work
    WHERE delivery_id = ANY ($3) AND state = 2
    ORDER BY delivery_id FOR UPDATE SKIP LOCKED
), leased AS (
    UPDATE ledger.delivery_work w
    SET state = 3, lease_gen = w.lease_gen + 1, attempt = w.attempt + 1, lease_until = now() + $4, writing_at = NULL
    FROM picked p WHERE w.delivery_id = p.delivery_id
    RETURNING w.*
){_CLAIMED}"""

_CLAIM_HELD = f"""
WITH picked AS (
    SELECT delivery_id FROM ledger.delivery_work
    WHERE lane_id = $3 AND due_at = 'infinity' AND state = 6 AND expire_at > now()
    ORDER BY delivery_id LIMIT $5 FOR UPDATE SKIP LOCKED
), leased AS (
    UPDATE ledger.delivery_work w
    SET state = 3, lease_gen = w.lease_gen + 1, attempt = w.attempt + 1, lease_until = now() + $4, writing_at = NULL,
        due_at = NULL
    FROM picked p WHERE w.delivery_id = p.delivery_id
    RETURNING w.*
){_CLAIMED}"""

_CHANGED = """
SELECT w.delivery_id FROM ledger.delivery_work w
LEFT JOIN preference.recipient p ON p.app_id = w.app_id AND p.recipient_ref = w.recipient_ref
WHERE w.delivery_id = ANY ($1) AND p.revision IS DISTINCT FROM w.wishes_revision
"""

_EXTEND = """
UPDATE ledger.delivery_work w SET lease_until = now() + $3
FROM unnest($1::uuid[], $2::int4[]) AS i (delivery_id, lease_gen)
WHERE w.delivery_id = i.delivery_id AND w.lease_gen = i.lease_gen AND w.state = 3
RETURNING w.delivery_id, w.lease_gen
"""

_WRITING = """
UPDATE ledger.delivery_work w SET writing_at = now()
FROM unnest($1::uuid[], $2::int4[]) AS i (delivery_id, lease_gen)
WHERE w.delivery_id = i.delivery_id AND w.lease_gen = i.lease_gen AND w.state = 3 AND w.lease_until > now()
RETURNING w.delivery_id
"""

# Each row of the input travels through every step, and each step finds its table by primary key: joined to the input again,
# the planner's guess of ten rows made nested loops over CTEs, and the cost grew with the square of the batch (measured).
_RECORD = """
WITH picked AS (
    SELECT i.* FROM unnest($1::uuid[], $2::int4[], $3::int2[], $4::int2[], $5::int2[], $6::text[], $7::text[], $8::text[],
                           $9::interval[], $10::boolean[], $11::interval[], $12::int4[], $13::boolean[], $16::int4[])
        AS i (delivery_id, lease_gen, final, why, outcome, code, provider_message_id, receipt_key, delay, doubtful,
              ago, duration_ms, tried, next_lane)
    JOIN ledger.delivery_work w ON w.delivery_id = i.delivery_id
    WHERE w.state = 3 AND w.lease_gen = i.lease_gen
    ORDER BY w.delivery_id FOR UPDATE OF w
), ended AS (
    DELETE FROM ledger.delivery_work w USING picked p WHERE w.delivery_id = p.delivery_id AND p.final >= 20
    RETURNING p.*, w.notification_id, w.app_id, w.lane_id, w.channel, w.attempt - (NOT p.tried)::int AS attempt,
              w.ambiguous OR p.doubtful AS ambiguous
), again AS (
    UPDATE ledger.delivery_work w
    SET state = p.final, ambiguous = w.ambiguous OR p.doubtful, lease_until = NULL, writing_at = NULL, enqueued_at = NULL,
        due_at = CASE p.final WHEN 4 THEN now() + p.delay WHEN 6 THEN 'infinity' END,
        ready_since = CASE WHEN p.final = 1 THEN now() END,
        attempt = CASE WHEN p.tried THEN w.attempt ELSE w.attempt - 1 END, lane_id = coalesce(p.next_lane, w.lane_id)
    FROM picked p WHERE w.delivery_id = p.delivery_id AND p.final < 20
    RETURNING p.*, w.notification_id, w.app_id, old.lane_id, w.channel, w.attempt, w.ambiguous
), written AS (
    SELECT * FROM ended UNION ALL SELECT * FROM again
), deliveries AS (
    UPDATE ledger.delivery d
    SET state = e.final, reason = e.why, attempts = e.attempt, ambiguous = e.ambiguous, lane_id = e.lane_id,
        provider_message_id = e.provider_message_id, terminal_at = now()
    FROM ended e WHERE d.id = e.delivery_id AND d.id BETWEEN $14 AND $15
), attempts AS (
    INSERT INTO ledger.attempt (started_at, delivery_id, duration_ms, lane_id, attempt, outcome, code, provider_message_id, receipt_key)
    SELECT clock_timestamp() - w.ago, w.delivery_id, w.duration_ms, w.lane_id, w.attempt, w.outcome, w.code,
           w.provider_message_id, w.receipt_key
    FROM written w WHERE w.tried AND w.duration_ms IS NOT NULL
    ON CONFLICT DO NOTHING
), happened AS (
    INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, reason, attempt, code)
    SELECT w.notification_id, w.delivery_id, w.app_id, w.lane_id,
           CASE WHEN w.final >= 20 THEN 5 WHEN w.final = 6 THEN 10 ELSE 4 END, w.final, NULLIF(w.why, 0), w.attempt, NULLIF(w.code, '')
    FROM written w WHERE w.tried OR w.final = 6 OR w.final >= 20
), letters AS (
    INSERT INTO ledger.dead_letter (delivery_id, notification_id, app_id, lane_id, channel, reason, attempts, last_code)
    SELECT e.delivery_id, e.notification_id, e.app_id, e.lane_id, e.channel, e.why, e.attempt, e.code FROM ended e WHERE e.final = 25
)
SELECT delivery_id FROM written
"""


async def claim(pool: Pool, ids: Sequence[UUID], lease: timedelta) -> list[Claimed]:
    """Those of `ids` that were enqueued, now leased by the caller; the rest is someone else's or over.

    Raises LedgerUnavailable; rows it may have leased all the same come back when their lease ends.
    """
    if not ids:
        return []
    crash.point("claim.before_commit")
    async with connection(pool) as db:
        rows = await db.fetch(_CLAIM, min(ids), max(ids), ids, lease)
    crash.point("claim.after_commit")
    return [_claimed(row) for row in rows]


async def claim_held(pool: Pool, lane_id: int, count: int, lease: timedelta) -> list[Claimed]:
    """Up to `count` of the oldest deliveries that a stopped lane holds, to try it with. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(_CLAIM_HELD, UUID(int=0), UUID(int=(1 << 128) - 1), lane_id, lease, count)
    return [_claimed(row) for row in rows]


async def changed(pool: Pool, claims: Sequence[Claimed]) -> set[UUID]:
    """Those whose recipient is not as their plan saw it, for calls that begin some time after the claim. Raises
    LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(_CHANGED, [c.delivery_id for c in claims])
    return {row["delivery_id"] for row in rows}


async def extend(pool: Pool, claims: Sequence[Claimed], lease: timedelta) -> set[tuple[UUID, int]]:
    """The heartbeat: `lease` from now for what is still ours; gives those (delivery, lease generation). The others were
    taken over. Raises LedgerUnavailable."""
    claims = sorted(claims, key=lambda claimed: claimed.delivery_id)
    async with connection(pool) as db:
        rows = await db.fetch(_EXTEND, [c.delivery_id for c in claims], [c.lease_gen for c in claims], lease)
    return {(row["delivery_id"], row["lease_gen"]) for row in rows}


async def mark_writing(pool: Pool, claims: Sequence[Claimed]) -> set[UUID]:
    """For at-most-once deliveries, just before the write: those given back may be written, no other. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(_WRITING, [c.delivery_id for c in claims], [c.lease_gen for c in claims])
    return {row["delivery_id"] for row in rows}


async def record(pool: Pool, records: Sequence[Record]) -> set[UUID]:
    """Write outcomes in one transaction; gives the deliveries whose lease was still held. Raises LedgerUnavailable."""
    if not records:
        return set()
    ids = [r.claimed.delivery_id for r in records]
    crash.point("record.before_commit")
    async with connection(pool) as db:
        rows = await db.fetch(
            _RECORD,
            ids,
            [r.claimed.lease_gen for r in records],
            [r.state for r in records],
            [r.reason or 0 for r in records],
            [r.outcome for r in records],
            [r.code for r in records],
            [r.provider_message_id or None for r in records],
            [r.receipt_key or None for r in records],
            [r.delay for r in records],
            [r.ambiguous for r in records],
            [timedelta(seconds=r.seconds_ago) for r in records],
            [None if r.duration is None else int(r.duration.total_seconds() * 1000) for r in records],
            [r.tried for r in records],
            min(ids),
            max(ids),
            [r.next_lane for r in records],
        )
    crash.point("record.after_commit")
    return {row["delivery_id"] for row in rows}


def _claimed(row: asyncpg.Record) -> Claimed:
    return Claimed(
        delivery_id=row["delivery_id"],
        notification_id=row["notification_id"],
        recipient_ref=row["recipient_ref"],
        address_id=row["address_id"],
        app_id=row["app_id"],
        lane_id=row["lane_id"],
        category_id=row["category_id"],
        lease_gen=row["lease_gen"],
        priority=Priority(row["priority"]),
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        at_most_once=row["at_most_once"],
        ambiguous=row["ambiguous"],
        expired=row["expired"],
        changed=row["changed"],
        claimed_at=row["claimed_at"],
        planned_at=row["planned_at"],
        expire_at=row["expire_at"],
        collapse_key=row["collapse_key"] or "",
        traceparent=row["traceparent"] or "",
        address=row["address"],
        content=row["content"],
        country=row["country"] or "",
        locale=row["locale"] or "",
        hint=row["hint"] or "",
    )
