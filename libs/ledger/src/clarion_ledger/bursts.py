"""Bursts of SMS to numbers of one prefix: what one planner noticed, every planner and the monitor know."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from clarion_ledger.db import Pool, connection

HOLD = timedelta(minutes=10)
"""How long a prefix is held back after it was last noticed."""
REMEMBERED = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Burst:
    """A prefix (`bucket`: its keyed digest) of an app that is being flooded; `stopped` SMS since the last report."""

    app_id: int
    bucket: str
    stopped: int


# A burst that comes again after its hold has ended begins anew.
_REPORT = """
INSERT INTO ledger.sms_burst AS b (app_id, bucket, held_until, stopped)
SELECT i.app_id, i.bucket, now() + $4, i.stopped
FROM unnest($1::int4[], $2::text[], $3::int8[]) AS i (app_id, bucket, stopped)
JOIN ledger.app a ON a.app_id = i.app_id
ORDER BY i.app_id, i.bucket
ON CONFLICT (app_id, bucket) DO UPDATE SET
    began_at = CASE WHEN b.held_until < now() THEN now() ELSE b.began_at END,
    stopped = CASE WHEN b.held_until < now() THEN 0 ELSE b.stopped END + excluded.stopped,
    held_until = excluded.held_until
"""
_FORGET = "DELETE FROM ledger.sms_burst WHERE held_until < now() - $1::interval"


async def report(pool: Pool, bursts: Sequence[Burst]) -> None:
    """Hold these back from now on, for `HOLD`; at most one for each bucket. Raises LedgerUnavailable."""
    if not bursts:
        return
    async with connection(pool) as db:
        await db.execute(
            _REPORT,
            [burst.app_id for burst in bursts],
            [burst.bucket for burst in bursts],
            [burst.stopped for burst in bursts],
            HOLD,
        )
        await db.execute(_FORGET, REMEMBERED)


async def held(pool: Pool) -> frozenset[tuple[int, str]]:
    """App and bucket of what is held back now. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch("SELECT app_id, bucket FROM ledger.sms_burst WHERE held_until > now()")
    return frozenset((row["app_id"], row["bucket"]) for row in rows)
