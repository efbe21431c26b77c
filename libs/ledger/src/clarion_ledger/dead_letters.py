"""Dead letters as the app sees them."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from clarion_kit.vocabulary import Channel, Reason
from clarion_ledger.db import Pool, connection


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    delivery_id: UUID
    notification_id: UUID
    channel: Channel
    reason: Reason
    last_code: str
    attempts: int
    at: datetime
    redriven_as: UUID | None


_PAGE = """
SELECT * FROM ledger.dead_letter
WHERE app_id = $1 AND delivery_id < $2 AND ($3::int2 IS NULL OR channel = $3) AND ($4::int2 IS NULL OR reason = $4)
ORDER BY delivery_id DESC LIMIT $5
"""


async def page(
    pool: Pool, app_id: int, *, size: int, before: UUID, channel: int | None = None, reason: int | None = None
) -> list[DeadLetterRow]:
    """Newest first, ids below `before`. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        rows = await db.fetch(_PAGE, app_id, before, channel, reason, size)
    return [
        DeadLetterRow(
            row["delivery_id"],
            row["notification_id"],
            Channel(row["channel"]),
            Reason(row["reason"]),
            row["last_code"],
            row["attempts"],
            row["at"],
            row["redriven_as"],
        )
        for row in rows
    ]
