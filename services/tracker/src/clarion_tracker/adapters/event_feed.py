"""`ledger.event` as a feed: pages by (xid, seq), never past a transaction that has not ended."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import asyncpg

from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Reason, Receipt
from clarion_ledger.config import ConfigCache, Snapshot
from clarion_ledger.db import Connection, Pool, connection
from clarion_tracker.changes import Change
from clarion_tracker.feed import Bounds, Page
from clarion_tracker.positions import Position

LONGEST_TRANSACTION = timedelta(hours=1)
"""From a transaction's begin, which is its events' time, to its first write. Sessions of ours are cut after seconds."""

_BOUNDS = """
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8 AS horizon, now() AS looked_at, ledger.event_floor() AS oldest,
       e.xid, e.seq
FROM (SELECT) AS one LEFT JOIN LATERAL (
    SELECT xid::text::int8 AS xid, seq FROM ledger.event
    WHERE xid < pg_snapshot_xmin(pg_current_snapshot()) AND at >= now() - $1::interval AND at <= now()
    ORDER BY event.xid DESC, seq DESC LIMIT 1
) AS e ON true
"""
# All apps' events are looked at, since an index by app would cost every event that is written; LIMIT bounds the work. The
# bounds of `at` leave one or two partitions.
_PAGE = """
WITH page AS MATERIALIZED (
    SELECT * FROM ledger.event
    WHERE (xid, seq) > ($1::int8::text::xid8, $2) AND xid < pg_snapshot_xmin(pg_current_snapshot())
      AND at >= $3 AND at <= now()
    ORDER BY xid, seq LIMIT $4
), edge AS (
    SELECT count(*) AS events, now() AS looked_at FROM page
), last AS (
    SELECT xid::text::int8 AS last_xid, seq AS last_seq, at AS last_at FROM page ORDER BY page.xid DESC, page.seq DESC LIMIT 1
), ours AS (
    SELECT * FROM page WHERE app_id = ANY ($5) ORDER BY xid, seq LIMIT $6
)
SELECT edge.*, last.*, o.xid::text::int8 AS xid, o.seq, o.at, o.app_id, o.notification_id, o.delivery_id, o.lane_id, o.kind, o.state,
       o.reason, o.attempt, o.code, o.receipt
FROM edge LEFT JOIN last ON true LEFT JOIN ours o ON true ORDER BY o.xid, o.seq
"""
_DELIVERIES = """
SELECT id, channel, recipient_ref FROM ledger.delivery WHERE id = ANY ($1) AND id BETWEEN $2 AND $3
"""
_NOTIFICATIONS = """
SELECT id, category_id, event_id FROM ledger.notification WHERE id = ANY ($1) AND id BETWEEN $2 AND $3
UNION ALL
SELECT notification_id, category_id, event_id FROM ledger.schedule WHERE notification_id = ANY ($1)
"""


class EventFeed:
    """`feed.Events`; accounts and categories are named by the configuration."""

    def __init__(self, pool: Pool, config: ConfigCache) -> None:
        self._pool = pool
        self._config = config

    async def bounds(self) -> Bounds:
        async with connection(self._pool) as db:
            [row] = await db.fetch(_BOUNDS, LONGEST_TRANSACTION)
        now = Position(row["xid"] or 0, row["seq"] or 0, row["looked_at"])
        return Bounds(now, row["horizon"], row["oldest"] + LONGEST_TRANSACTION)

    async def page(self, after: Position, app_ids: Collection[int], *, events: int, most: int) -> Page:
        since = after.at - LONGEST_TRANSACTION
        async with connection(self._pool) as db:
            rows = await db.fetch(_PAGE, after.xid, after.seq, since, events, list(app_ids), most)
            ours = [row for row in rows if row["xid"] is not None]
            deliveries = await _by_id(db, _DELIVERIES, {row["delivery_id"] for row in ours} - {None})
            notifications = await _by_id(db, _NOTIFICATIONS, {row["notification_id"] for row in ours})
        snapshot = self._config.snapshot
        changes = [_change(row, deliveries, notifications, snapshot) for row in ours]
        if len(changes) == most:
            return Page(changes, changes[-1].position, more=True)
        edge = rows[0]
        xid, seq = (edge["last_xid"], edge["last_seq"]) if edge["events"] else (after.xid, after.seq)
        # An event's place and never the snapshot's horizon: a crash may give ids again that wrote nothing durable.
        if edge["events"] == events:
            return Page(changes, Position(xid, seq, edge["last_at"]), more=True)
        return Page(changes, Position(xid, seq, edge["looked_at"]), more=False)


async def _by_id(db: Connection, statement: str, ids: Collection[UUID]) -> Mapping[UUID, asyncpg.Record]:
    if not ids:
        return {}
    rows: Sequence[asyncpg.Record] = await db.fetch(statement, list(ids), min(ids), max(ids))
    return {row["id"]: row for row in rows}


def _change(
    row: asyncpg.Record,
    deliveries: Mapping[UUID, asyncpg.Record],
    notifications: Mapping[UUID, asyncpg.Record],
    snapshot: Snapshot,
) -> Change:
    delivery = deliveries.get(row["delivery_id"])
    notification = notifications.get(row["notification_id"])
    category = snapshot.categories_by_id.get(notification["category_id"]) if notification else None
    lane = snapshot.lanes.get(row["lane_id"])
    return Change(
        xid=row["xid"],
        seq=row["seq"],
        at=row["at"],
        app_id=row["app_id"],
        kind=EventKind(row["kind"]),
        notification_id=row["notification_id"],
        event_id=notification["event_id"] if notification else "",
        category=category.name if category else "",
        delivery_id=row["delivery_id"],
        recipient_ref=delivery["recipient_ref"] if delivery else None,
        channel=Channel(delivery["channel"]) if delivery else None,
        state=DeliveryState(row["state"]) if row["state"] else None,
        reason=Reason(row["reason"]) if row["reason"] else None,
        receipt=Receipt(row["receipt"]) if row["receipt"] else None,
        provider=lane.name if lane else "",
        code=row["code"] or "",
        attempt=row["attempt"] or 0,
    )
