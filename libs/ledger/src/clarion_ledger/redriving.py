"""Redriving: dead letters go out again, each as a new delivery of the same notification.

Whoever sets `redriven_as` makes the delivery; its id is derived, so that two who try at once agree on it. The new row
begins in `retry_wait` and its due time paces it. Its work row keeps the moment of the old plan and no revision of the
recipient, so that the first claim asks for today's wishes. `planned_count` stays what planning made of it: the audit
compares it with the deliveries that are no redrive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import product
from uuid import UUID

import asyncpg
from google.protobuf.message import DecodeError

from clarion.notification.v1.notification_service_pb2 import Notification
from clarion.types.v1.address_pb2 import ANDROID_PUSH_SERVICE_HUAWEI, Address
from clarion_kit.sealing import AppSealer, Unsealable
from clarion_kit.vocabulary import Channel
from clarion_ledger import audit_log
from clarion_ledger.config import DEFAULT_MAX_ATTEMPTS, DEFAULT_TIME_TO_LIVE, CategoryRule
from clarion_ledger.db import Connection, Pool, connection
from clarion_ledger.dead_letters import MATCHES, LetterFilter, matching
from clarion_ledger.ids import delivery_id
from clarion_ledger.keys import KeyRing

CHUNK = 500
"""Letters of one transaction."""
MAX_EPOCH = 255
_MAX_STEP = 16


class Outcome(Enum):
    """What became of one letter; numbers are those of clarion.deadletter.v1.RedriveOutcome."""

    REDRIVEN = 1
    ALREADY_REDRIVEN = 2
    NOT_FOUND = 3
    CONTENT_GONE = 4
    UNREADABLE = 5


@dataclass(frozen=True, slots=True)
class Redriven:
    """One letter's outcome, with the delivery that replaced it where there is one. `due_at`: of one made just now."""

    letter: UUID
    outcome: Outcome
    new_id: UUID | None = None
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """When new deliveries become due: the first at `first` (None, or past: now, by the database's clock), the next ones
    `gap` apart."""

    first: datetime | None
    gap: timedelta

    def after(self, done: "Sequence[Redriven]") -> "Pace":
        """The pace of what follows those."""
        made = [one.due_at for one in done if one.due_at is not None]
        return Pace(max(made) + self.gap, self.gap) if made else self


@dataclass(frozen=True, slots=True)
class Position:
    """Where a walk through the letters of an app stands: behind the letter that ended then."""

    at: datetime
    delivery_id: UUID


_SOURCE = """
SELECT t.delivery_id AS letter, t.redriven_as, d.notification_id, d.recipient_ref, d.address_id, d.category_id, d.channel,
       b.address, b.content, n.event_id, p.payload
FROM ledger.dead_letter t
LEFT JOIN ledger.delivery d ON d.id = t.delivery_id AND d.id BETWEEN $3 AND $4
LEFT JOIN ledger.delivery_body b ON b.id = t.delivery_id AND b.id BETWEEN $3 AND $4 AND t.redriven_as IS NULL
LEFT JOIN ledger.notification n ON n.id = t.notification_id
LEFT JOIN ledger.notification_body p ON p.id = t.notification_id AND t.redriven_as IS NULL
WHERE t.app_id = $1 AND t.delivery_id = ANY ($2)
"""

# What the new rows copy is read again here: a partition that retention dropped meanwhile makes no row, and one that is
# written to cannot be dropped before the commit.
_REDRIVE = """
WITH input AS (
    SELECT i.*, greatest($13::timestamptz, now()) + i.wait AS due_at
    FROM unnest($3::uuid[], $4::uuid[], $5::bytea[], $6::interval[], $7::interval[], $8::int2[], $9::boolean[], $10::text[],
                $14::text[])
        AS i (letter, new_id, content, wait, time_to_live, max_attempts, at_most_once, collapse_key, hint)
), picked AS (
    SELECT delivery_id FROM ledger.dead_letter
    WHERE delivery_id = ANY ($3) AND app_id = $1 AND redriven_as IS NULL
    ORDER BY delivery_id FOR UPDATE
), source AS (
    SELECT i.*, d.notification_id, d.recipient_ref, d.address_id, d.app_id, d.category_id, d.lane_id, d.template_version, d.channel,
           d.priority, d.ambiguous, d.country, d.gates, d.planned_at, b.address, n.traceparent
    FROM picked p
    JOIN input i ON i.letter = p.delivery_id
    JOIN ledger.delivery d ON d.id = i.letter AND d.id BETWEEN $11 AND $12
    JOIN ledger.delivery_body b ON b.id = i.letter AND b.id BETWEEN $11 AND $12
    JOIN ledger.notification n ON n.id = d.notification_id
), marked AS (
    UPDATE ledger.dead_letter t SET redriven_as = s.new_id FROM source s WHERE t.delivery_id = s.letter
), deliveries AS (
    INSERT INTO ledger.delivery (id, redrive_of, notification_id, recipient_ref, address_id, app_id, category_id, lane_id,
                                 template_version, channel, priority, state, ambiguous, country, gates)
    SELECT new_id, letter, notification_id, recipient_ref, address_id, app_id, category_id, lane_id, template_version, channel,
           priority, 4, ambiguous, country, gates
    FROM source
), bodies AS (
    INSERT INTO ledger.delivery_body (id, address, content) SELECT new_id, address, content FROM source
), work AS (
    INSERT INTO ledger.delivery_work (due_at, expire_at, planned_at, delivery_id, notification_id, recipient_ref, app_id, lane_id,
                                      channel, priority, state, max_attempts, at_most_once, ambiguous, collapse_key, traceparent, hint)
    SELECT due_at, due_at + time_to_live, planned_at, new_id, notification_id, recipient_ref, app_id, lane_id, channel, priority, 4,
           max_attempts, at_most_once, ambiguous, collapse_key, traceparent, hint
    FROM source
), happened AS (
    INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, code)
    SELECT notification_id, new_id, app_id, lane_id, 9, 4, $2 FROM source
)
SELECT letter, new_id, due_at FROM source
"""
_REPLACED = """
SELECT delivery_id AS letter, redriven_as FROM ledger.dead_letter WHERE app_id = $1 AND delivery_id = ANY ($2)
"""
_WALK = f"""
SELECT t.at, t.delivery_id FROM ledger.dead_letter t
WHERE {MATCHES} AND ($9::timestamptz IS NULL OR (t.at, t.delivery_id) > ($9, $10::uuid)) ORDER BY t.at, t.delivery_id LIMIT $11
"""


@dataclass(frozen=True, slots=True)
class _New:
    """A delivery to be."""

    letter: UUID
    new_id: UUID
    content: bytes
    rule: CategoryRule | None
    collapse_key: str
    hint: str


async def redrive(
    pool: Pool,
    keys: KeyRing,
    rules: Mapping[int, CategoryRule],
    app_id: int,
    letters: Sequence[UUID],
    *,
    by: str,
    pace: Pace,
) -> list[Redriven]:
    """Make at most `CHUNK` letters new deliveries in one transaction; the outcomes stand in the order of `letters`.

    Each new one has its category's time to live, from `rules`, counted from its due time. `by` is the caller's key id and
    is written down in the event of each. Raises LedgerUnavailable (unknown what took hold: repeat it), DomainError
    STORAGE_FULL, Unsealable (wrong key-encryption key).
    """
    if not letters:
        return []
    sealer = await keys.sealer(app_id)
    async with connection(pool) as db:
        rows = await db.fetch(_SOURCE, app_id, letters, min(letters), max(letters))
        outcomes = {id_: Redriven(id_, Outcome.NOT_FOUND) for id_ in letters}
        new: list[_New] = []
        for row in rows:
            found = _prepare(row, sealer, rules)
            if isinstance(found, _New):
                new.append(found)
            else:
                outcomes[found.letter] = found
        order = {id_: place for place, id_ in enumerate(letters)}
        new.sort(key=lambda one: order[one.letter])
        async with db.transaction():
            written = await _write(db, app_id, by, pace, new)
            redriven = [str(one.letter) for one in written if one.outcome is Outcome.REDRIVEN]
            if redriven:
                await audit_log.record(
                    db, "Redrive", app_id, f"{len(redriven)} dead letters", after={"delivery_ids": redriven}
                )
        outcomes |= {one.letter: one for one in written}
    return [outcomes[id_] for id_ in letters]


async def walk(pool: Pool, app_id: int, wanted: LetterFilter, *, behind: Position | None, size: int) -> list[Position]:
    """Letters that match, in the order in which they ended, after the position `behind`. Raises LedgerUnavailable."""
    at, id_ = (behind.at, behind.delivery_id) if behind else (None, None)
    async with connection(pool) as db:
        rows = await db.fetch(_WALK, *matching(app_id, wanted), at, id_, size)
    return [Position(row["at"], row["delivery_id"]) for row in rows]


def next_id(
    letter: UUID, notification_id: UUID, recipient_ref: UUID, channel: Channel, address_id: UUID | None
) -> UUID | None:
    """The id of the delivery that replaces `letter`: the one of its next epoch.

    Neither epoch nor step is stored: they are those whose id the letter has. None where there are none, or no next one.
    """
    for epoch, step in product(range(MAX_EPOCH), range(_MAX_STEP)):
        if delivery_id(notification_id, recipient_ref, channel, address_id, step, epoch) == letter:
            return delivery_id(notification_id, recipient_ref, channel, address_id, step, epoch + 1)
    return None


def _prepare(row: asyncpg.Record, sealer: AppSealer, rules: Mapping[int, CategoryRule]) -> _New | Redriven:
    letter = row["letter"]
    if row["redriven_as"] is not None:
        return Redriven(letter, Outcome.ALREADY_REDRIVEN, row["redriven_as"])
    if row["content"] is None or row["event_id"] is None or row["recipient_ref"] is None:
        return Redriven(letter, Outcome.CONTENT_GONE)
    new_id = next_id(letter, row["notification_id"], row["recipient_ref"], Channel(row["channel"]), row["address_id"])
    try:
        content = sealer.open("delivery", letter.bytes, "content", row["content"])
    except Unsealable:
        return Redriven(letter, Outcome.UNREADABLE)
    if new_id is None:
        return Redriven(letter, Outcome.UNREADABLE)
    sealed = sealer.seal("delivery", new_id.bytes, "content", content)
    return _New(letter, new_id, sealed, rules.get(row["category_id"]), _collapse_key(row, sealer), _hint(row, sealer))


def _hint(row: asyncpg.Record, sealer: AppSealer) -> str:
    """The push service of an Android device, as the planner knew it: it went with the old work row, and another service's
    account would take its token for a dead one."""
    if row["channel"] != Channel.ANDROID or row["address_id"] is None:
        return ""
    try:
        address = Address.FromString(sealer.open("address", row["address_id"].bytes, "address", row["address"]))
    except (Unsealable, DecodeError):  # its claim ends it as poison
        return ""
    return "huawei" if address.android.service == ANDROID_PUSH_SERVICE_HUAWEI else "fcm"


def _collapse_key(row: asyncpg.Record, sealer: AppSealer) -> str:
    """It went with the old work row; what the client asked for still has it, and without it a redrive is no worse."""
    if row["payload"] is None:
        return ""
    try:
        payload = sealer.open("notification", row["event_id"].encode(), "payload", row["payload"])
        return Notification.FromString(payload).collapse_key
    except (Unsealable, DecodeError):
        return ""


async def _write(db: Connection, app_id: int, by: str, pace: Pace, new: Sequence[_New]) -> list[Redriven]:
    if not new:
        return []
    ids = [one.letter for one in new]
    made = await db.fetch(
        _REDRIVE,
        app_id,
        by,
        ids,
        [one.new_id for one in new],
        [one.content for one in new],
        [pace.gap * place for place in range(len(new))],
        [one.rule.time_to_live if one.rule else DEFAULT_TIME_TO_LIVE for one in new],
        [one.rule.max_attempts if one.rule else DEFAULT_MAX_ATTEMPTS for one in new],
        [one.rule is not None and one.rule.at_most_once for one in new],
        [one.collapse_key or None for one in new],
        min(ids),
        max(ids),
        pace.first,
        [one.hint or None for one in new],
    )
    outcomes = [Redriven(row["letter"], Outcome.REDRIVEN, row["new_id"], row["due_at"]) for row in made]
    if len(made) < len(new):
        # Somebody else was faster, or retention was.
        rest = sorted(set(ids) - {row["letter"] for row in made})
        replaced = {row["letter"]: row["redriven_as"] for row in await db.fetch(_REPLACED, app_id, rest)}
        outcomes += [
            Redriven(id_, Outcome.ALREADY_REDRIVEN, replaced[id_])
            if replaced.get(id_)
            else Redriven(id_, Outcome.CONTENT_GONE)
            for id_ in rest
        ]
    return outcomes
