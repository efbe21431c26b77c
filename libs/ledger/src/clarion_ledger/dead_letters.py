"""Dead letters as the app sees them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from clarion_kit.vocabulary import Channel, Reason
from clarion_ledger.db import Pool, of_app
from clarion_ledger.reading import REQUEST_ROLE


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """`lane` is the name of the provider account that had it last, "" where none had."""

    delivery_id: UUID
    notification_id: UUID
    channel: Channel
    reason: Reason
    last_code: str
    attempts: int
    at: datetime
    redriven_as: UUID | None
    lane: str = ""


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """What letters must have in common; None: anything. They ended in [since, until)."""

    channel: int | None = None
    reason: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    lane: str | None = None
    last_code: str | None = None
    redriven: bool | None = None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One call of a provider. `outcome` is a number of clarion_channels.outcome.Outcome."""

    attempt: int
    started_at: datetime
    duration: timedelta
    lane: str
    outcome: int
    code: str
    provider_message_id: str


@dataclass(frozen=True, slots=True)
class WholeLetter:
    """A dead letter with its history. `gates` is a serialised GateTrail; `content` is sealed (owner: the delivery id), None
    once it was dropped."""

    letter: DeadLetterRow
    attempts: list[AttemptRow]
    category_id: int
    planned_at: datetime
    redrive_of: UUID | None
    ambiguous: bool
    gates: bytes
    content: bytes | None


_LETTER = """
SELECT t.delivery_id, t.notification_id, t.channel, t.reason, t.last_code, t.attempts, t.at, t.redriven_as, l.name AS lane
FROM ledger.dead_letter t LEFT JOIN ledger.lane l ON l.lane_id = t.lane_id
"""
MATCHES = """
t.app_id = $1 AND ($2::int2 IS NULL OR t.channel = $2) AND ($3::int2 IS NULL OR t.reason = $3)
AND ($4::timestamptz IS NULL OR t.at >= $4) AND ($5::timestamptz IS NULL OR t.at < $5)
AND ($6::text IS NULL OR t.lane_id IN (SELECT lane_id FROM ledger.lane WHERE app_id = $1 AND split_part(name, '~', 1) = $6))
AND ($7::text IS NULL OR t.last_code = $7) AND ($8::boolean IS NULL OR (t.redriven_as IS NOT NULL) = $8)
"""
"""Of `ledger.dead_letter t`, with `matching` as its arguments. An account's name finds deleted ones of that name, too."""

_PAGE = f"{_LETTER} WHERE {MATCHES} AND t.delivery_id < $9 ORDER BY t.delivery_id DESC LIMIT $10"

_HISTORY = """
SELECT d.category_id, d.planned_at, d.redrive_of, d.ambiguous, d.gates, b.content
FROM ledger.delivery d LEFT JOIN ledger.delivery_body b ON b.id = d.id WHERE d.id = $1 AND d.app_id = $2
"""
_ATTEMPTS = """
SELECT a.attempt, a.started_at, a.duration_ms, l.name AS lane, a.outcome, a.code, a.provider_message_id
FROM ledger.attempt a LEFT JOIN ledger.lane l ON l.lane_id = a.lane_id WHERE a.delivery_id = $1 ORDER BY a.attempt
"""


def matching(app_id: int, wanted: LetterFilter) -> tuple[object, ...]:
    """The arguments of `MATCHES`."""
    return (
        app_id,
        wanted.channel,
        wanted.reason,
        wanted.since,
        wanted.until,
        wanted.lane,
        wanted.last_code,
        wanted.redriven,
    )


async def page(
    pool: Pool, app_id: int, *, size: int, before: UUID, wanted: LetterFilter | None = None
) -> list[DeadLetterRow]:
    """Newest notification first, ids below `before`. Raises LedgerUnavailable."""
    async with of_app(pool, app_id, REQUEST_ROLE) as db:
        rows = await db.fetch(_PAGE, *matching(app_id, wanted or LetterFilter()), before, size)
    return [_letter(row) for row in rows]


async def whole(pool: Pool, app_id: int, delivery_id: UUID) -> WholeLetter | None:
    """One letter of an app with its history, None if it is not there (any more). Raises LedgerUnavailable."""
    async with of_app(pool, app_id, REQUEST_ROLE) as db:
        letter = await db.fetchrow(f"{_LETTER} WHERE t.delivery_id = $1 AND t.app_id = $2", delivery_id, app_id)
        history = await db.fetchrow(_HISTORY, delivery_id, app_id)
        attempts = await db.fetch(_ATTEMPTS, delivery_id)
    if letter is None or history is None:
        return None
    return WholeLetter(
        letter=_letter(letter),
        attempts=[
            AttemptRow(
                row["attempt"],
                row["started_at"],
                timedelta(milliseconds=row["duration_ms"]),
                row["lane"] or "",
                row["outcome"],
                row["code"],
                row["provider_message_id"] or "",
            )
            for row in attempts
        ],
        category_id=history["category_id"],
        planned_at=history["planned_at"],
        redrive_of=history["redrive_of"],
        ambiguous=history["ambiguous"],
        gates=history["gates"] or b"",
        content=history["content"],
    )


def _letter(row: asyncpg.Record) -> DeadLetterRow:
    return DeadLetterRow(
        row["delivery_id"],
        row["notification_id"],
        Channel(row["channel"]),
        Reason(row["reason"]),
        row["last_code"],
        row["attempts"],
        row["at"],
        row["redriven_as"],
        row["lane"] or "",
    )
