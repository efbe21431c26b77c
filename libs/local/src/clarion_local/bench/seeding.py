"""Rows that a ledger would hold after months, made by Postgres itself: much faster than sending, and the same to its indexes.

They look like what was sent: terminal deliveries of an app of their own with their attempts, events and event ids. Only the
bodies are missing, which are dropped after a week anyway, and nothing of it is in flight.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta

import asyncpg

DAYS = 32
"""Partitions that the rows are spread over, up to yesterday."""
_WORKERS = 2
_SECONDS = 1_800.0
_APP = (
    "INSERT INTO ledger.app (name) VALUES ('history') ON CONFLICT (name) DO UPDATE SET enabled = true RETURNING app_id"
)
_PARTITIONS = "SELECT ledger.ensure_partitions($1, $2)"
_SESSION = {"synchronous_commit": "off", "statement_timeout": "0", "work_mem": "64MB", "application_name": "bench"}
"""For these rows alone: a run that dies here begins anew."""
# The id of row i: the day's first millisecond plus its share of the day, version and variant of UUIDv7, then i and the kind.
_IDS = """
CREATE OR REPLACE FUNCTION pg_temp.bench_id(day_ms int8, i int8, n int8, kind int4) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex(day_ms + i * 86400000 / n), 12, '0') || '7' || lpad(to_hex(kind), 3, '0') || '8000'
            || lpad(to_hex(i), 12, '0'))::uuid
$$
"""
_GIVEN = """
WITH given AS (SELECT $1::timestamptz AS midnight, $2::int8 AS n, $3::int4 AS app, $4::int8 AS ms),
past AS (
    SELECT i, app, ms, n, midnight + i * interval '1 day' / n AS at, pg_temp.bench_id(ms, i, n, 1) AS notification,
           pg_temp.bench_id(ms, i, n, 2) AS delivery, 'history:' || ms || ':' || i AS event, md5('message' || ms || i) AS message
    FROM given CROSS JOIN LATERAL generate_series(0, n - 1) AS i
)
"""
"""$1 midnight of the day, $2 rows of it, $3 the app, $4 midnight in Unix milliseconds."""
_DAY = (
    """
    INSERT INTO ledger.notification (accepted_at, expire_at, id, app_id, category_id, planned_count, recipient_count,
                                     priority, state, event_id)
    SELECT at, at + interval '2 days', notification, app, 1, 1, 1, 2, 3, event FROM past
    """,
    """
    INSERT INTO ledger.delivery (planned_at, terminal_at, id, notification_id, recipient_ref, address_id, app_id,
                                 category_id, lane_id, template_version, channel, priority, state, attempts,
                                 provider_message_id)
    SELECT at, at, delivery, notification, md5('recipient' || i % 1000000)::uuid, md5('address' || i % 1000000)::uuid,
           app, 1, 1, 1, 1 + i % 5, 2, 20, 1, message
    FROM past
    """,
    """
    INSERT INTO ledger.attempt (started_at, delivery_id, duration_ms, lane_id, attempt, outcome, code, provider_message_id)
    SELECT at, delivery, 5, 1, 1, 1, '200', message FROM past
    """,
    # An old transaction's number: whoever follows the events is past it and does not take them for news.
    """
    INSERT INTO ledger.event (at, xid, notification_id, delivery_id, app_id, lane_id, kind, state)
    SELECT at, '3'::xid8, notification, CASE kind WHEN 5 THEN delivery END, app, 1, kind, CASE kind WHEN 5 THEN 20 END
    FROM past CROSS JOIN unnest(ARRAY[2, 3, 5]::int2[]) AS kind
    """,
    """
    INSERT INTO ledger.event_key (epoch, app_id, event_id, payload_hash, notification_id)
    SELECT ledger.epoch_of(at), app, event, sha256(convert_to(event, 'UTF8')), notification FROM past
    """,
)
_FUTURE = """
INSERT INTO ledger.schedule (deliver_at, expire_at, notification_id, app_id, category_id, recipient_count, priority, event_id,
                             payload)
SELECT now() + interval '30 days' + i * interval '1 second', now() + interval '400 days', uuidv7(interval '30 days'), $2, 1, 1, 2,
       'future:' || i, decode(repeat('00', 300), 'hex')
FROM generate_series(1, $1) AS i
"""
_FORGET = "DELETE FROM ledger.schedule WHERE app_id = $1"


async def history(url: str, deliveries: int) -> float:
    """Fill the ledger with so many ended deliveries; gives the seconds it took. Raises asyncpg.PostgresError, OSError."""
    began = time.monotonic()
    today = datetime.now(UTC).date()
    first = today - timedelta(days=DAYS)
    async with _connection(url) as db:
        app_id: int = await db.fetchval(_APP)
        await db.fetchval(_PARTITIONS, first, today)
    days = iter([first + timedelta(days=number) for number in range(DAYS)])
    each = max(1, deliveries // DAYS)

    async def worker() -> None:
        async with _connection(url) as db:
            await db.execute(_IDS)
            for day in days:
                await _day(db, app_id, day, each)

    async with asyncio.TaskGroup() as group:
        for _ in range(_WORKERS):
            group.create_task(worker())
    async with _connection(url) as db:
        # As autovacuum would have done by and by: without it the first measured minutes would pay for it.
        for table in ("notification", "delivery", "attempt", "event", "event_key"):
            await db.execute(f"VACUUM (ANALYZE) ledger.{table}")
        await db.execute("CHECKPOINT")
    return time.monotonic() - began


async def future(url: str, sends: int) -> tuple[int, float]:
    """Let so many sends wait for a time a month ahead; gives the app they belong to and the seconds it took. Raises as
    `history`."""
    began = time.monotonic()
    async with _connection(url) as db:
        app_id: int = await db.fetchval(_APP)
        await db.execute(_FUTURE, sends, app_id)
        await db.execute("VACUUM (ANALYZE) ledger.schedule")
    return app_id, time.monotonic() - began


async def forget_future(url: str, app_id: int) -> None:
    """Take them out again. Raises as `history`."""
    async with _connection(url) as db:
        await db.execute(_FORGET, app_id)
        await db.execute("VACUUM (ANALYZE) ledger.schedule")


async def _day(db: "asyncpg.Connection[asyncpg.Record]", app_id: int, day: date, rows: int) -> None:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    for statement in _DAY:
        await db.execute(_GIVEN + statement, midnight, rows, app_id, int(midnight.timestamp() * 1_000))


@asynccontextmanager
async def _connection(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """One of our own: the ledger's pools give a statement some seconds only."""
    db = await asyncpg.connect(url, command_timeout=_SECONDS, server_settings=_SESSION)
    try:
        yield db
    finally:
        await db.close(timeout=5)
