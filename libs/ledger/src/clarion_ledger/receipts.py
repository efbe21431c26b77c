"""Receipts: what came back for a delivery, applied by rank, whatever the order and however often."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from clarion_kit.sealing import AppSealer
from clarion_kit.vocabulary import Receipt
from clarion_ledger.db import Connection, Pool, connection

LOOK_BACK = timedelta(days=4)
"""How old an attempt may be for a receipt to find it by the provider's message id."""


@dataclass(frozen=True, slots=True)
class ReceiptFor:
    """A receipt of one delivery; `code` is the provider's word."""

    delivery_id: UUID
    receipt: Receipt
    code: str = ""


def seal_inbound(sealer: AppSealer, lane_id: int, body: bytes) -> bytes:
    """What a provider sent to a lane, as it rests in `tracking.inbound`: it names the recipient's number."""
    return sealer.seal("inbound", b"%d" % lane_id, "body", body)


def open_inbound(sealer: AppSealer, lane_id: int, sealed: bytes) -> bytes:
    """Raises Unsealable."""
    return sealer.open("inbound", b"%d" % lane_id, "body", sealed)


TALLIED_FOR = timedelta(hours=1)
"""How old a hand-over may be for its receipt to say something of its account: a phone that was off for a day says nothing."""

_FIND = """
SELECT a.receipt_key, a.delivery_id FROM ledger.attempt a
WHERE a.receipt_key = ANY ($1) AND a.delivery_id >= ledger.uuid_floor(now() - $2::interval)
ORDER BY a.delivery_id
"""
_APPLY = """
WITH input AS (
    SELECT DISTINCT ON (i.delivery_id) * FROM unnest($1::uuid[], $2::int2[], $3::text[]) AS i (delivery_id, receipt, code)
    ORDER BY i.delivery_id, i.receipt DESC
), raised AS (
    UPDATE ledger.delivery d SET receipt = i.receipt, receipt_at = now() FROM input i
    WHERE d.id = i.delivery_id AND d.receipt < i.receipt AND d.state = 20
    RETURNING d.id, d.notification_id, d.app_id, d.lane_id, d.attempts, i.code, d.channel, d.country, d.terminal_at,
              d.receipt, old.receipt AS former
), sms AS (
    SELECT lane_id, coalesce(country, '') AS country, receipt, former,
           least(15, ceil(log(2, greatest(1, extract(epoch FROM now() - terminal_at)))))::int2 AS bucket
    FROM raised WHERE channel = 4 AND lane_id IS NOT NULL AND former < 2 AND terminal_at > now() - $4::interval
), tallied AS (
    INSERT INTO ledger.receipt_tally AS t (minute, lane_id, country, bucket, count)
    SELECT date_trunc('minute', now()), c.lane_id, c.country, c.bucket, sum(c.change) FROM (
        SELECT lane_id, country, CASE receipt WHEN 1 THEN -1 ELSE bucket END AS bucket, 1 AS change FROM sms
        UNION ALL
        SELECT lane_id, country, -1, -1 FROM sms WHERE former = 1
    ) c
    GROUP BY 2, 3, 4 ORDER BY 2, 3, 4
    ON CONFLICT (minute, lane_id, country, bucket) DO UPDATE SET count = t.count + excluded.count
), happened AS (
    INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, attempt, code, receipt, former)
    SELECT notification_id, id, app_id, lane_id, 6, 20, attempts, NULLIF(code, ''), receipt, former FROM raised
)
SELECT id FROM raised
"""


# A redriven delivery that died is redriven again, at most as often as there are epochs.
_REPLACED = """
WITH RECURSIVE chain AS (
    SELECT t.delivery_id AS told, t.redriven_as AS id, 1 AS hops
    FROM ledger.dead_letter t WHERE t.delivery_id = ANY ($1) AND t.redriven_as IS NOT NULL
    UNION ALL
    SELECT c.told, t.redriven_as, c.hops + 1
    FROM chain c JOIN ledger.dead_letter t ON t.delivery_id = c.id WHERE t.redriven_as IS NOT NULL AND c.hops < 256
)
SELECT DISTINCT ON (told) told, id FROM chain ORDER BY told, hops DESC
"""


async def find_deliveries(pool: Pool, receipt_keys: Sequence[str]) -> dict[str, UUID]:
    """Deliveries by the key their attempt was stored under, the latest where a carrier used an id again. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(_FIND, receipt_keys, LOOK_BACK)
    return {row["receipt_key"]: row["delivery_id"] for row in rows}


async def replaced(db: Connection, delivery_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Of deliveries that were redriven, those that went in their place, each time the last one.

    A message is made when it is planned, and what stands in it (pixel, links, token) names its first delivery ever after.
    """
    rows = await db.fetch(_REPLACED, list(delivery_ids)) if delivery_ids else []
    return {row["told"]: row["id"] for row in rows}


async def apply(pool: Pool, receipts: Sequence[ReceiptFor]) -> set[UUID]:
    """Raise receipts; gives the deliveries that changed. One that is not `sent` (yet) does not change: apply again later.

    Raises LedgerUnavailable.
    """
    if not receipts:
        return set()
    ids = [r.delivery_id for r in receipts]
    async with connection(pool) as db:
        rows = await db.fetch(_APPLY, ids, [r.receipt for r in receipts], [r.code for r in receipts], TALLIED_FOR)
    return {row["id"] for row in rows}
