"""Planning against a real Postgres."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from clarion_kit.vocabulary import DeliveryState, EventKind, NotificationState, Priority, Reason
from clarion_ledger.accept import accept
from clarion_ledger.db import Pool
from clarion_ledger.planning import MAX_LOAD_BYTES, Plan, count_try, expire, load, plan
from clarion_testkit.plugin import App, Database

from .ledger_samples import accepted, audited, delivery_row, events_of, existing_work_row, item, lane, plan_of, planned


async def notification_state(pool: Pool, id_: UUID) -> NotificationState:
    return NotificationState(await pool.fetchval("SELECT state FROM ledger.notification WHERE id = $1", id_))


async def test_load_gives_what_was_accepted(database: Database, app: App) -> None:
    sent = item(app, "e1", payload=b"hello", priority=Priority.URGENT, traceparent="00-aa-bb-01")
    [result] = await accept(database.pool, [sent])

    [found] = await load(database.pool, [accepted(result).notification_id])

    assert (found.app_id, found.event_id, found.category_id) == (app.app_id, "e1", sent.category_id)
    assert (found.priority, found.payload, found.traceparent) == (Priority.URGENT, b"hello", "00-aa-bb-01")
    assert (found.expired, found.tries) == (False, 0)
    assert found.expire_at - found.accepted_at == sent.time_to_live


async def test_load_leaves_out_unknown_and_planned_notifications(database: Database, app: App) -> None:
    ids, _ = await planned(database.pool, app)

    assert await load(database.pool, [*ids, uuid4()]) == []
    assert await load(database.pool, []) == []


async def test_load_of_large_payloads_comes_by_turns(database: Database, app: App) -> None:
    large = bytes(MAX_LOAD_BYTES // 2)
    results = await accept(database.pool, [item(app, f"e{n}", payload=large) for n in range(5)])
    ids = sorted(accepted(result).notification_id for result in results)

    turns: list[list[UUID]] = []
    left = ids
    while found := [source.notification_id for source in await load(database.pool, left)]:
        turns.append(found)
        left = [id_ for id_ in left if id_ > found[-1]]

    assert turns == [ids[:2], ids[2:4], ids[4:]]


async def test_load_says_that_the_deadline_passed(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1", expire_at=datetime.now(UTC) - timedelta(seconds=1))])

    [found] = await load(database.pool, [accepted(result).notification_id])

    assert found.expired


async def test_plan_writes_deliveries_bodies_work_and_events(database: Database, app: App) -> None:
    [notification], [id_] = await planned(database.pool, app, suppressed=2)

    row = await database.pool.fetchrow("SELECT * FROM ledger.notification WHERE id = $1", notification)
    assert row is not None
    assert (row["state"], row["planned_count"]) == (NotificationState.PLANNED, 3)
    work = await existing_work_row(database.pool, id_)
    assert (work["state"], work["max_attempts"], work["expire_at"]) == (DeliveryState.ENQUEUED, 3, row["expire_at"])
    assert await database.pool.fetchval("SELECT content FROM ledger.delivery_body WHERE id = $1", id_) == b"content"
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.plan_work") == 0
    assert sorted(await events_of(database.pool, notification)) == [
        EventKind.ACCEPTED,
        EventKind.PLANNED,
        EventKind.TERMINAL,
        EventKind.TERMINAL,
    ]
    assert (await audited(database.pool)).unaccounted == 0


async def test_plan_keeps_what_it_saw_of_the_recipient_and_when(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    results = await accept(database.pool, [item(app, "looked up"), item(app, "needs none")])
    looked_up, needs_none = await load(database.pool, [accepted(result).notification_id for result in results])
    first = plan_of(looked_up, lane_id, wishes_revision=7, resolved_at=time.monotonic() - 3)
    second = plan_of(needs_none, lane_id)

    await plan(database.pool, [first, second])

    rows = await database.pool.fetch(
        "SELECT wishes_revision, now() - planned_at AS ago FROM ledger.delivery_work ORDER BY wishes_revision"
    )
    assert [row["wishes_revision"] for row in rows] == [7, None]
    seen, unseen = (row["ago"].total_seconds() for row in rows)
    assert 3 <= seen < 30
    assert unseen < 2.5


async def test_suppressed_delivery_is_terminal_at_once_with_its_reason(database: Database, app: App) -> None:
    [notification], [flying] = await planned(database.pool, app, suppressed=1)

    [row] = await database.pool.fetch(
        "SELECT * FROM ledger.delivery WHERE notification_id = $1 AND id <> $2", notification, flying
    )
    assert (row["state"], row["reason"]) == (DeliveryState.SUPPRESSED, Reason.NO_ADDRESS)
    assert row["terminal_at"] is not None
    assert (
        await database.pool.fetchval("SELECT count(*) FROM ledger.delivery_work WHERE delivery_id = $1", row["id"]) == 0
    )
    event = await database.pool.fetchrow("SELECT state, reason FROM ledger.event WHERE delivery_id = $1", row["id"])
    assert event is not None
    assert tuple(event) == (DeliveryState.SUPPRESSED, Reason.NO_ADDRESS)


@pytest.mark.parametrize(
    ("enqueue", "state", "rests_in"),
    [(True, DeliveryState.ENQUEUED, "enqueued_at"), (False, DeliveryState.READY, "ready_since")],
)
async def test_delivery_rests_where_the_planner_says(
    database: Database, app: App, enqueue: bool, state: DeliveryState, rests_in: str
) -> None:
    _, [id_] = await planned(database.pool, app, enqueue=enqueue)

    work = await existing_work_row(database.pool, id_)

    assert work["state"] == state == (await delivery_row(database.pool, id_))["state"]
    assert {column for column in ("enqueued_at", "due_at", "ready_since") if work[column] is not None} == {rests_in}


async def test_second_planner_writes_nothing(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    [result] = await accept(database.pool, [item(app, "e1")])
    waiting = await load(database.pool, [accepted(result).notification_id])
    plans = [plan_of(w, lane_id, suppressed=1) for w in waiting]

    assert await plan(database.pool, plans) == {accepted(result).notification_id}
    assert await plan(database.pool, plans) == set()

    assert await database.pool.fetchval("SELECT count(*) FROM ledger.delivery") == 2
    assert (await audited(database.pool)).unaccounted == 0


async def test_planners_of_overlapping_batches_plan_each_notification_once(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    results = await accept(database.pool, [item(app, f"e{n}") for n in range(40)])
    waiting = await load(database.pool, [accepted(result).notification_id for result in results])
    plans = [plan_of(w, lane_id, suppressed=1) for w in waiting]

    taken = await asyncio.gather(*(plan(database.pool, plans[start:] + plans[:start]) for start in range(0, 40, 10)))

    assert sorted(id_ for ids in taken for id_ in ids) == [w.notification_id for w in waiting]
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.delivery") == 80
    assert (await audited(database.pool)).unaccounted == 0


async def test_plan_that_cannot_be_stored_leaves_its_whole_batch_unplanned(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    results = await accept(database.pool, [item(app, "good"), item(app, "bad")])
    good, bad = (plan_of(w, lane_id) for w in await load(database.pool, [accepted(r).notification_id for r in results]))
    doubled = Plan(bad.source, [*bad.deliveries, *bad.deliveries], max_attempts=1, at_most_once=False)

    with pytest.raises(asyncpg.UniqueViolationError):
        await plan(database.pool, [good, doubled])

    assert await database.pool.fetchval("SELECT count(*) FROM ledger.plan_work") == 2
    assert await plan(database.pool, [good]) == {good.source.notification_id}


async def test_notification_with_nothing_to_deliver_is_planned(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1")])
    [source] = await load(database.pool, [accepted(result).notification_id])

    assert await plan(database.pool, [Plan(source, [], 1, False)]) == {source.notification_id}

    assert await notification_state(database.pool, source.notification_id) is NotificationState.PLANNED
    assert (await audited(database.pool)).unaccounted == 0


async def test_expired_notification_ends_with_one_event(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1")])
    id_ = accepted(result).notification_id

    await expire(database.pool, [id_])
    await expire(database.pool, [id_])

    assert await notification_state(database.pool, id_) is NotificationState.EXPIRED
    assert await events_of(database.pool, id_) == [EventKind.ACCEPTED, EventKind.EXPIRED]
    assert await load(database.pool, [id_]) == []
    assert (await audited(database.pool)).unaccounted == 0


async def test_planned_notification_does_not_expire(database: Database, app: App) -> None:
    [id_], _ = await planned(database.pool, app)

    await expire(database.pool, [id_])

    assert await notification_state(database.pool, id_) is NotificationState.PLANNED


async def test_failed_tries_are_counted(database: Database, app: App) -> None:
    results = await accept(database.pool, [item(app, "poison"), item(app, "well")])
    poison, well = (accepted(result).notification_id for result in results)

    await count_try(database.pool, [poison])
    await count_try(database.pool, [poison])

    tries = {w.notification_id: w.tries for w in await load(database.pool, [poison, well])}
    assert tries == {poison: 2, well: 0}
