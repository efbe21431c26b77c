"""Notifications and plans as the edge and the planner would make them."""

import hashlib
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from clarion_kit.vocabulary import Channel, Priority, Reason
from clarion_ledger.accept import Accepted, AcceptItem, AcceptResult, accept
from clarion_ledger.db import Pool
from clarion_ledger.ids import delivery_id
from clarion_ledger.planning import Plan, PlannedDelivery, ToPlan, load, plan
from clarion_testkit.plugin import App


def item(
    app: App, event_id: str, *, payload: bytes = b"sealed", deliver_at: datetime | None = None, enqueue: bool = True
) -> AcceptItem:
    return AcceptItem(
        app_id=app.app_id,
        event_id=event_id,
        payload_hash=hashlib.sha256(payload).digest(),
        category_id=app.categories["transactional"],
        priority=Priority.NORMAL,
        recipient_count=1,
        deliver_at=deliver_at,
        expire_at=None,
        time_to_live=timedelta(hours=1),
        payload=payload,
        traceparent="",
        enqueue=enqueue,
    )


def accepted(result: AcceptResult) -> Accepted:
    assert isinstance(result, Accepted), result
    return result


async def lane(pool: Pool, app: App, name: str = "main", channel: Channel = Channel.ANDROID) -> int:
    lane_id: int = await pool.fetchval(
        "INSERT INTO ledger.lane (app_id, name, kind, channel, settings) VALUES ($1, $2, 'fcm', $3, '') RETURNING lane_id",
        app.app_id,
        name,
        channel,
    )
    return lane_id


def plan_of(
    source: ToPlan, lane_id: int, *, suppressed: int = 0, at_most_once: bool = False, enqueue: bool = True
) -> Plan:
    """One delivery in flight and `suppressed` others."""
    recipient = UUID(int=source.notification_id.int ^ 1)
    address = UUID(int=7)
    flying = PlannedDelivery(
        delivery_id(source.notification_id, recipient, Channel.ANDROID, address),
        recipient,
        Channel.ANDROID,
        address_id=address,
        lane_id=lane_id,
        address=b"address",
        content=b"content",
        enqueue=enqueue,
    )
    others = [
        PlannedDelivery(
            delivery_id(source.notification_id, recipient, Channel.EMAIL, None, step=step),
            recipient,
            Channel.EMAIL,
            reason=Reason.NO_ADDRESS,
        )
        for step in range(suppressed)
    ]
    return Plan(source, [flying, *others], max_attempts=3, at_most_once=at_most_once)


async def planned(
    pool: Pool, app: App, count: int = 1, *, suppressed: int = 0, at_most_once: bool = False, enqueue: bool = True
) -> tuple[list[UUID], list[UUID]]:
    """Accept and plan `count` notifications: their ids and their in-flight delivery ids."""
    lane_id = await lane(pool, app, f"lane-{uuid4().hex[:8]}")
    results = await accept(pool, [item(app, uuid4().hex) for _ in range(count)])
    ids = [accepted(result).notification_id for result in results]
    waiting = await load(pool, ids)
    plans = [plan_of(w, lane_id, suppressed=suppressed, at_most_once=at_most_once, enqueue=enqueue) for w in waiting]
    assert await plan(pool, plans) == set(ids)
    return ids, [p.deliveries[0].delivery_id for p in plans]
