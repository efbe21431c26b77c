"""Stopped lanes: accounts that take no work now, seen by all dispatchers, and what becomes of the rows they hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from clarion_kit.vocabulary import StopReason
from clarion_ledger import audit_log
from clarion_ledger.db import Connection, Pool, connection

MAX_DETAIL = 200


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a lane takes no work. `probe_due`: it may be tried again now, by the database's clock."""

    lane_id: int
    app_id: int
    reason: StopReason
    since: datetime
    detail: str
    probes: int
    probe_due: bool


# A person's stop, and one that waits for a person, overrule what goes away by itself; never the other way round.
_STOP = """
INSERT INTO ledger.lane_stop AS s (lane_id, app_id, reason, detail, probe_at) VALUES ($1, $2, $3, $4, now() + $5::interval)
ON CONFLICT (lane_id) DO UPDATE SET reason = excluded.reason, detail = excluded.detail, probe_at = excluded.probe_at
WHERE s.probe_at IS NOT NULL AND excluded.probe_at IS NULL
"""

_RELEASE = """
WITH RECURSIVE lanes AS (
    (SELECT lane_id FROM ledger.delivery_work WHERE due_at = 'infinity' ORDER BY lane_id LIMIT 1)
    UNION ALL
    SELECT (SELECT w.lane_id FROM ledger.delivery_work w WHERE w.due_at = 'infinity' AND w.lane_id > l.lane_id
            ORDER BY w.lane_id LIMIT 1)
    FROM lanes l WHERE l.lane_id IS NOT NULL
), picked AS (
    SELECT p.delivery_id FROM lanes l CROSS JOIN LATERAL (
        SELECT w.delivery_id FROM ledger.delivery_work w
        WHERE w.lane_id = l.lane_id AND w.due_at = 'infinity' AND w.state = 6
        ORDER BY w.delivery_id LIMIT $1 FOR UPDATE SKIP LOCKED
    ) p
    WHERE NOT EXISTS (SELECT FROM ledger.lane_stop s WHERE s.lane_id = l.lane_id)
), moved AS (
    UPDATE ledger.delivery_work w SET state = 1, ready_since = now(), due_at = NULL
    FROM picked p WHERE w.delivery_id = p.delivery_id
    RETURNING w.delivery_id
)
SELECT count(*) FROM moved
"""

_HELD_TOO_LONG = """
WITH picked AS (
    SELECT p.delivery_id FROM unnest($1::int4[], $2::interval[]) AS i (lane_id, hold_limit)
    JOIN ledger.lane_stop s ON s.lane_id = i.lane_id AND s.since < now() - i.hold_limit
    CROSS JOIN LATERAL (
        SELECT w.delivery_id FROM ledger.delivery_work w
        WHERE w.lane_id = i.lane_id AND w.due_at = 'infinity' AND w.state = 6 AND w.planned_at < now() - i.hold_limit
        ORDER BY w.delivery_id LIMIT $3 FOR UPDATE SKIP LOCKED
    ) p
), ended AS (
    DELETE FROM ledger.delivery_work w USING picked p WHERE w.delivery_id = p.delivery_id RETURNING w.*
), deliveries AS (
    UPDATE ledger.delivery d SET state = 25, reason = 82, attempts = e.attempt, ambiguous = e.ambiguous, terminal_at = now()
    FROM ended e WHERE d.id = e.delivery_id
), happened AS (
    INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, reason, attempt)
    SELECT notification_id, delivery_id, app_id, lane_id, 5, 25, 82, attempt FROM ended
), letters AS (
    INSERT INTO ledger.dead_letter (delivery_id, notification_id, app_id, lane_id, channel, reason, attempts, last_code)
    SELECT delivery_id, notification_id, app_id, lane_id, channel, 82, attempt, 'held too long' FROM ended
)
SELECT count(*) FROM ended
"""


async def stop(
    pool: Pool, lane_id: int, app_id: int, reason: StopReason, detail: str, probe_after: timedelta | None
) -> None:
    """Stop a lane for all dispatchers; `probe_after` None where only a person lets it go on. A person's stop is in the
    audit log. Raises LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        await db.execute(_STOP, lane_id, app_id, reason, detail[:MAX_DETAIL], probe_after)
        if reason is StopReason.OPERATOR:
            target = f"provider {await _name(db, lane_id)}"
            await audit_log.record(db, "StopProvider", app_id, target, after={"detail": detail[:MAX_DETAIL]})


async def resume(pool: Pool, lane_id: int, *, by_operator: bool = False) -> bool:
    """Let a lane go on; what it holds follows by `release`. True if it was stopped; `by_operator`: that is in the audit
    log. Raises LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        stop = await db.fetchrow("DELETE FROM ledger.lane_stop WHERE lane_id = $1 RETURNING app_id, reason", lane_id)
        if stop is not None and by_operator:
            target, reason = f"provider {await _name(db, lane_id)}", StopReason(stop["reason"]).name
            await audit_log.record(db, "ResumeProvider", stop["app_id"], target, before={"stopped": reason})
    return stop is not None


async def _name(db: Connection, lane_id: int) -> str:
    return str(await db.fetchval("SELECT name FROM ledger.lane WHERE lane_id = $1", lane_id))


async def stopped(pool: Pool) -> dict[int, Stop]:
    """Every stopped lane by id. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch("SELECT *, coalesce(probe_at <= now(), false) AS probe_due FROM ledger.lane_stop")
    return {
        row["lane_id"]: Stop(
            row["lane_id"],
            row["app_id"],
            StopReason(row["reason"]),
            row["since"],
            row["detail"],
            row["probes"],
            row["probe_due"],
        )
        for row in rows
    }


async def take_probe(pool: Pool, lane_id: int, again_after: timedelta) -> bool:
    """Claim the trial of a stopped lane that is due; one dispatcher gets it. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        taken = await db.execute(
            "UPDATE ledger.lane_stop SET probe_at = now() + $2::interval, probes = probes + 1 "
            "WHERE lane_id = $1 AND probe_at <= now()",
            lane_id,
            again_after,
        )
    return taken.endswith("1")


async def release(pool: Pool, rows: int) -> int:
    """Give back to the pump what lanes hold that are not stopped (any more), up to `rows` a lane; gives how many. Raises
    LedgerUnavailable."""
    async with connection(pool) as db:
        return int(await db.fetchval(_RELEASE, rows))


async def end_held(pool: Pool, limits: Sequence[tuple[int, timedelta]], rows: int) -> int:
    """Dead-letter what stopped lanes (id, limit) held longer than their limit; gives how many. Raises LedgerUnavailable."""
    if not limits:
        return 0
    async with connection(pool) as db:
        return int(
            await db.fetchval(_HELD_TOO_LONG, [lane for lane, _ in limits], [limit for _, limit in limits], rows)
        )
