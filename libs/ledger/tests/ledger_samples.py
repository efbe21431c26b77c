"""Notifications, plans and outcomes as the edge, the planner and a dispatcher would make them."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID, uuid4

import asyncpg

from clarion_kit.subjects import Lane, Stream
from clarion_kit.vocabulary import Channel, DeliveryState, Priority, Reason
from clarion_ledger.accept import Accepted, AcceptItem, AcceptResult, accept
from clarion_ledger.audit import Audit, audit
from clarion_ledger.db import Pool
from clarion_ledger.digests import Carrier, DueWindow, EndedMember, close
from clarion_ledger.dispatching import Claimed, Record, claim, record
from clarion_ledger.ids import delivery_id
from clarion_ledger.planning import Plan, PlannedDelivery, ToPlan, load, plan
from clarion_ledger.rests import DigestWindow, EscalationStep, Rest

LEASE = timedelta(seconds=30)
PLAN = Lane(Stream.PLAN, Priority.NORMAL)
DISPATCH = Lane(Stream.DISPATCH, Priority.NORMAL, Channel.ANDROID)
OUTCOME_ACCEPTED = 1
OUTCOME_RETRY = 5


class Owner(Protocol):
    """The app that notifications belong to."""

    @property
    def app_id(self) -> int: ...

    @property
    def categories(self) -> Mapping[str, int]: ...


def item(
    app: Owner,
    event_id: str,
    *,
    payload: bytes = b"sealed",
    deliver_at: datetime | None = None,
    expire_at: datetime | None = None,
    priority: Priority = Priority.NORMAL,
    traceparent: str = "",
    enqueue: bool = True,
) -> AcceptItem:
    return AcceptItem(
        app_id=app.app_id,
        event_id=event_id,
        payload_hash=hashlib.sha256(payload).digest(),
        category_id=app.categories["transactional"],
        priority=priority,
        recipient_count=1,
        deliver_at=deliver_at,
        expire_at=expire_at,
        time_to_live=timedelta(hours=1),
        payload=payload,
        traceparent=traceparent,
        enqueue=enqueue,
    )


def accepted(result: AcceptResult) -> Accepted:
    assert isinstance(result, Accepted), result
    return result


async def lane(pool: Pool, app: Owner, name: str = "main", channel: Channel = Channel.ANDROID) -> int:
    lane_id: int = await pool.fetchval(
        "INSERT INTO ledger.lane (app_id, name, kind, channel, settings) VALUES ($1, $2, 'fcm', $3, '') RETURNING lane_id",
        app.app_id,
        name,
        channel,
    )
    return lane_id


def plan_of(
    source: ToPlan,
    lane_id: int,
    *,
    suppressed: int = 0,
    at_most_once: bool = False,
    enqueue: bool = True,
    wishes_revision: int | None = None,
    resolved_at: float | None = None,
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
        traceparent=source.traceparent,
        wishes_revision=wishes_revision,
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
    return Plan(source, [flying, *others], max_attempts=3, at_most_once=at_most_once, resolved_at=resolved_at)


async def planned(
    pool: Pool, app: Owner, count: int = 1, *, suppressed: int = 0, at_most_once: bool = False, enqueue: bool = True
) -> tuple[list[UUID], list[UUID]]:
    """Accept and plan `count` notifications: their ids and their in-flight delivery ids."""
    lane_id = await lane(pool, app, f"lane-{uuid4().hex[:8]}")
    results = await accept(pool, [item(app, uuid4().hex) for _ in range(count)])
    ids = [accepted(result).notification_id for result in results]
    waiting = await load(pool, ids)
    plans = [plan_of(w, lane_id, suppressed=suppressed, at_most_once=at_most_once, enqueue=enqueue) for w in waiting]
    assert await plan(pool, plans) == set(ids)
    return ids, [p.deliveries[0].delivery_id for p in plans]


SOMEBODY = UUID(int=77)
WINDOW = timedelta(minutes=10)


def resting(
    source: ToPlan,
    lane_id: int,
    channel: Channel = Channel.ANDROID,
    *,
    rest: Rest | None = None,
    escalation: EscalationStep | None = None,
    digest: str = "",
    recipient: UUID = SOMEBODY,
) -> PlannedDelivery:
    """A delivery that rests: deferred, a step of an escalation, or a member of a digest."""
    address = UUID(int=channel)
    if digest:
        rest = Rest(DeliveryState.WAITING)
    return PlannedDelivery(
        delivery_id(source.notification_id, recipient, channel, address),
        recipient,
        channel,
        address_id=address,
        lane_id=lane_id,
        address=b"address",
        content=b"content",
        rest=rest,
        escalation=escalation,
        digest=DigestWindow(digest, WINDOW) if digest else None,
    )


async def plan_resting(
    pool: Pool, app: Owner, *deliveries: Callable[[ToPlan, int], PlannedDelivery], expire_at: datetime | None = None
) -> tuple[UUID, list[UUID]]:
    """A notification with these deliveries: its id and theirs."""
    lane_id = await lane(pool, app, f"lane-{uuid4().hex[:8]}")
    [result] = await accept(pool, [item(app, uuid4().hex, expire_at=expire_at)])
    [source] = await load(pool, [accepted(result).notification_id])
    made = [make(source, lane_id) for make in deliveries]
    await plan(pool, [Plan(source, made, max_attempts=3, at_most_once=False)])
    return source.notification_id, [one.delivery_id for one in made]


async def member(pool: Pool, app: Owner, key: str = "k", *, expire_at: datetime | None = None) -> tuple[UUID, UUID]:
    """A notification whose one delivery waits in the digest window of `key`: both ids."""
    notification, [id_] = await plan_resting(
        pool, app, lambda source, lane_id: resting(source, lane_id, digest=key), expire_at=expire_at
    )
    return notification, id_


async def window_ends(pool: Pool) -> None:
    """The time of every open window is over."""
    await pool.execute("UPDATE ledger.digest SET due_at = now() - interval '1 second', claimed_until = NULL")
    await pool.execute("UPDATE ledger.delivery_work SET due_at = now() - interval '1 second' WHERE state = 7")


async def close_digest(pool: Pool, found: DueWindow) -> bool:
    """Close a window as a planner does: the newest goes, the others are merged into it."""
    first, *others = found.members
    ended = [EndedMember(one.delivery_id, Reason.MERGED, first.delivery_id, b"", "into") for one in others]
    return await close(pool, found.digest_id, [Carrier(first.delivery_id, b"together")], ended)


async def leased(pool: Pool, app: Owner, *, at_most_once: bool = False) -> Claimed:
    """A delivery that was just claimed for the first time."""
    _, ids = await planned(pool, app, at_most_once=at_most_once)
    [claimed] = await claim(pool, ids, LEASE)
    return claimed


def sent(claimed: Claimed, message_id: str = "m1", receipt_key: str = "") -> Record:
    """A provider took it."""
    return Record(
        claimed,
        DeliveryState.SENT,
        outcome=OUTCOME_ACCEPTED,
        provider_message_id=message_id,
        receipt_key=receipt_key,
        duration=timedelta(milliseconds=40),
    )


def failed_for_now(claimed: Claimed, delay: timedelta = timedelta(0)) -> Record:
    """A provider wants it again later."""
    return Record(
        claimed,
        DeliveryState.RETRY_WAIT,
        outcome=OUTCOME_RETRY,
        code="503",
        delay=delay,
        duration=timedelta(milliseconds=40),
    )


async def delivered(pool: Pool, app: Owner, *, suppressed: int = 0, receipt_key: str = "") -> tuple[UUID, UUID]:
    """A notification whose delivery was sent: both ids."""
    [notification], [id_] = await planned(pool, app, suppressed=suppressed)
    claims = await claim(pool, [id_], LEASE)
    assert await record(pool, [sent(c, receipt_key=receipt_key) for c in claims]) == {id_}
    return notification, id_


async def work_row(pool: Pool, id_: UUID) -> asyncpg.Record | None:
    return await pool.fetchrow("SELECT * FROM ledger.delivery_work WHERE delivery_id = $1", id_)


async def existing_work_row(pool: Pool, id_: UUID) -> asyncpg.Record:
    row = await work_row(pool, id_)
    assert row is not None
    return row


async def delivery_row(pool: Pool, id_: UUID) -> asyncpg.Record:
    row = await pool.fetchrow("SELECT * FROM ledger.delivery WHERE id = $1", id_)
    assert row is not None
    return row


async def state_of(pool: Pool, id_: UUID) -> DeliveryState:
    """Where a delivery is: its work row while it is in flight, its own row afterwards."""
    row = await pool.fetchval(
        """SELECT coalesce(w.state, d.state) FROM ledger.delivery d
           LEFT JOIN ledger.delivery_work w ON w.delivery_id = d.id WHERE d.id = $1""",
        id_,
    )
    return DeliveryState(row)


async def events_of(pool: Pool, notification_id: UUID) -> list[int]:
    """Kinds in order."""
    rows = await pool.fetch(
        "SELECT kind FROM ledger.event WHERE notification_id = $1 ORDER BY at, xid, seq", notification_id
    )
    return [row["kind"] for row in rows]


async def audited(pool: Pool) -> Audit:
    """Everything of the last day."""
    return await audit(pool, since=datetime.now(UTC) - timedelta(days=1))
