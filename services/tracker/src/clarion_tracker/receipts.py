"""The receipt job: batches of inbound rows become receipts of deliveries."""

from collections.abc import Callable
from datetime import timedelta

from prometheus_client import Counter

from clarion_tracker.inbound import (
    DeliveryReceipt,
    InboundRow,
    Reported,
    Result,
    Settled,
    keys,
    match,
    settle_unchanged,
    settle_unmatched,
)
from clarion_tracker.ports import Deliveries, Inbound, Read

BATCH = 500
PRUNE_BATCH = 1_000


class ReceiptJob:
    """Any number of trackers may run it: rows are leased, receipts are applied by rank and as often as one likes."""

    def __init__(self, inbound: Inbound, deliveries: Deliveries, read: Read, counter: Counter) -> None:
        self._inbound = inbound
        self._deliveries = deliveries
        self._read = read
        self._counter = counter

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Apply what is due. Raises Unavailable; rows then come again when their lease ends."""
        while await self.apply_batch() == BATCH and not stopped():
            pass

    async def apply_batch(self) -> int:
        """Apply one batch; gives its size. Raises Unavailable."""
        rows = await self._inbound.take(BATCH)
        if not rows:
            return 0
        settled: list[Settled] = []
        waiting: list[tuple[InboundRow, Reported]] = []
        for row in rows:
            reading = self._read(row.body)
            if isinstance(reading, Result):
                settled.append(Settled(row.inbound_id, reading))
            else:
                waiting.append((row, reading))
        if waiting:
            settled += await self._apply(waiting)
        await self._inbound.settle(settled)
        for one in settled:
            if one.result is not None:
                self._counter.labels("receipt", one.result).inc()
        return len(rows)

    async def prune(self, kept: timedelta, stopped: Callable[[], bool]) -> None:
        """Delete rows applied longer than `kept` ago. Raises Unavailable."""
        while await self._inbound.prune(kept, PRUNE_BATCH) == PRUNE_BATCH and not stopped():
            pass

    async def _apply(self, waiting: list[tuple[InboundRow, Reported]]) -> list[Settled]:
        known = await self._deliveries.find([key for row, reported in waiting for key in keys(row.lane_id, reported)])
        settled: list[Settled] = []
        matched: list[tuple[InboundRow, DeliveryReceipt]] = []
        for row, reported in waiting:
            delivery_id = match(row, reported, known)
            if delivery_id is None:
                settled.append(settle_unmatched(row))
            else:
                matched.append((row, DeliveryReceipt(delivery_id, reported.receipt, reported.code)))
        changed = await self._deliveries.raise_receipts([receipt for _, receipt in matched])
        unchanged = [receipt.delivery_id for _, receipt in matched if receipt.delivery_id not in changed]
        states = await self._deliveries.states(unchanged) if unchanged else {}
        for row, receipt in matched:
            if receipt.delivery_id in changed:
                settled.append(Settled(row.inbound_id, Result.APPLIED))
            else:
                settled.append(settle_unchanged(row, states.get(receipt.delivery_id)))
        return settled
