"""Incidents in the ledger's database, shared by all monitors."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

import asyncpg

from clarion_ledger.db import Pool, connection
from clarion_monitor.domain import Kind, Reading
from clarion_monitor.notices import Notice, Status

CLAIM = timedelta(seconds=60)
"""How long a claimed message is its claimer's; longer than any sink takes."""
CLAIMED_AT_ONCE = 20
_MAX_PAUSE = timedelta(seconds=60)
_KEPT = timedelta(days=30)

# An account's breaker opens because its attempts fail: whichever of these is seen first is told, the others are not.
_ONE_TROUBLE = [Kind.FAILURES, Kind.PROVIDER_ERRORS, Kind.BREAKER]

_SEE = """
INSERT INTO ledger.incident AS o (key, kind, what, unit, value, limit_value, app_id, lane_id)
SELECT i.* FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::float8[], $7::int4[], $8::int4[])
    AS i (key, kind, what, unit, value, limit_value, app_id, lane_id)
WHERE NOT EXISTS (
    SELECT FROM ledger.incident t
    WHERE t.resolved_at IS NULL AND t.lane_id = i.lane_id AND t.kind <> i.kind AND t.kind = ANY ($9) AND i.kind = ANY ($9)
)
ORDER BY i.key
ON CONFLICT (key) DO UPDATE SET
    what = excluded.what, value = excluded.value, limit_value = excluded.limit_value, last_seen = now(), resolved_at = NULL,
    since = CASE WHEN o.resolved_at IS NULL THEN o.since ELSE now() END
"""
_CLEAR = """
UPDATE ledger.incident SET resolved_at = now()
WHERE kind = $1 AND resolved_at IS NULL AND key <> ALL ($2) AND last_seen < now() - $3::interval
"""
_OPEN = "SELECT kind, count(*) AS n FROM ledger.incident WHERE resolved_at IS NULL GROUP BY 1"

# Due: an episode that a sink was not told of, one that goes on since its last message, one that is over. What was over
# before a sink could be told is told once, if it was tried.
_CLAIM = """
WITH due AS (
    SELECT i.key, s.sink
    FROM ledger.incident i CROSS JOIN unnest($1::text[]) AS s (sink)
    LEFT JOIN ledger.incident_notice t ON t.key = i.key AND t.sink = s.sink
    WHERE coalesce(t.next_at <= now(), true) AND CASE
        WHEN i.resolved_at IS NULL THEN t.told_since IS DISTINCT FROM i.since OR t.notified_at < now() - $3::interval
        WHEN t.told_since = i.since THEN t.resolved_at IS NULL
        ELSE t.tries > 0 END
    ORDER BY i.since, i.key, s.sink LIMIT $4
), claimed AS (
    INSERT INTO ledger.incident_notice AS n (key, sink, next_at, tries) SELECT key, sink, now() + $2::interval, 1 FROM due
    ON CONFLICT (key, sink) DO UPDATE SET next_at = excluded.next_at, tries = n.tries + 1 WHERE n.next_at <= now()
    RETURNING n.key, n.sink, n.tries, n.told_since
)
SELECT c.*, i.kind, i.what, i.unit, i.value, i.limit_value, i.since, i.resolved_at, a.name AS app, l.name AS lane
FROM claimed c
JOIN ledger.incident i ON i.key = c.key
LEFT JOIN ledger.app a ON a.app_id = i.app_id
LEFT JOIN ledger.lane l ON l.lane_id = i.lane_id
ORDER BY i.since, c.key
"""
_TOLD = """
UPDATE ledger.incident_notice SET
    next_at = now(), tries = 0, told_since = $3,
    notified_at = CASE WHEN $4::timestamptz IS NULL THEN now() ELSE notified_at END, resolved_at = $4
WHERE key = $1 AND sink = $2
"""
_PUT_OFF = "UPDATE ledger.incident_notice SET next_at = now() + $3::interval WHERE key = $1 AND sink = $2"
_FORGET = "DELETE FROM ledger.incident WHERE resolved_at < now() - $1::interval"


class IncidentStore:
    """`remind_every`: pause between two messages that an incident goes on; `recover_after`: how long a cause must be
    unseen before its incident is over."""

    def __init__(self, pool: Pool, *, remind_every: timedelta, recover_after: timedelta) -> None:
        self._pool = pool
        self._remind_every = remind_every
        self._recover_after = recover_after

    async def settle(self, kind: Kind, passed: Sequence[Reading]) -> None:
        keys = [reading.key for reading in passed]
        async with connection(self._pool) as db:
            if passed:
                await db.execute(
                    _SEE,
                    keys,
                    [kind] * len(passed),
                    [reading.what for reading in passed],
                    [reading.unit for reading in passed],
                    [float(reading.value) for reading in passed],
                    [float(reading.limit) for reading in passed],
                    [reading.app_id for reading in passed],
                    [reading.lane_id for reading in passed],
                    _ONE_TROUBLE,
                )
            await db.execute(_CLEAR, kind, keys, self._recover_after)

    async def open_by_kind(self) -> Mapping[Kind, int]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_OPEN)
        known = {kind.value for kind in Kind}
        return {Kind(row["kind"]): row["n"] for row in rows if row["kind"] in known}

    async def claim(self, sinks: Collection[str]) -> list[Notice]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_CLAIM, list(sinks), CLAIM, self._remind_every, CLAIMED_AT_ONCE)
        return [_notice(row) for row in rows]

    async def told(self, notice: Notice) -> None:
        async with connection(self._pool) as db:
            await db.execute(_TOLD, notice.key, notice.sink, notice.since, notice.resolved_at)

    async def put_off(self, notice: Notice) -> None:
        pause = min(_MAX_PAUSE, timedelta(seconds=2.0 ** min(notice.tries, 6)))
        async with connection(self._pool) as db:
            await db.execute(_PUT_OFF, notice.key, notice.sink, pause)

    async def forget(self) -> None:
        async with connection(self._pool) as db:
            await db.execute(_FORGET, _KEPT)


def _notice(row: asyncpg.Record) -> Notice:
    going_on = Status.REMINDER if row["told_since"] == row["since"] else Status.ALERT
    return Notice(
        sink=row["sink"],
        status=going_on if row["resolved_at"] is None else Status.RESOLVED,
        key=row["key"],
        kind=row["kind"],
        what=row["what"],
        value=row["value"],
        limit=row["limit_value"],
        unit=row["unit"],
        since=row["since"],
        resolved_at=row["resolved_at"],
        app=row["app"] or "",
        lane=row["lane"] or "",
        tries=row["tries"],
    )
