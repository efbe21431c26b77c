"""`ledger.receipt_tally` and `ledger.lane_quality`: counted as receipts are applied, rolled up by one tracker at a time."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

from clarion_ledger import flow
from clarion_ledger.db import Pool, connection
from clarion_tracker.quality import BEST_FACTOR, Judged, Standing

LEASE = timedelta(seconds=30)
KEPT = timedelta(hours=2)
_JOB = "sender quality"
_TALLIES = """
SELECT lane_id, country, bucket, sum(count)::int8 AS count FROM ledger.receipt_tally
WHERE minute > now() - $1::interval GROUP BY 1, 2, 3
"""
_STANDINGS = "SELECT lane_id, country, factor, now() - changed_at AS unchanged_for FROM ledger.lane_quality"
_PUT = """
INSERT INTO ledger.lane_quality AS q (lane_id, country, delivered, undelivered, median_seconds, factor)
SELECT * FROM unnest($1::int4[], $2::text[], $3::int4[], $4::int4[], $5::int4[], $6::int2[]) ORDER BY 1, 2
ON CONFLICT (lane_id, country) DO UPDATE
SET delivered = excluded.delivered, undelivered = excluded.undelivered, median_seconds = excluded.median_seconds,
    factor = excluded.factor, measured_at = now(),
    changed_at = CASE WHEN q.factor = excluded.factor THEN q.changed_at ELSE now() END
"""
# Nothing to remember: its receipts are over, and it has all of its weight.
_FORGET = "DELETE FROM ledger.lane_quality WHERE delivered + undelivered = 0 AND factor = $1"
_PRUNE = "DELETE FROM ledger.receipt_tally WHERE minute < now() - $1::interval"


class QualityTable:
    """`ports.Qualities`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._holder = uuid4().hex

    async def mine(self) -> bool:
        return await flow.take_lease(self._pool, _JOB, self._holder, LEASE)

    async def tallies(self, window: timedelta) -> dict[tuple[int, str], dict[int, int]]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_TALLIES, window)
        found: dict[tuple[int, str], dict[int, int]] = {}
        for row in rows:
            found.setdefault((row["lane_id"], row["country"]), {})[row["bucket"]] = row["count"]
        return found

    async def standings(self) -> list[Standing]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_STANDINGS)
        return [Standing(row["lane_id"], row["country"], row["factor"], row["unchanged_for"]) for row in rows]

    async def put(self, judged: Sequence[Judged]) -> None:
        async with connection(self._pool) as db, db.transaction():
            await db.execute(
                _PUT,
                [one.lane_id for one in judged],
                [one.country for one in judged],
                [one.measured.delivered for one in judged],
                [one.measured.undelivered for one in judged],
                [one.measured.median_seconds for one in judged],
                [one.factor for one in judged],
            )
            await db.execute(_FORGET, BEST_FACTOR)
            await db.execute(_PRUNE, KEPT)
