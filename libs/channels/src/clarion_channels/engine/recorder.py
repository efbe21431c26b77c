"""Group commit of outcomes: each commit takes what gathered during the last one; there is no timer.

What cannot be written now waits here, bounded by the engine's capacity, until Postgres is back or the leases end.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

from clarion_kit.errors import DomainError, Unavailable
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Record, record

log = logging.getLogger(__name__)

MAX_BATCH = 1_000
_BACKOFF_SECONDS = 0.5

Recorded = Callable[[Sequence[Record], set[UUID]], None]
"""Called after a commit with its records and the deliveries whose lease was still held."""


class Recorder:
    """Writes records in the order they came, some hundred at a time."""

    def __init__(self, pool: Pool, recorded: Recorded) -> None:
        self._pool = pool
        self._recorded = recorded
        self._waiting: list[Record] = []
        self._wake = asyncio.Event()

    def put(self, done: Record) -> None:
        self._waiting.append(done)
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        singly = 0  # how many of those in front are written one by one, because they could not be together
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
                continue
            size = 1 if singly else MAX_BATCH
            batch, self._waiting = self._waiting[:size], self._waiting[size:]
            try:
                held = await record(self._pool, batch)
            except (Unavailable, DomainError) as away:
                log.warning("outcomes wait: %s", away)
                self._waiting = batch + self._waiting
                await asyncio.sleep(_BACKOFF_SECONDS)
                continue
            except Exception:  # a record that cannot be written must not hold back the others; its lease ends by itself
                log.exception("outcomes cannot be written", extra={"count": len(batch)})
                if len(batch) > 1:
                    singly = len(batch)
                    self._waiting = batch + self._waiting
                    continue
                held = set()
            singly = max(0, singly - 1)
            self._recorded(batch, held)
