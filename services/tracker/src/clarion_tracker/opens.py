"""Opens on their way into the ledger: a bounded queue that promises nothing and counts what it drops."""

import asyncio
import logging
from collections import deque
from types import TracebackType
from typing import Self
from uuid import UUID

from prometheus_client import Counter

from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.vocabulary import Receipt
from clarion_tracker.inbound import DeliveryReceipt
from clarion_tracker.ports import Deliveries

log = logging.getLogger(__name__)

BATCH = 500
FLUSH_TIMEOUT_SECONDS = 3.0
KIND = "open"


class OpenQueue:
    """Entered for as long as opens come in; leaving writes what is left, within three seconds."""

    def __init__(self, deliveries: Deliveries, counter: Counter, *, size: int) -> None:
        self._deliveries = deliveries
        self._counter = counter
        self._size = size
        self._waiting: deque[UUID] = deque()

    def offer(self, delivery_id: UUID) -> None:
        """Take an open, or drop it where the queue is full."""
        if len(self._waiting) >= self._size:
            self._counter.labels(KIND, "dropped").inc()
        else:
            self._waiting.append(delivery_id)

    async def write(self) -> None:
        """Write what is queued. Raises Unavailable; the opens stay queued."""
        while self._waiting:
            batch = [self._waiting[position] for position in range(min(BATCH, len(self._waiting)))]
            opened = set(batch)
            changed = await self._deliveries.raise_receipts([DeliveryReceipt(id_, Receipt.SEEN) for id_ in opened])
            for _ in batch:
                self._waiting.popleft()
            self._counter.labels(KIND, "applied").inc(len(changed))
            self._counter.labels(KIND, "unchanged").inc(len(batch) - len(changed))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            async with asyncio.timeout(FLUSH_TIMEOUT_SECONDS):
                await self.write()
        except (TimeoutError, Unavailable, DomainError):
            self._counter.labels(KIND, "dropped").inc(len(self._waiting))
            log.warning("opens dropped at the end", extra={"opens": len(self._waiting)})
