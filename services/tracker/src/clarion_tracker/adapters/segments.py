"""Segments of longer messages in Postgres: found through the attempt that sent them, kept while receipts come."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from clarion_kit.vocabulary import Receipt
from clarion_ledger.db import Pool, connection
from clarion_ledger.receipts import LOOK_BACK
from clarion_tracker.inbound import Segment

# An attempt is stored under the key of its first segment and names all of them; keys as the engine makes them: in lower
# case, without leading zeros.
_EXPAND = """
INSERT INTO tracking.segment (delivery_id, position, receipt_key)
SELECT a.delivery_id, s.place - 1,
       a.lane_id || ':' || coalesce(nullif(ltrim(s.id, '0'), ''), left(s.id, 1))
FROM ledger.attempt a
CROSS JOIN unnest(string_to_array(lower(a.provider_message_id), ',')) WITH ORDINALITY AS p (id, place)
CROSS JOIN LATERAL (SELECT btrim(p.id) AS id, p.place) s
WHERE a.receipt_key = ANY ($1) AND a.delivery_id >= ledger.uuid_floor(now() - $2::interval)
  AND strpos(a.provider_message_id, ',') > 0 AND s.id <> ''
ORDER BY 1, 2
ON CONFLICT DO NOTHING
"""
# A carrier may use an id again: the latest message counts.
_FIND = """
SELECT receipt_key, delivery_id, position FROM tracking.segment WHERE receipt_key = ANY ($1) ORDER BY delivery_id
"""
_PRUNE = """
DELETE FROM tracking.segment WHERE (delivery_id, position) IN (
    SELECT delivery_id, position FROM tracking.segment WHERE noted_at < now() - $1::interval
    ORDER BY delivery_id, position LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""
_NONE = 0


class SegmentTable:
    """`ports.Segments` on `tracking.segment`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, receipt_keys: Sequence[str]) -> Mapping[str, Segment]:
        async with connection(self._pool) as db:
            await db.execute(_EXPAND, receipt_keys, LOOK_BACK)
            rows = await db.fetch(_FIND, receipt_keys)
        return {row["receipt_key"]: Segment(row["delivery_id"], row["position"]) for row in rows}

    async def raise_receipts(self, receipts: Sequence[tuple[Segment, Receipt]]) -> Mapping[UUID, Receipt | None]:
        async with connection(self._pool) as db:
            rows = await db.fetch(
                "SELECT delivery, whole FROM tracking.raise_segments($1, $2, $3)",
                [segment.delivery_id for segment, _ in receipts],
                [segment.position for segment, _ in receipts],
                [receipt for _, receipt in receipts],
            )
        return {row["delivery"]: Receipt(row["whole"]) if row["whole"] != _NONE else None for row in rows}

    async def prune(self, older_than: timedelta, limit: int) -> int:
        async with connection(self._pool) as db:
            deleted: str = await db.execute(_PRUNE, older_than, limit)
        return int(deleted.removeprefix("DELETE "))
