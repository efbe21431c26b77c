"""A replica's jobs, rows for them to move, and what they put on the bus."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from clarion_kit.bus import Batch, JetStreamBus, Verdict
from clarion_kit.sealing import KeyWrapper
from clarion_kit.subjects import Lane, Stream, all_lanes
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, DeliveryState, Priority
from clarion_ledger import admin
from clarion_ledger.accept import Accepted, AcceptItem, accept
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Record, claim, record
from clarion_ledger.flow import LOST_AFTER
from clarion_ledger.ids import delivery_id
from clarion_ledger.keys import KeyRing
from clarion_ledger.planning import Plan, PlannedDelivery, load, plan
from clarion_ledger.retention import Retention
from clarion_ledger.runway import Runway
from clarion_scheduler.jobs import Jobs
from clarion_testkit.depth import waiting
from clarion_testkit.plugin import App

PLAN = Lane(Stream.PLAN, Priority.NORMAL)
DISPATCH = Lane(Stream.DISPATCH, Priority.NORMAL, Channel.ANDROID)
RETRY = Lane(Stream.RETRY, Priority.NORMAL, Channel.ANDROID)
LEASE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Replica:
    """One scheduler without its timers."""

    jobs: Jobs
    runway: Runway


def replica_of(pool: Pool, bus: JetStreamBus, telemetry: Telemetry, *, lost_after: timedelta = LOST_AFTER) -> Replica:
    lanes = [lane for lane in all_lanes() if lane.stream is not Stream.RETRY]
    runway = Runway(pool, bus, lanes)
    return Replica(Jobs(pool, bus, runway, lanes, telemetry, retention=Retention(), lost_after=lost_after), runway)


async def new_app(pool: Pool, kek: KeyWrapper, name: str) -> App:
    row = await admin.create_app(pool, kek, name)
    rows = await pool.fetch("SELECT name, category_id FROM ledger.category WHERE app_id = $1", row.app_id)
    return App(row.app_id, KeyRing(pool, kek), {found["name"]: found["category_id"] for found in rows})


async def accepted(
    pool: Pool, app: App, count: int, *, enqueue: bool = False, deliver_at: datetime | None = None
) -> list[UUID]:
    """Notifications that rest, are said to be on the bus, or are scheduled."""
    results = await accept(
        pool,
        [
            AcceptItem(
                app_id=app.app_id,
                event_id=event_id,
                payload_hash=hashlib.sha256(event_id.encode()).digest(),
                category_id=app.categories["transactional"],
                priority=Priority.NORMAL,
                recipient_count=1,
                deliver_at=deliver_at,
                expire_at=None,
                time_to_live=timedelta(hours=1),
                payload=b"sealed",
                traceparent="",
                enqueue=enqueue,
            )
            for event_id in (uuid4().hex for _ in range(count))
        ],
    )
    return [result.notification_id for result in results if isinstance(result, Accepted)]


async def planned(
    pool: Pool, app: App, count: int, *, channel: Channel = Channel.ANDROID, enqueue: bool = False
) -> list[UUID]:
    """Deliveries of a channel, resting or said to be on the bus."""
    lane_id = await pool.fetchval(
        "INSERT INTO ledger.lane (app_id, name, kind, channel, settings) VALUES ($1, $2, 'k', $3, '') RETURNING lane_id",
        app.app_id,
        uuid4().hex,
        channel,
    )
    address = UUID(int=7)
    plans = []
    for source in await load(pool, await accepted(pool, app, count, enqueue=True)):
        recipient = UUID(int=source.notification_id.int ^ 1)
        id_ = delivery_id(source.notification_id, recipient, channel, address)
        delivery = PlannedDelivery(
            id_, recipient, channel, address_id=address, lane_id=lane_id, address=b"a", content=b"c", enqueue=enqueue
        )
        plans.append(Plan(source, [delivery], max_attempts=5, at_most_once=False))
    await plan(pool, plans)
    return [one.deliveries[0].delivery_id for one in plans]


async def waiting_for_retry(pool: Pool, app: App, count: int, *, channel: Channel = Channel.ANDROID) -> list[UUID]:
    """Deliveries whose provider wanted them again, now."""
    ids = await planned(pool, app, count, channel=channel, enqueue=True)
    claims = await claim(pool, ids, LEASE)
    again = [Record(one, DeliveryState.RETRY_WAIT, outcome=5, code="503", delay=timedelta(0)) for one in claims]
    await record(pool, again)
    return ids


async def held(pool: Pool, app: App, count: int) -> list[UUID]:
    """Deliveries that their lane holds."""
    ids = await planned(pool, app, count, enqueue=True)
    claims = await claim(pool, ids, LEASE)
    await record(pool, [Record(one, DeliveryState.HELD, tried=False) for one in claims])
    return ids


async def taken(bus: JetStreamBus, lane: Lane, count: int) -> list[UUID]:
    """Exactly `count` ids of a lane, settled; repeats of an id in later messages count."""
    found: list[UUID] = []
    stopping = asyncio.Event()

    async def take(batch: Batch) -> Verdict:
        found.extend(UUID(bytes=id_) for id_ in batch.ids)
        if len(found) >= count:
            stopping.set()
        return Verdict.ACK

    async with asyncio.timeout(10):
        await bus.consume(lane, take, stopping, max_messages=1)
    return found


async def messages(bus: JetStreamBus, *lanes: Lane) -> list[int]:
    return await waiting(bus, lanes)


async def resting(pool: Pool, ids: Sequence[UUID]) -> int:
    """How many of these notifications or deliveries wait for the pump."""
    found = await pool.fetchval(
        """SELECT (SELECT count(*) FROM ledger.plan_work WHERE notification_id = ANY ($1) AND ready_since IS NOT NULL)
                + (SELECT count(*) FROM ledger.delivery_work WHERE delivery_id = ANY ($1) AND ready_since IS NOT NULL)""",
        ids,
    )
    return int(found)
