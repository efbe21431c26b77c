"""Retention: partitions that are past their time are dropped whole; never one that something in flight still needs."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from clarion_ledger.db import LedgerUnavailable, Pool, connection

KEEP_BODIES = timedelta(days=7)
"""Sealed contents and addresses; what is older cannot be redriven."""
KEEP_HISTORY = timedelta(days=90)
"""Notifications, deliveries, attempts, events, dead letters."""
EPOCH = timedelta(days=6)
IDEMPOTENCY = 5 * EPOCH
"""For at least so long the same event id gives the same answer."""


@dataclass(frozen=True, slots=True)
class Expired:
    """A partition past its time. `held_by` names what still needs it, None where nothing does."""

    partition: str
    ends: datetime
    held_by: str | None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is kept; event ids are kept in any case for `IDEMPOTENCY`."""

    bodies: timedelta = KEEP_BODIES
    history: timedelta = KEEP_HISTORY


async def prunable(pool: Pool, retention: Retention) -> list[Expired]:
    """Partitions past their time, oldest first. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch("SELECT * FROM ledger.prunable($1, $2)", retention.bodies, retention.history)
    return [Expired(row["partition"], row["ends"], row["held_by"]) for row in rows]


async def prune(pool: Pool, retention: Retention, partition: str) -> bool:
    """Drop one of them; False where something needs it by now, or where it was too busy. Raises LedgerUnavailable."""
    try:
        async with connection(pool) as db:
            return bool(
                await db.fetchval("SELECT ledger.prune($1, $2, $3)", partition, retention.bodies, retention.history)
            )
    except LedgerUnavailable as away:
        # Waiting longer for the lock would hold up every writer that queues behind it.
        if isinstance(away.__cause__, asyncpg.LockNotAvailableError):
            return False
        raise


async def strays(pool: Pool) -> int:
    """Rows in DEFAULT partitions: something has no day of its own, and will be in the way of its partition. Raises
    LedgerUnavailable."""
    async with connection(pool) as db:
        return int(
            await db.fetchval(
                "SELECT (SELECT count(*) FROM ledger.notification_default) + (SELECT count(*) FROM ledger.delivery_default)"
                " + (SELECT count(*) FROM ledger.event_default)"
            )
        )
