"""Deliveries of the ledger."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from clarion_kit.vocabulary import DeliveryState
from clarion_ledger import receipts
from clarion_ledger.db import Pool, connection
from clarion_tracker.inbound import DeliveryReceipt, Target

_TARGETS = """
SELECT id, app_id, address_id, state FROM ledger.delivery WHERE id = ANY ($1) AND id BETWEEN $2 AND $3
"""


class Ledger:
    """Reads deliveries and raises their receipts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, receipt_keys: Sequence[str]) -> Mapping[str, UUID]:
        return await receipts.find_deliveries(self._pool, receipt_keys)

    async def raise_receipts(self, raised: Sequence[DeliveryReceipt]) -> set[UUID]:
        return await receipts.apply(
            self._pool, [receipts.ReceiptFor(one.delivery_id, one.receipt, one.code) for one in raised]
        )

    async def targets(self, delivery_ids: Collection[UUID]) -> Mapping[UUID, Target]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_TARGETS, list(delivery_ids), min(delivery_ids), max(delivery_ids))
        return {
            row["id"]: Target(row["id"], row["app_id"], row["address_id"], DeliveryState(row["state"])) for row in rows
        }
