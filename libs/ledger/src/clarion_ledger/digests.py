"""Digests: the windows in which notifications with one key gather, and their end.

Joining is part of planning (planning.py). A window is closed in one transaction that holds its row: of what the planner saw
of it all is done or nothing, and what joined meanwhile begins the next window.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from clarion_kit import crash
from clarion_kit.vocabulary import Channel, Reason
from clarion_ledger.db import Pool, connection

MAX_MEMBERS = 5_000
"""Deliveries of one window that are closed together; what is over goes with the next."""
MAX_ITEMS = 50
"""Notifications whose data a digest shows."""


@dataclass(frozen=True, slots=True)
class Member:
    """A delivery that waits in a window. `payload` (sealed, owner: the event id) of the newest notifications only, and
    empty where it is gone."""

    delivery_id: UUID
    notification_id: UUID
    address_id: UUID
    channel: Channel
    lane_id: int
    template_version: int | None
    country: str
    locale: str
    event_id: str
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DueWindow:
    """A window that is due, with its members by notification, the newest first. `time_zone`: its recipient's, empty where it
    is not known."""

    digest_id: int
    app_id: int
    category_id: int
    recipient_ref: UUID
    members: tuple[Member, ...]
    time_zone: str = ""


@dataclass(frozen=True, slots=True)
class Carrier:
    """A member that goes; `content` (sealed) None: as it was planned."""

    delivery_id: UUID
    content: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class EndedMember:
    """A member that ends suppressed; `gates` is its whole GateTrail."""

    delivery_id: UUID
    reason: Reason
    merged_into: UUID | None
    gates: bytes
    code: str


_CLAIM = """
WITH picked AS (
    SELECT digest_id FROM ledger.digest
    WHERE due_at <= now() AND (claimed_until IS NULL OR claimed_until < now())
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
UPDATE ledger.digest g SET claimed_until = now() + $2::interval
FROM picked p WHERE g.digest_id = p.digest_id
RETURNING g.digest_id, g.app_id, g.category_id, g.recipient_ref, g.time_zone
"""
_MEMBERS = """
WITH members AS (
    SELECT w.digest_id, w.delivery_id, w.notification_id, w.lane_id, w.channel, w.locale
    FROM ledger.delivery_work w WHERE w.digest_id = ANY ($1) AND w.state = 7 ORDER BY w.delivery_id LIMIT $2
), newest AS (
    SELECT digest_id, notification_id, row_number() OVER (PARTITION BY digest_id ORDER BY notification_id DESC) AS place
    FROM (SELECT DISTINCT digest_id, notification_id FROM members) n
)
SELECT m.*, d.address_id, d.template_version, d.country, n.event_id, b.payload
FROM members m
JOIN newest s ON s.digest_id = m.digest_id AND s.notification_id = m.notification_id
JOIN ledger.delivery d ON d.id = m.delivery_id
LEFT JOIN ledger.notification n ON n.id = m.notification_id
LEFT JOIN ledger.notification_body b ON b.id = m.notification_id AND s.place <= $3
ORDER BY m.notification_id DESC, m.delivery_id
"""
_CLOSE = """
SELECT ledger.close_digest($1, $2::uuid[], $3::bytea[], $4::uuid[], $5::int2[], $6::uuid[], $7::bytea[], $8::text[])
"""


async def claim_due(pool: Pool, count: int, lease: timedelta) -> list[DueWindow]:
    """Up to `count` windows that are due, which nobody else closes meanwhile. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        claimed = await db.fetch(_CLAIM, count, lease)
        ids = [row["digest_id"] for row in claimed]
        rows = await db.fetch(_MEMBERS, ids, MAX_MEMBERS, MAX_ITEMS) if ids else []
    return [
        DueWindow(
            window["digest_id"],
            window["app_id"],
            window["category_id"],
            window["recipient_ref"],
            tuple(
                Member(
                    row["delivery_id"],
                    row["notification_id"],
                    row["address_id"],
                    Channel(row["channel"]),
                    row["lane_id"],
                    row["template_version"],
                    row["country"] or "",
                    row["locale"] or "",
                    row["event_id"] or "",
                    row["payload"] or b"",
                )
                for row in rows
                if row["digest_id"] == window["digest_id"]
            ),
            window["time_zone"],
        )
        for window in claimed
    ]


async def close(pool: Pool, digest_id: int, carriers: Sequence[Carrier], ended: Sequence[EndedMember]) -> bool:
    """Let `carriers` go and end the others; False where a member is gone since, and nothing was done. A window without
    members ends. Raises LedgerUnavailable."""
    crash.point("digest.before_commit")
    async with connection(pool) as db:
        closed = await db.fetchval(
            _CLOSE,
            digest_id,
            [carrier.delivery_id for carrier in carriers],
            [carrier.content for carrier in carriers],
            [member.delivery_id for member in ended],
            [member.reason for member in ended],
            [member.merged_into for member in ended],
            [member.gates for member in ended],
            [member.code for member in ended],
        )
    crash.point("digest.after_commit")
    return bool(closed)
