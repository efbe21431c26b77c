"""Backlog, dead letters and the audit from the ledger."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from clarion_kit.vocabulary import Channel, DeliveryState
from clarion_ledger.audit import CHECKS, audit
from clarion_ledger.db import Pool, connection
from clarion_monitor.domain import Backlog, Findings

# Ages of what we have to move count from when it began to wait; of the rest, from planning.
_BACKLOG = """
SELECT 'plan' AS stage, CASE WHEN ready_since IS NULL THEN 2 ELSE 1 END AS state, count(*) AS n,
       now() - min(coalesce(ready_since, enqueued_at)) AS age
FROM ledger.plan_work GROUP BY 2
UNION ALL
SELECT 'dispatch', state, count(*), now() - min(coalesce(ready_since, enqueued_at, planned_at))
FROM ledger.delivery_work GROUP BY 2
UNION ALL
SELECT 'schedule', NULL, count(*), now() - min(deliver_at) FROM ledger.schedule WHERE deliver_at <= now()
UNION ALL
SELECT 'receipts', NULL, count(*), now() - min(next_at) FROM tracking.inbound WHERE applied_at IS NULL AND next_at <= now()
"""
_DEAD_LETTERS = "SELECT channel, count(*) AS n FROM ledger.dead_letter WHERE redriven_as IS NULL GROUP BY 1"


class LedgerView:
    """Reads, never writes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def backlog(self) -> list[Backlog]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_BACKLOG)
        return [
            Backlog(row["stage"], _state(row["state"]), row["n"], max(row["age"] or timedelta(0), timedelta(0)))
            for row in rows
        ]

    async def dead_letters(self) -> Mapping[Channel, int]:
        async with connection(self._pool) as db:
            rows = await db.fetch(_DEAD_LETTERS)
        return {Channel(row["channel"]): row["n"] for row in rows}

    async def audit(self, window: timedelta) -> Findings:
        found = await audit(self._pool, since=datetime.now(UTC) - window)
        return Findings({name: found.findings.get(name, 0) for name in CHECKS}, found.stuck)


def _state(number: int | None) -> str:
    return "due" if number is None else DeliveryState(number).name.lower()
