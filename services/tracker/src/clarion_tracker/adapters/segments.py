"""Segments of longer messages in Postgres: noted with the record of their send, kept while receipts come."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from clarion_kit.vocabulary import Receipt
from clarion_ledger.db import Pool, connection
from clarion_tracker.inbound import Segment

# A carrier may use an id again: the latest message counts.
_FIND = """
SELECT receipt_key, delivery_id, position FROM tracking.segment WHERE receipt_key = ANY ($1) ORDER BY delivery_id
"""
_PRUNE = """
DELETE FROM tracking.segment WHERE (delivery_id, position, receipt_key) IN (
    SELECT delivery_id, position, receipt_key FROM tracking.segment WHERE noted_at < now() - $1::interval
    ORDER BY delivery_id, position, receipt_key LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""
_NONE = 0


class SegmentTable:
    """`ports.Segments` on `tracking.segment`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, receipt_keys: Sequence[str]) -> Mapping[str, Segment]:
        async with connection(self._pool) as db:
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
