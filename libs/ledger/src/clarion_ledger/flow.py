"""What the scheduler moves: the pump, due retries, due schedules, lost messages, ended leases.

Every job is a claim with SKIP LOCKED, so any number of schedulers may run. Rows are made `enqueued` in the ledger first
and published after the commit; what is then lost on the way is found by the reconciler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from clarion_kit.subjects import Lane, Stream
from clarion_kit.vocabulary import Channel, Priority
from clarion_ledger.db import Pool, connection

LOST_AFTER = timedelta(seconds=15)
"""An enqueued row older than this, and older than its lane's oldest message, was lost on the bus."""
MOVE_LIMIT = 1_000
"""Rows a job moves in one transaction."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows now enqueued, to be published on `lane`; `lateness` of the latest one."""

    lane: Lane
    ids: list[UUID]
    traceparents: list[str]
    lateness: timedelta


_PUMP_PLAN = """
WITH RECURSIVE apps AS (
    (SELECT app_id FROM ledger.plan_work WHERE ready_since IS NOT NULL AND priority = $1 ORDER BY app_id LIMIT 1)
    UNION ALL
    SELECT (SELECT w.app_id FROM ledger.plan_work w
            WHERE w.ready_since IS NOT NULL AND w.priority = $1 AND w.app_id > a.app_id ORDER BY w.app_id LIMIT 1)
    FROM apps a WHERE a.app_id IS NOT NULL
), share AS (
    SELECT app_id, greatest(1, $2 / count(*) OVER ()) AS n FROM apps WHERE app_id IS NOT NULL
), picked AS (
    SELECT p.notification_id FROM share s CROSS JOIN LATERAL (
        SELECT notification_id FROM ledger.plan_work w
        WHERE w.ready_since IS NOT NULL AND w.priority = $1 AND w.app_id = s.app_id
        ORDER BY notification_id LIMIT s.n FOR UPDATE SKIP LOCKED
    ) p
)
UPDATE ledger.plan_work w SET enqueued_at = now(), ready_since = NULL
FROM picked p WHERE w.notification_id = p.notification_id
RETURNING w.notification_id AS id, w.traceparent, NULL::interval AS late
"""

_PUMP_DISPATCH = """
WITH RECURSIVE apps AS (
    (SELECT app_id FROM ledger.delivery_work WHERE ready_since IS NOT NULL AND channel = $3 AND priority = $1
     ORDER BY app_id LIMIT 1)
    UNION ALL
    SELECT (SELECT w.app_id FROM ledger.delivery_work w
            WHERE w.ready_since IS NOT NULL AND w.channel = $3 AND w.priority = $1 AND w.app_id > a.app_id
            ORDER BY w.app_id LIMIT 1)
    FROM apps a WHERE a.app_id IS NOT NULL
), share AS (
    SELECT app_id, greatest(1, $2 / count(*) OVER ()) AS n FROM apps WHERE app_id IS NOT NULL
), picked AS (
    SELECT p.delivery_id FROM share s CROSS JOIN LATERAL (
        SELECT delivery_id FROM ledger.delivery_work w
        WHERE w.ready_since IS NOT NULL AND w.channel = $3 AND w.priority = $1 AND w.app_id = s.app_id AND w.state = 1
        ORDER BY delivery_id LIMIT s.n FOR UPDATE SKIP LOCKED
    ) p
)
UPDATE ledger.delivery_work w SET enqueued_at = now(), ready_since = NULL, state = 2
FROM picked p WHERE w.delivery_id = p.delivery_id
RETURNING w.delivery_id AS id, w.traceparent, NULL::interval AS late
"""

_DUE_RETRIES = """
WITH picked AS (
    SELECT delivery_id, due_at FROM ledger.delivery_work WHERE due_at <= now() AND state IN (4, 5) AND priority = ANY ($2)
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE ledger.delivery_work w SET enqueued_at = now(), due_at = NULL, state = 2
FROM picked p WHERE w.delivery_id = p.delivery_id
RETURNING w.delivery_id AS id, w.channel, w.priority, w.traceparent, now() - p.due_at AS late
"""

_DUE_STEPS = "SELECT * FROM ledger.due_steps($1, $2)"

_DUE_SCHEDULES = """
WITH due AS (
    DELETE FROM ledger.schedule WHERE notification_id IN (
        SELECT notification_id FROM ledger.schedule WHERE deliver_at <= now() ORDER BY deliver_at LIMIT $1 FOR UPDATE SKIP LOCKED
    ) RETURNING *
), stored AS (
    INSERT INTO ledger.notification (accepted_at, expire_at, id, app_id, category_id, recipient_count, priority, state, event_id,
                                     traceparent)
    SELECT accepted_at, expire_at, notification_id, app_id, category_id, recipient_count, priority, 2, event_id, traceparent FROM due
), bodies AS (
    INSERT INTO ledger.notification_body (id, payload) SELECT notification_id, payload FROM due
), work AS (
    INSERT INTO ledger.plan_work (enqueued_at, notification_id, app_id, priority, traceparent)
    SELECT now(), notification_id, app_id, priority, traceparent FROM due
), happened AS (
    INSERT INTO ledger.event (notification_id, app_id, kind) SELECT notification_id, app_id, 2 FROM due
)
SELECT notification_id AS id, priority, traceparent, now() - deliver_at AS late FROM due
"""

_LOST_PLAN = """
WITH picked AS (
    SELECT notification_id FROM ledger.plan_work
    WHERE enqueued_at < LEAST(now() - $2::interval, $3::timestamptz) AND priority = $1
      AND enqueued_at < now() - $2::interval * least(2 ^ enqueue_count, 20)
    ORDER BY enqueued_at LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE ledger.plan_work w SET enqueued_at = now(), enqueue_count = least(w.enqueue_count + 1, 1000)
FROM picked p WHERE w.notification_id = p.notification_id
RETURNING w.notification_id AS id, w.traceparent, NULL::interval AS late
"""

_LOST_DISPATCH = """
WITH picked AS (
    SELECT delivery_id FROM ledger.delivery_work
    WHERE enqueued_at < LEAST(now() - $2::interval, $3::timestamptz) AND priority = $1 AND channel = $5 AND state = 2
      AND enqueued_at < now() - $2::interval * least(2 ^ enqueue_count, 20)
    ORDER BY enqueued_at LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE ledger.delivery_work w SET enqueued_at = now(), enqueue_count = least(w.enqueue_count + 1, 1000)
FROM picked p WHERE w.delivery_id = p.delivery_id
RETURNING w.delivery_id AS id, w.traceparent, NULL::interval AS late
"""

# A call may have been made under an ended lease unless the delivery is at most once and never came to the write.
_ENDED_LEASES = """
WITH picked AS (
    SELECT delivery_id, at_most_once AND writing_at IS NOT NULL AS doubtful, attempt >= max_attempts AS spent
    FROM ledger.delivery_work
    WHERE enqueued_at < now() - $1::interval AND state = 3 AND lease_until < now()
    ORDER BY delivery_id LIMIT $2 FOR UPDATE SKIP LOCKED
), back AS (
    UPDATE ledger.delivery_work w
    SET state = 1, ready_since = now(), enqueued_at = NULL, lease_until = NULL, lease_gen = w.lease_gen + 1,
        ambiguous = NOT w.at_most_once OR w.ambiguous, writing_at = NULL
    FROM picked p WHERE w.delivery_id = p.delivery_id AND NOT p.doubtful AND NOT p.spent
    RETURNING w.delivery_id
), ended AS (
    DELETE FROM ledger.delivery_work w USING picked p
    WHERE w.delivery_id = p.delivery_id AND (p.doubtful OR p.spent)
    RETURNING w.*, CASE WHEN p.doubtful THEN 21 ELSE 25 END AS final, CASE WHEN p.doubtful THEN 42 ELSE 81 END AS why
), deliveries AS (
    UPDATE ledger.delivery d SET state = e.final, reason = e.why, attempts = e.attempt, terminal_at = now(),
        ambiguous = e.ambiguous OR e.why = 42 OR NOT e.at_most_once
    FROM ended e WHERE d.id = e.delivery_id
), happened AS (
    INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, reason, attempt)
    SELECT notification_id, delivery_id, app_id, lane_id, 5, final, why, attempt FROM ended
), letters AS (
    INSERT INTO ledger.dead_letter (delivery_id, notification_id, app_id, lane_id, channel, reason, attempts, last_code)
    SELECT delivery_id, notification_id, app_id, lane_id, channel, why, attempt, 'lease ended' FROM ended WHERE final = 25
)
SELECT (SELECT count(*) FROM back) + (SELECT count(*) FROM ended) AS moved
"""

# Rows that rest past their deadline end without a provider; those on the bus or leased are ended by their dispatcher.
_EXPIRED = """
WITH picked AS (
    SELECT delivery_id FROM ledger.delivery_work
    WHERE (ready_since IS NOT NULL OR due_at IS NOT NULL) AND expire_at <= now() AND state IN (1, 4, 5, 6, 7)
    ORDER BY delivery_id LIMIT $1 FOR UPDATE SKIP LOCKED
), ended AS (
    DELETE FROM ledger.delivery_work w USING picked p WHERE w.delivery_id = p.delivery_id RETURNING w.*
), deliveries AS (
    UPDATE ledger.delivery d SET state = 23, reason = 60, attempts = e.attempt, ambiguous = e.ambiguous, terminal_at = now()
    FROM ended e WHERE d.id = e.delivery_id
)
INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, reason, attempt)
SELECT notification_id, delivery_id, app_id, lane_id, 5, 23, 60, attempt FROM ended
"""

_RESTART_PLAN = "UPDATE ledger.plan_work SET ready_since = now(), enqueued_at = NULL WHERE enqueued_at IS NOT NULL"
_RESTART_DISPATCH = """
UPDATE ledger.delivery_work SET ready_since = now(), enqueued_at = NULL, state = 1 WHERE enqueued_at IS NOT NULL AND state = 2
"""

# What was never sent waits since it was accepted or planned, however often its publish failed.
_RELEASE_PLAN = """
UPDATE ledger.plan_work SET ready_since = least(now(), uuid_extract_timestamp(notification_id)), enqueued_at = NULL
WHERE notification_id = ANY ($1) AND enqueued_at IS NOT NULL
"""
_RELEASE_DISPATCH = """
UPDATE ledger.delivery_work
SET ready_since = CASE WHEN attempt = 0 THEN planned_at ELSE now() END, enqueued_at = NULL, state = 1
WHERE delivery_id = ANY ($1) AND state = 2
"""

_SEE_STREAM = """
INSERT INTO ledger.stream_seen AS s (stream, created_at, last_seq) VALUES ($1, $2, $3)
ON CONFLICT (stream) DO UPDATE SET created_at = excluded.created_at, last_seq = excluded.last_seq
RETURNING (SELECT o.created_at <> $2 OR o.last_seq > $3 FROM ledger.stream_seen o WHERE o.stream = $1) AS lost
"""


async def pump(pool: Pool, lane: Lane, rows: int) -> Moved:
    """Enqueue up to `rows` resting rows of a PLAN or DISPATCH lane, round robin over apps. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        if lane.channel is None:
            found = await db.fetch(_PUMP_PLAN, lane.priority, rows)
        else:
            found = await db.fetch(_PUMP_DISPATCH, lane.priority, rows, lane.channel)
    return _moved(lane, found)


async def due_retries(pool: Pool) -> list[Moved]:
    """Enqueue retries and deferred deliveries that are due, by lane. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        # A priority of a newer version has no lane here: its rows rest until that version is back, or they expire.
        found = await db.fetch(_DUE_RETRIES, MOVE_LIMIT, list(Priority))
    return _on_retry_lanes(found)


async def due_steps(pool: Pool) -> tuple[list[Moved], int]:
    """Enqueue steps of escalations that are due and needed; gives them by lane, and how many ended since an earlier step
    was enough. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        found = await db.fetch(_DUE_STEPS, MOVE_LIMIT, list(Priority))
    going = [row for row in found if not row["ended"]]
    return _on_retry_lanes(going), len(found) - len(going)


def _on_retry_lanes(found: Sequence[asyncpg.Record]) -> list[Moved]:
    lanes = {(row["channel"], row["priority"]) for row in found}
    return [
        _moved(
            Lane(Stream.RETRY, Priority(priority), Channel(channel)),
            [row for row in found if (row["channel"], row["priority"]) == (channel, priority)],
        )
        for channel, priority in sorted(lanes)
    ]


async def due_schedules(pool: Pool) -> list[Moved]:
    """Let scheduled notifications that are due enter the ledger. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        found = await db.fetch(_DUE_SCHEDULES, MOVE_LIMIT)
    return [
        _moved(Lane(Stream.PLAN, Priority(priority)), [row for row in found if row["priority"] == priority])
        for priority in sorted({row["priority"] for row in found})
    ]


async def lost(pool: Pool, lane: Lane, oldest_message: datetime | None, *, lost_after: timedelta = LOST_AFTER) -> Moved:
    """Enqueue again what the bus of a PLAN or DISPATCH lane can no longer hold.

    `oldest_message`: time of the oldest message still on the lane's subjects, None if there is none. The wait doubles
    with every round, up to twenty times `lost_after`. Raises LedgerUnavailable.
    """
    async with connection(pool) as db:
        limit = oldest_message if oldest_message is not None else await db.fetchval("SELECT now()")
        if lane.channel is None:
            found = await db.fetch(_LOST_PLAN, lane.priority, lost_after, limit, MOVE_LIMIT)
        else:
            found = await db.fetch(_LOST_DISPATCH, lane.priority, lost_after, limit, MOVE_LIMIT, lane.channel)
    return _moved(lane, found)


async def ended_leases(pool: Pool) -> int:
    """Take back deliveries whose lease ended; gives how many. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        return int(await db.fetchval(_ENDED_LEASES, timedelta(seconds=1), MOVE_LIMIT))


async def expired(pool: Pool) -> int:
    """End resting deliveries past their deadline; gives how many. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        return _count(await db.execute(_EXPIRED, MOVE_LIMIT))


async def release(pool: Pool, lane: Lane, ids: Sequence[UUID]) -> None:
    """Give rows back to the pump whose publish was not confirmed. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        await db.execute(_RELEASE_PLAN if lane.channel is None else _RELEASE_DISPATCH, ids)


async def stream_lost_content(pool: Pool, stream: str, created_at: datetime, last_seq: int) -> bool:
    """Note what a stream looks like now; True if it was made anew or went backwards. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        return bool(await db.fetchval(_SEE_STREAM, stream, created_at, last_seq))


async def restart(pool: Pool, stream: Stream) -> int:
    """Give every row a lost stream held back to the pump; gives how many. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        statement = _RESTART_PLAN if stream is Stream.PLAN else _RESTART_DISPATCH
        return _count(await db.execute(statement, timeout=30))


async def has_ready(pool: Pool) -> tuple[set[tuple[int, int]], set[tuple[int, int, int]]]:
    """Apps with resting rows: (priority, app) to plan and (channel, priority, app) to dispatch. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        plans = await db.fetch("SELECT DISTINCT priority, app_id FROM ledger.plan_work WHERE ready_since IS NOT NULL")
        deliveries = await db.fetch(
            "SELECT DISTINCT channel, priority, app_id FROM ledger.delivery_work WHERE ready_since IS NOT NULL"
        )
    return (
        {(row["priority"], row["app_id"]) for row in plans},
        {(row["channel"], row["priority"], row["app_id"]) for row in deliveries},
    )


async def ensure_partitions(pool: Pool) -> int:
    """Partitions for 14 days ahead and the epoch of event ids; gives how many were made. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        made = await db.fetchval(
            "SELECT ledger.ensure_partitions((now() AT TIME ZONE 'UTC')::date, (now() AT TIME ZONE 'UTC')::date + 14)"
        )
        await db.execute("SELECT ledger.rotate_event_epoch()")
        return int(made)


async def take_lease(pool: Pool, name: str, holder: str, duration: timedelta) -> bool:
    """Hold (or keep holding) the singleton job `name`. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        row = await db.fetchrow(
            """INSERT INTO ledger.lease AS l (name, holder, until) VALUES ($1, $2, now() + $3)
               ON CONFLICT (name) DO UPDATE SET holder = $2, until = now() + $3 WHERE l.holder = $2 OR l.until < now()
               RETURNING holder""",
            name,
            holder,
            duration,
        )
    return row is not None


def _moved(lane: Lane, rows: Sequence[asyncpg.Record]) -> Moved:
    latenesses = [row["late"] for row in rows if row["late"] is not None]
    return Moved(
        lane,
        [row["id"] for row in rows],
        [row["traceparent"] or "" for row in rows],
        max(latenesses, default=timedelta(0)),
    )


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
