"""Receipts in the traces of their notifications: each that raised a sampled delivery's receipt is a span there.

It hangs below the notification, whatever time has passed, and is linked to the attempt it answers.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from opentelemetry.trace import SpanKind

from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.telemetry import names
from clarion_kit.telemetry.tracing import Tracing, attempt_span
from clarion_kit.vocabulary import Channel, Receipt
from clarion_ledger.db import Pool, connection
from clarion_tracker.inbound import DeliveryReceipt, Target
from clarion_tracker.ports import Deliveries

log = logging.getLogger(__name__)

_SAMPLED = """
SELECT d.id, d.notification_id, d.attempts, d.channel, d.receipt, n.traceparent
FROM ledger.delivery d JOIN ledger.notification n ON n.id = d.notification_id
WHERE d.id = ANY ($1) AND d.id BETWEEN $2 AND $3 AND n.traceparent <> ''
"""


class TracedDeliveries:
    """`ports.Deliveries`; without a collector nothing is looked up."""

    def __init__(self, deliveries: Deliveries, pool: Pool, tracing: Tracing) -> None:
        self._deliveries = deliveries
        self._pool = pool
        self._tracing = tracing

    async def find(self, receipt_keys: Sequence[str]) -> Mapping[str, UUID]:
        return await self._deliveries.find(receipt_keys)

    async def targets(self, delivery_ids: Collection[UUID]) -> Mapping[UUID, Target]:
        return await self._deliveries.targets(delivery_ids)

    async def raise_receipts(self, receipts: Sequence[DeliveryReceipt]) -> set[UUID]:
        began_ns = time.time_ns()
        changed = await self._deliveries.raise_receipts(receipts)
        if changed and self._tracing.exports:
            try:
                await self._record(changed, began_ns)
            except (Unavailable, DomainError) as away:
                # The receipts are committed; a trace may lack a span.
                log.debug("receipts are not in their traces: %s", away)
        return changed

    async def _record(self, changed: Collection[UUID], began_ns: int) -> None:
        async with connection(self._pool) as db:
            rows = await db.fetch(_SAMPLED, list(changed), min(changed), max(changed))
        for row in rows:
            channel = Channel(row["channel"]).slug
            self._tracing.record(
                f"process RECEIPT.{channel}",
                SpanKind.CONSUMER,
                row["traceparent"],
                began_ns,
                {
                    names.Attr.CHANNEL: channel,
                    names.Attr.RECEIPT: Receipt(row["receipt"]).name.lower(),
                    names.Attr.DELIVERY_ID: str(row["id"]),
                    names.Attr.NOTIFICATION_ID: str(row["notification_id"]),
                },
                link=attempt_span(row["traceparent"], row["id"], row["attempts"]),
            )
