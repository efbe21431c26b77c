"""`tracking.inbound` in Postgres."""

import logging
from collections.abc import Sequence
from datetime import timedelta

import asyncpg

from clarion_kit.sealing import Unsealable
from clarion_ledger.db import Pool, connection
from clarion_ledger.keys import KeyRing
from clarion_ledger.receipts import open_inbound, seal_inbound
from clarion_tracker.inbound import InboundRow, Settled

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
"""How long taken rows are ours; a tracker that dies gives them back by that."""

MAX_BYTES = 2 << 20
"""Rows of one batch end with the one that passes this: some hold a thousand events."""

_TAKE = """
WITH due AS (
    SELECT inbound_id, next_at, octet_length(body) AS size FROM tracking.inbound
    WHERE applied_at IS NULL AND next_at <= now() AND kind = ANY ($3)
    ORDER BY next_at LIMIT $1 FOR UPDATE SKIP LOCKED
), fitting AS (
    SELECT inbound_id, sum(size) OVER (ORDER BY next_at, inbound_id) - size AS before FROM due
)
UPDATE tracking.inbound i SET next_at = now() + $2::interval, tries = least(i.tries + 1, 32000)
FROM fitting f
WHERE i.inbound_id = f.inbound_id AND f.before < $4
RETURNING i.inbound_id, i.app_id, i.lane_id, i.kind, i.body, i.received_at, i.tries, now() - i.received_at AS age
"""
_STORE = """
INSERT INTO tracking.inbound (app_id, lane_id, provider, kind, body, call_digest) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (call_digest) WHERE call_digest IS NOT NULL DO NOTHING
RETURNING inbound_id
"""
_SETTLE = """
UPDATE tracking.inbound i
SET applied_at = CASE WHEN s.result IS NOT NULL THEN now() END, result = s.result, next_at = now() + s.delay,
    body = CASE WHEN s.result IS NULL THEN i.body ELSE '' END
FROM unnest($1::int8[], $2::text[], $3::interval[]) AS s (inbound_id, result, delay)
WHERE i.inbound_id = s.inbound_id AND i.applied_at IS NULL
"""
_PRUNE = """
DELETE FROM tracking.inbound WHERE inbound_id IN (
    SELECT inbound_id FROM tracking.inbound WHERE applied_at < now() - $1::interval
    ORDER BY inbound_id LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""


class InboundTable:
    """Rows of the kinds this tracker can read; others wait for one that can."""

    def __init__(self, pool: Pool, keys: KeyRing, kinds: Sequence[str]) -> None:
        self._pool = pool
        self._keys = keys
        self._kinds = kinds

    async def take(self, limit: int) -> list[InboundRow]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_TAKE, limit, LEASE, self._kinds, MAX_BYTES)
        return [
            InboundRow(
                row["inbound_id"],
                row["app_id"],
                row["lane_id"],
                row["kind"],
                await self._opened(row),
                row["received_at"],
                row["tries"],
                row["age"],
            )
            for row in rows
        ]

    async def store(self, app_id: int, lane_id: int, provider: str, kind: str, body: bytes, identity: bytes) -> bool:
        """As `ports.Arrivals` says."""
        sealer = await self._keys.sealer(app_id)
        digest = sealer.blind_index(f"inbound {kind}", b"%d\0%s" % (lane_id, identity))
        sealed = seal_inbound(sealer, lane_id, body)
        async with connection(self._pool) as db:
            stored = await db.fetchval(_STORE, app_id, lane_id, provider, kind, sealed, digest)
        return stored is not None

    async def _opened(self, row: asyncpg.Record) -> bytes:
        """The body; empty, which no reader takes for a receipt, where it cannot be opened."""
        try:
            return open_inbound(await self._keys.sealer(row["app_id"], row["body"]), row["lane_id"], row["body"])
        except (Unsealable, KeyError) as sealed:
            log.error("an inbound row cannot be opened: %s", sealed, extra={"inbound_id": row["inbound_id"]})
            return b""

    async def settle(self, settled: Sequence[Settled]) -> None:
        async with connection(self._pool) as db:
            await db.execute(
                _SETTLE,
                [one.inbound_id for one in settled],
                [one.result for one in settled],
                [one.delay for one in settled],
            )

    async def prune(self, older_than: timedelta, limit: int) -> int:
        async with connection(self._pool) as db:
            deleted: str = await db.execute(_PRUNE, older_than, limit)
        return int(deleted.removeprefix("DELETE "))
