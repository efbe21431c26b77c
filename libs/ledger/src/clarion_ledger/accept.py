"""Accepting: one round trip makes a batch durable. OK is said only after this returned."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from clarion_kit import crash
from clarion_kit.vocabulary import Priority
from clarion_ledger.db import Connection, Pool, connection


@dataclass(frozen=True, slots=True)
class AcceptItem:
    """One notification as the edge hands it over: validated, its payload sealed (owner: the event id).

    `expire_at` None: `time_to_live` after it is due. `enqueue`: the caller will publish it at once (fast path).
    `traceparent` is empty where unsampled. `test`: a test send.
    """

    app_id: int
    event_id: str
    payload_hash: bytes
    category_id: int
    priority: Priority
    recipient_count: int
    deliver_at: datetime | None
    expire_at: datetime | None
    time_to_live: timedelta
    payload: bytes
    traceparent: str
    enqueue: bool
    test: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """It is durable. `fresh`: stored by this call; `scheduled`: rests until it is due."""

    notification_id: UUID
    fresh: bool
    scheduled: bool


@dataclass(frozen=True, slots=True)
class EventIdReused:
    """The event id was used for another payload."""

    notification_id: UUID


AcceptResult = Accepted | EventIdReused | asyncpg.DataError

_ACCEPT = "SELECT * FROM ledger.accept($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_MARK = "INSERT INTO ledger.test_send (notification_id, app_id) SELECT * FROM unnest($1::uuid[], $2::int4[])"


async def accept(pool: Pool, items: Sequence[AcceptItem]) -> list[AcceptResult]:
    """Results in the order of the items. An item that Postgres cannot store fails alone (its DataError is the result).

    Raises LedgerUnavailable (unknown what took hold: repeat with the same event ids) and DomainError STORAGE_FULL.
    """
    crash.point("accept.before_commit")
    try:
        rows = await _call(pool, items)
    except asyncpg.DataError as unfit:
        if len(items) == 1:
            return [unfit]
        half = len(items) // 2
        return [*await accept(pool, items[:half]), *await accept(pool, items[half:])]
    crash.point("accept.after_commit")
    by_position: dict[int, asyncpg.Record] = {}
    for row in rows:
        by_position.setdefault(row["ord"] - 1, row)
    return [_result(item, by_position[position]) for position, item in enumerate(items)]


def _result(item: AcceptItem, row: asyncpg.Record) -> AcceptResult:
    if row["payload_hash"] != item.payload_hash:
        return EventIdReused(row["notification_id"])
    return Accepted(row["notification_id"], row["fresh"], row["scheduled"])


async def _call(pool: Pool, items: Sequence[AcceptItem]) -> list[asyncpg.Record]:
    async with connection(pool) as db:
        if not any(item.test for item in items):
            return await _store(db, items)
        async with db.transaction():
            rows = await _store(db, items)
            fresh = [(row["notification_id"], items[row["ord"] - 1]) for row in rows if row["fresh"]]
            tests = [(id_, item.app_id) for id_, item in fresh if item.test]
            await db.execute(_MARK, [id_ for id_, _ in tests], [app_id for _, app_id in tests])
            return rows


async def _store(db: Connection, items: Sequence[AcceptItem]) -> list[asyncpg.Record]:
    return await db.fetch(
        _ACCEPT,
        [item.app_id for item in items],
        [item.event_id for item in items],
        [item.payload_hash for item in items],
        [item.category_id for item in items],
        [item.priority for item in items],
        [item.recipient_count for item in items],
        [item.deliver_at for item in items],
        [item.expire_at for item in items],
        [item.time_to_live for item in items],
        [item.payload for item in items],
        [item.traceparent or None for item in items],
        [item.enqueue for item in items],
    )
