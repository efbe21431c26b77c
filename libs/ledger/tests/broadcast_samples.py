"""Broadcasts, their recipients, and chunks of children."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from clarion_kit.vocabulary import Channel, Priority, Reason
from clarion_ledger import broadcasts
from clarion_ledger.broadcasts import Chunk, NewBroadcast, Turn, child_id
from clarion_ledger.db import Pool
from clarion_ledger.ids import delivery_id
from clarion_ledger.planning import Plan, PlannedDelivery, ToPlan

from .ledger_samples import Owner

ADDRESS = UUID(int=7)
PROVED_WITH_BROADCASTS = {"broadcast_counts_differ", "child_of_no_broadcast"}
"""Checks of the audit that need a broadcast to be proved."""


def refs(count: int) -> list[UUID]:
    """Recipients in their order."""
    return sorted(UUID(bytes=hashlib.sha256(b"%d" % number).digest()[:16]) for number in range(count))


def new_broadcast(
    app: Owner,
    event_id: str = "",
    *,
    payload: bytes = b"sealed",
    pace: int = 0,
    deliver_at: datetime | None = None,
    expire_at: datetime | None = None,
) -> NewBroadcast:
    return NewBroadcast(
        app_id=app.app_id,
        event_id=event_id or uuid4().hex,
        payload_hash=hashlib.sha256(payload).digest(),
        category_id=app.categories["transactional"],
        priority=Priority.BULK,
        deliver_at=deliver_at,
        expire_at=expire_at,
        time_to_live=timedelta(hours=1),
        pace=pace,
        payload=payload,
    )


async def started(pool: Pool, app: Owner, *, pace: int = 0) -> UUID:
    return (await broadcasts.start(pool, new_broadcast(app, pace=pace))).broadcast_id


async def claimed(pool: Pool) -> Turn:
    turn = await broadcasts.claim(pool)
    assert turn is not None
    return turn


def child_plan(turn: Turn, ref: UUID, lane_id: int, *, enqueue: bool = False) -> Plan:
    """One delivery in flight and one suppressed."""
    broadcast = turn.broadcast
    id_ = child_id(broadcast.broadcast_id, ref)
    source = ToPlan(
        notification_id=id_,
        app_id=broadcast.app_id,
        category_id=broadcast.category_id,
        priority=broadcast.priority,
        event_id="",
        accepted_at=broadcast.accepted_at,
        expire_at=broadcast.expire_at,
        expired=False,
        payload=b"",
        traceparent="",
        tries=0,
    )
    flying = PlannedDelivery(
        delivery_id(id_, ref, Channel.ANDROID, ADDRESS),
        ref,
        Channel.ANDROID,
        address_id=ADDRESS,
        lane_id=lane_id,
        address=b"address",
        content=b"content",
        enqueue=enqueue,
    )
    quiet = PlannedDelivery(delivery_id(id_, ref, Channel.SMS, None), ref, Channel.SMS, reason=Reason.NO_ADDRESS)
    return Plan(source, [flying, quiet], max_attempts=3, at_most_once=False)


def chunk_of(turn: Turn, members: Sequence[UUID], lane_id: int, *, last: bool, enqueue: bool = False) -> Chunk:
    plans = [child_plan(turn, ref, lane_id, enqueue=enqueue) for ref in members]
    return Chunk(plans, members[-1] if members else turn.cursor, last)


async def plan_all(pool: Pool, members: Sequence[UUID], lane_id: int, *, size: int = 3, enqueue: bool = False) -> None:
    """Plan what is left of the one broadcast that runs, as a planner would."""
    turn = await claimed(pool)
    cursor = turn.cursor
    while True:
        rest = [ref for ref in members if ref > cursor]
        chunk = chunk_of(turn, rest[:size], lane_id, last=len(rest) <= size, enqueue=enqueue)
        await broadcasts.plan_chunk(pool, turn, cursor, chunk)
        if chunk.last:
            return
        cursor = chunk.cursor
