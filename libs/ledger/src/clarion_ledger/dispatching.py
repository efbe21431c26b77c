"""Dispatching: claim deliveries under a fenced lease, record what became of them.

The lease and the attempt count in Postgres are the only recovery path: messages are acknowledged right after the claim.
A record takes hold only where the lease generation is still the claimer's; a worker frozen past its lease writes nothing.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from clarion_kit import crash
from clarion_kit.vocabulary import DeliveryState, Priority, Reason
from clarion_ledger.db import Connection, Pool, connection


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery under lease. `address` and `content` are sealed (owner: the delivery id for content, the address id for
    the address). `country`, `locale` and `hint` are what its route was chosen by. `expired`: its deadline passed, by the
    database's clock. `changed`: the recipient's wishes or addresses are not those it was planned with. `gates_due`: it rested,
    or quiet hours began since the plan, so that every gate that can close is asked again. `claimed_at` is the database's
    clock, too."""

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
    gates_due: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one claimed delivery.

    Terminal states end it; RETRY_WAIT and DEFERRED come again after `delay`, HELD when its lane goes on, READY as soon as its
    lane has room. `next_lane`: the account that takes over what comes again. `tried` False gives the attempt back: no provider
    was asked, or the lane was to blame. The provider call began at `began` (monotonic seconds of this process) and took
    `duration`, None where none was made. `receipt_key`: what its receipt will be found by; `segments`: those of all segments,
    where it has several ("" for one that was not taken).
    """

    claimed: Claimed
    state: DeliveryState
    reason: Reason | None = None
    outcome: int = 0
    code: str = ""
    provider_message_id: str = ""
    receipt_key: str = ""
    segments: tuple[str, ...] = ()
    delay: timedelta = timedelta(0)
    ambiguous: bool = False
    began: float | None = None
    duration: timedelta | None = None
    tried: bool = True
    next_lane: int | None = None


MAX_CLAIM_BYTES = 8 << 20
"""Content after which a claim gives no more at a time (0016_bounded_claims.sql)."""

# Functions of 0006_protection.sql, which says why, and 0026_hot_path.sql.
_CLAIM = "SELECT * FROM ledger.claim($1, $2)"
_CLAIM_HELD = "SELECT * FROM ledger.claim_held($1, $2, $3)"

_CHANGED = """
SELECT w.delivery_id FROM ledger.delivery_work w
LEFT JOIN preference.recipient p ON p.app_id = w.app_id AND p.recipient_ref = w.recipient_ref
WHERE w.delivery_id = ANY ($1) AND p.revision IS DISTINCT FROM w.wishes_revision
"""

_TEST_SENDS = "SELECT notification_id FROM ledger.test_send WHERE notification_id = ANY ($1)"

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

_RECORD = """
SELECT ledger.record($1::uuid[], $2::int4[], $3::int2[], $4::int2[], $5::int2[], $6::text[], $7::text[], $8::text[],
                     $9::interval[], $10::boolean[], $11::interval[], $12::int4[], $13::boolean[], $14::int4[])
"""


# Known before its receipts come: those of any segment are then found, in whatever order.
_NOTE_SEGMENTS = """
INSERT INTO tracking.segment (delivery_id, position, receipt_key)
SELECT * FROM unnest($1::uuid[], $2::int2[], $3::text[]) ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING
"""


async def claim(pool: Pool, ids: Sequence[UUID], lease: timedelta) -> list[Claimed]:
    """Those of `ids` that were enqueued, now leased by the caller, by id; the rest is someone else's or over. The list ends
    early after `MAX_CLAIM_BYTES`: who claims again the ids behind the last one gets the rest.

    Raises LedgerUnavailable; rows it may have leased all the same come back when their lease ends.
    """
    if not ids:
        return []
    crash.point("claim.before_commit")
    async with connection(pool) as db:
        rows = await db.fetch(_CLAIM, ids, lease)
    crash.point("claim.after_commit")
    return [_claimed(row) for row in rows]


async def claim_held(pool: Pool, lane_id: int, count: int, lease: timedelta) -> list[Claimed]:
    """Up to `count` of the oldest deliveries that a stopped lane holds, to try it with. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(_CLAIM_HELD, lane_id, count, lease)
    return [_claimed(row) for row in rows]


async def changed(pool: Pool, claims: Sequence[Claimed]) -> set[UUID]:
    """Those whose recipient is not as their plan saw it, for calls that begin some time after the claim. Raises
    LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(_CHANGED, [c.delivery_id for c in claims])
    return {row["delivery_id"] for row in rows}


async def test_sends(pool: Pool, claims: Sequence[Claimed]) -> set[UUID]:
    """Notifications of theirs that are test sends. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(_TEST_SENDS, list({c.notification_id for c in claims}))
    return {row["notification_id"] for row in rows}


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
    async with connection(pool) as db, _whole(db, records):
        now = time.monotonic()
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
            [timedelta(0) if r.began is None else timedelta(seconds=now - r.began) for r in records],
            [None if r.duration is None else int(r.duration.total_seconds() * 1000) for r in records],
            [r.tried for r in records],
            [r.next_lane for r in records],
        )
        recorded = {row[0] for row in rows}
        segments = [
            (r.claimed.delivery_id, position, key)
            for r in records
            if r.claimed.delivery_id in recorded
            for position, key in enumerate(r.segments)
        ]
        if segments:
            await db.execute(_NOTE_SEGMENTS, *(list(column) for column in zip(*segments, strict=True)))
    crash.point("record.after_commit")
    return recorded


def _whole(db: Connection, records: Sequence[Record]) -> AbstractAsyncContextManager[object]:
    """A transaction, where one statement does not do."""
    return db.transaction() if any(r.segments for r in records) else nullcontext()


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
        gates_due=row["gates_due"],
    )
