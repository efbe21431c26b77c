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
       least((SELECT min(CASE WHEN attempt > (state = 3)::int THEN coalesce(ready_since, enqueued_at) ELSE planned_at END)
              FROM ledger.delivery_work WHERE state IN (1, 2, 3)),
             (SELECT min(n.accepted_at) FROM ledger.plan_work w JOIN ledger.notification n ON n.id = w.notification_id))
         AS oldest
"""
"""`oldest`: since when something waits for the mesh itself: from its plan to its first attempt, and after that from the end
of each wait for a provider."""
# A stopped account held it meanwhile: that was a provider's time, and the lane's release is younger than the fault.
_LATE = """
SELECT EXISTS (
    SELECT FROM ledger.delivery_work w
    WHERE w.state IN (1, 2, 3) AND coalesce(w.ready_since, w.enqueued_at) < $1
       OR w.state IN (1, 2) AND w.attempt = 0 AND w.planned_at < $1
          AND NOT EXISTS (SELECT FROM ledger.event e WHERE e.notification_id = w.notification_id AND e.at >= w.planned_at
                          AND e.delivery_id = w.delivery_id AND e.kind = 10)
) OR EXISTS (
    SELECT FROM ledger.plan_work w JOIN ledger.notification n ON n.id = w.notification_id WHERE n.accepted_at < $1
)
"""
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
        healed_at: datetime | None = None
        try:
            async with asyncio.timeout(within):
                await self._looked.wait()
                healed_at = self.now
                while healed_at is not None and self.oldest is not None and self.oldest < healed_at:
                    await self._looked.wait()
        except TimeoutError:
            if healed_at is None or await self._late(healed_at):
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

    async def _late(self, healed_at: datetime) -> bool:
        """Whether the mesh itself still has something of before `healed_at`."""
        try:
            async with connection(self._pool) as db:
                return bool(await db.fetchval(_LATE, healed_at))
        except LedgerUnavailable:
            return True

    async def _waiting(self) -> str:
        """What waits, by stage and state, for whoever has to find out why."""
        try:
            async with connection(self._pool) as db:
                rows = await db.fetch(_WAITING)
        except LedgerUnavailable as away:
            return str(away)
        return ", ".join(f"{row['n']} {row['what']} for {row['longest']}" for row in rows) or "nothing"
