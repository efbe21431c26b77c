"""Group commit of outcomes: each commit takes what gathered during the last one and a moment more.

A commit costs both sides more than the records in it, and nobody waits for one but a slot of the capacity. What is urgent is
written at once, and so is what a dispatcher still holds that is about to leave.

What cannot be written now waits here, bounded by the engine's capacity, until Postgres is back or the leases end.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from uuid import UUID

from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.vocabulary import Priority
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Record, record

log = logging.getLogger(__name__)

MAX_BATCH = 1_000
LINGER = timedelta(milliseconds=20)
"""How long a record may wait for others to be written with it."""
BULK_LINGER = timedelta(milliseconds=50)
ENOUGH = 100
"""So many wait for no more."""
_BACKOFF_SECONDS = 0.5

Recorded = Callable[[Sequence[Record], set[UUID]], None]
"""Called after a commit with its records and the deliveries whose lease was still held."""


class Recorder:
    """Writes records in the order they came, some hundred at a time."""

    def __init__(self, pool: Pool, recorded: Recorded, linger: timedelta = LINGER) -> None:
        self._pool = pool
        self._recorded = recorded
        self._linger_seconds = linger.total_seconds()
        self._waiting: list[Record] = []
        self._wake = asyncio.Event()
        self._now = asyncio.Event()
        self._hurries = 0

    def put(self, done: Record) -> None:
        self._waiting.append(done)
        self._wake.set()
        if self._hurries or len(self._waiting) >= ENOUGH or done.claimed.priority is Priority.URGENT:
            self._now.set()

    @contextmanager
    def hurried(self) -> Iterator[None]:
        """Write without lingering meanwhile."""
        self._hurries += 1
        self._now.set()
        try:
            yield
        finally:
            self._hurries -= 1

    async def run(self) -> None:
        """Write until cancelled."""
        singly = 0  # how many of those in front are written one by one, because they could not be together
        while True:
            if not singly:
                await self._gather()
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

    async def _gather(self) -> None:
        """Return when there is something to write, and it is enough, urgent, or has waited."""
        if not self._waiting:
            self._wake.clear()
            await self._wake.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._linger_seconds):
                await self._now.wait()
        if not self._hurries:
            self._now.clear()
