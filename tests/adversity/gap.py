"""The gap between what was accepted and what has ended, watched all the time: does it shrink after every fault?"""

import asyncio
from contextlib import suppress
from datetime import datetime

from clarion_ledger.db import LedgerUnavailable, Pool, connection

_EVERY_SECONDS = 0.5
_LOOK = """
SELECT now() AS now,
       (SELECT count(*) FROM ledger.plan_work) + (SELECT count(*) FROM ledger.delivery_work)
         + (SELECT count(*) FROM ledger.schedule) AS open,
       least((SELECT min(planned_at) FROM ledger.delivery_work WHERE state IN (1, 2, 3)),
             (SELECT min(n.accepted_at) FROM ledger.plan_work w JOIN ledger.notification n ON n.id = w.notification_id))
         AS oldest
"""
"""`oldest`: of what waits for the mesh itself. What waits for a provider (retries, held lanes) is not late."""
_WAITING = """
SELECT 'deliveries in state ' || state || ' on channel ' || channel AS what, count(*) AS n,
       date_trunc('milliseconds', now() - min(planned_at)) AS longest FROM ledger.delivery_work GROUP BY state, channel
UNION ALL
SELECT CASE WHEN w.ready_since IS NULL THEN 'plans on the bus' ELSE 'plans at rest' END, count(*),
       date_trunc('milliseconds', now() - min(n.accepted_at))
FROM ledger.plan_work w JOIN ledger.notification n ON n.id = w.notification_id GROUP BY 1
UNION ALL
SELECT 'scheduled', count(*), now() - min(deliver_at) FROM ledger.schedule HAVING count(*) > 0
"""


class NeverClosed(Exception):
    """The gap did not shrink to nothing in time."""


class Gap:
    """The last look at the ledger; `run` keeps it fresh, past all proxies."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._looked = asyncio.Event()
        self.open = 0
        self.now: datetime | None = None
        self.oldest: datetime | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            with suppress(LedgerUnavailable):
                async with connection(self._pool) as db:
                    row = await db.fetchrow(_LOOK)
                if row is not None:
                    self.now, self.open, self.oldest = row["now"], row["open"], row["oldest"]
                    self._looked.set()
                    self._looked.clear()
            await asyncio.sleep(_EVERY_SECONDS)

    async def passed(self, within: float) -> float:
        """Wait until everything that waits now for the mesh has moved on; gives how long that took, in seconds.

        Raises NeverClosed.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(within):
                await self._looked.wait()
                healed_at = self.now
                while healed_at is not None and self.oldest is not None and self.oldest < healed_at:
                    await self._looked.wait()
        except TimeoutError:
            raise NeverClosed(
                f"what is older than the end of the fault still waits after {within:g} s: {await self._waiting()}"
            ) from None
        return loop.time() - began

    async def closed(self, within: float) -> float:
        """Wait until nothing at all is open; gives how long that took. Raises NeverClosed."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(within):
                await self._looked.wait()
                while self.open:
                    await self._looked.wait()
        except TimeoutError:
            raise NeverClosed(f"still open {within:g} s after the load: {await self._waiting()}") from None
        return loop.time() - began

    async def _waiting(self) -> str:
        """What waits, by stage and state, for whoever has to find out why."""
        try:
            async with connection(self._pool) as db:
                rows = await db.fetch(_WAITING)
        except LedgerUnavailable as away:
            return str(away)
        return ", ".join(f"{row['n']} {row['what']} for {row['longest']}" for row in rows) or "nothing"
