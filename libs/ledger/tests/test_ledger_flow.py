"""What the scheduler moves, against a real Postgres."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from clarion_kit.sealing import KeyWrapper
from clarion_kit.subjects import Lane, Stream
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Priority, Reason
from clarion_ledger import admin, flow
from clarion_ledger.accept import accept
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import claim, mark_writing, record
from clarion_ledger.planning import load
from clarion_testkit.plugin import App, Database

from .ledger_samples import (
    DISPATCH,
    LEASE,
    PLAN,
    accepted,
    audited,
    delivery_row,
    events_of,
    existing_work_row,
    failed_for_now,
    item,
    leased,
    planned,
    state_of,
)


async def another_app(pool: Pool, kek: KeyWrapper, app: App, name: str) -> App:
    row = await admin.create_app(pool, kek, name)
    return App(row.app_id, app.keys, app.categories)


async def grow_old(pool: Pool, ids: list[UUID], by: timedelta) -> None:
    """As if the rows had been enqueued `by` earlier."""
    for table, column in (("plan_work", "notification_id"), ("delivery_work", "delivery_id")):
        await pool.execute(
            f"UPDATE ledger.{table} SET enqueued_at = enqueued_at - $2::interval WHERE {column} = ANY ($1)", ids, by
        )


async def end_leases(pool: Pool, *ids: UUID) -> None:
    """As if the leases had run out."""
    await grow_old(pool, list(ids), timedelta(minutes=1))
    await pool.execute(
        "UPDATE ledger.delivery_work SET lease_until = now() - interval '1 second' WHERE delivery_id = ANY ($1)", ids
    )


# ---------------------------------------------------------------- pump


async def test_pump_enqueues_resting_notifications_and_deliveries(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1", enqueue=False, traceparent="t1")])
    _, deliveries = await planned(database.pool, app, 2, enqueue=False)

    plans = await flow.pump(database.pool, PLAN, 10)
    moved = await flow.pump(database.pool, DISPATCH, 10)

    assert (plans.ids, plans.traceparents) == ([accepted(result).notification_id], ["t1"])
    assert sorted(moved.ids) == sorted(deliveries)
    assert [await state_of(database.pool, id_) for id_ in deliveries] == [DeliveryState.ENQUEUED] * 2
    assert (await flow.pump(database.pool, PLAN, 10)).ids == []
    assert (await flow.pump(database.pool, DISPATCH, 10)).ids == []
    assert (await audited(database.pool)).unaccounted == 0


async def test_pump_moves_only_its_own_lane(database: Database, app: App) -> None:
    await planned(database.pool, app, enqueue=False)

    assert (await flow.pump(database.pool, replace(DISPATCH, channel=Channel.IOS), 10)).ids == []
    assert (await flow.pump(database.pool, replace(DISPATCH, priority=Priority.BULK), 10)).ids == []


async def test_pump_shares_its_limit_between_apps(database: Database, app: App, kek: KeyWrapper) -> None:
    small = await another_app(database.pool, kek, app, "small")
    await accept(database.pool, [item(app, f"bulk{n}", enqueue=False) for n in range(50)])
    await accept(database.pool, [item(small, f"e{n}", enqueue=False) for n in range(5)])
    await planned(database.pool, app, 30, enqueue=False)
    await planned(database.pool, small, 5, enqueue=False)

    plans = await flow.pump(database.pool, PLAN, 10)
    deliveries = await flow.pump(database.pool, DISPATCH, 10)

    owners = await database.pool.fetch("SELECT notification_id AS id, app_id FROM ledger.plan_work")
    assert Counter(row["app_id"] for row in owners if row["id"] in plans.ids) == {app.app_id: 5, small.app_id: 5}
    owners = await database.pool.fetch("SELECT delivery_id AS id, app_id FROM ledger.delivery_work")
    assert Counter(row["app_id"] for row in owners if row["id"] in deliveries.ids) == {app.app_id: 5, small.app_id: 5}


async def test_pump_takes_the_oldest_rows_first(database: Database, app: App) -> None:
    results = await accept(database.pool, [item(app, f"e{n}", enqueue=False) for n in range(6)])

    moved = await flow.pump(database.pool, PLAN, 2)

    assert sorted(moved.ids) == sorted(accepted(result).notification_id for result in results)[:2]


async def test_four_pumps_at_once_move_each_row_once(database: Database, app: App, kek: KeyWrapper) -> None:
    other = await another_app(database.pool, kek, app, "other")
    _, ours = await planned(database.pool, app, 100, enqueue=False)
    _, theirs = await planned(database.pool, other, 100, enqueue=False)

    async def pump_until_empty() -> list[UUID]:
        taken: list[UUID] = []
        while ids := (await flow.pump(database.pool, DISPATCH, 16)).ids:
            taken += ids
        return taken

    moved = await asyncio.gather(*(pump_until_empty() for _ in range(4)))
    rest = await pump_until_empty()

    assert sorted([id_ for ids in moved for id_ in ids] + rest) == sorted(ours + theirs)


async def test_apps_with_resting_rows_are_known(database: Database, app: App) -> None:
    await accept(database.pool, [item(app, "e1", enqueue=False, priority=Priority.BULK)])
    await planned(database.pool, app, enqueue=False)
    await planned(database.pool, app, enqueue=True)

    assert await flow.has_ready(database.pool) == (
        {(Priority.BULK, app.app_id)},
        {(Channel.ANDROID, Priority.NORMAL, app.app_id)},
    )


# ---------------------------------------------------------------- due work


async def test_due_retries_are_enqueued_by_lane_and_say_how_late_they_are(database: Database, app: App) -> None:
    first = await leased(database.pool, app)
    second = await leased(database.pool, app)
    waiting = await leased(database.pool, app)
    await database.pool.execute(
        "UPDATE ledger.delivery_work SET priority = 1 WHERE delivery_id = $1", second.delivery_id
    )
    await record(database.pool, [failed_for_now(first), failed_for_now(second)])
    await record(database.pool, [failed_for_now(waiting, timedelta(hours=1))])
    await database.pool.execute(
        "UPDATE ledger.delivery_work SET due_at = due_at - interval '7 seconds' WHERE delivery_id = $1",
        first.delivery_id,
    )

    urgent, normal = await flow.due_retries(database.pool)

    assert (urgent.lane, urgent.ids) == (Lane(Stream.RETRY, Priority.URGENT, Channel.ANDROID), [second.delivery_id])
    assert (normal.lane, normal.ids) == (Lane(Stream.RETRY, Priority.NORMAL, Channel.ANDROID), [first.delivery_id])
    assert timedelta(seconds=7) <= normal.lateness < timedelta(minutes=1)
    assert await state_of(database.pool, waiting.delivery_id) is DeliveryState.RETRY_WAIT
    assert await flow.due_retries(database.pool) == []


async def test_due_schedule_enters_the_ledger(database: Database, app: App) -> None:
    due = datetime.now(UTC) + timedelta(hours=2)
    due_item = item(app, "due", payload=b"later", deliver_at=due, traceparent="t1", priority=Priority.URGENT)
    [result] = await accept(database.pool, [due_item])
    id_ = accepted(result).notification_id
    assert await flow.due_schedules(database.pool) == []
    await database.pool.execute("UPDATE ledger.schedule SET deliver_at = now() - interval '3 seconds'")

    [moved] = await flow.due_schedules(database.pool)

    assert (moved.lane, moved.ids) == (Lane(Stream.PLAN, Priority.URGENT), [id_])
    assert moved.traceparents == ["t1"]
    assert moved.lateness >= timedelta(seconds=3)
    [waiting] = await load(database.pool, [id_])
    assert (waiting.payload, waiting.event_id) == (b"later", "due")
    assert abs(waiting.expire_at - due - due_item.time_to_live) < timedelta(seconds=1)
    assert await events_of(database.pool, id_) == [EventKind.SCHEDULED, EventKind.ACCEPTED]
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.schedule") == 0
    assert (await audited(database.pool)).unaccounted == 0


async def test_resting_deliveries_past_their_deadline_end(database: Database, app: App) -> None:
    _, [ready] = await planned(database.pool, app, enqueue=False)
    retry = await leased(database.pool, app)
    await record(database.pool, [failed_for_now(retry, timedelta(hours=3))])
    _, [enqueued] = await planned(database.pool, app)
    under_lease = await leased(database.pool, app)
    await database.pool.execute("UPDATE ledger.delivery_work SET expire_at = now()")

    assert await flow.expired(database.pool) == 2

    for id_ in (ready, retry.delivery_id):
        row = await delivery_row(database.pool, id_)
        assert (row["state"], row["reason"]) == (DeliveryState.EXPIRED, Reason.DEADLINE_PASSED)
    assert await state_of(database.pool, enqueued) is DeliveryState.ENQUEUED
    assert await state_of(database.pool, under_lease.delivery_id) is DeliveryState.LEASED
    assert (await audited(database.pool)).unaccounted == 0


# ---------------------------------------------------------------- what the bus lost


async def test_row_younger_than_fifteen_seconds_is_not_lost(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app)
    await grow_old(database.pool, ids, timedelta(seconds=14))

    assert (await flow.lost(database.pool, DISPATCH, None)).ids == []


async def test_row_younger_than_the_oldest_message_is_lost(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app)
    await grow_old(database.pool, ids, timedelta(seconds=40))
    enqueued_at = (await existing_work_row(database.pool, ids[0]))["enqueued_at"]

    assert (await flow.lost(database.pool, DISPATCH, enqueued_at - timedelta(seconds=1))).ids == []
    assert (await flow.lost(database.pool, DISPATCH, enqueued_at + timedelta(seconds=1))).ids == ids


async def test_lost_notification_is_enqueued_again(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1", traceparent="t1")])
    id_ = accepted(result).notification_id
    await grow_old(database.pool, [id_], timedelta(seconds=16))

    assert (await flow.lost(database.pool, replace(PLAN, priority=Priority.BULK), None)).ids == []
    moved = await flow.lost(database.pool, PLAN, None)

    assert (moved.ids, moved.traceparents) == ([id_], ["t1"])


async def test_wait_for_a_row_that_is_lost_again_doubles(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app)
    waits = []
    for _ in range(7):
        waited = timedelta(0)
        while not (await flow.lost(database.pool, DISPATCH, None)).ids:
            waited += timedelta(seconds=15)
            assert waited <= timedelta(minutes=10)
            await grow_old(database.pool, ids, timedelta(seconds=15))
        waits.append(waited.total_seconds())

    assert waits == [15, 30, 60, 120, 240, 300, 300]
    assert (await existing_work_row(database.pool, ids[0]))["enqueue_count"] == 7


async def test_leased_or_resting_row_is_never_lost(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)
    _, resting = await planned(database.pool, app, enqueue=False)
    await grow_old(database.pool, [claimed.delivery_id, *resting], timedelta(hours=1))

    assert (await flow.lost(database.pool, DISPATCH, None)).ids == []


async def test_unconfirmed_rows_go_back_to_the_pump(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1")])
    notification = accepted(result).notification_id
    _, [delivery] = await planned(database.pool, app)
    claimed = await leased(database.pool, app)

    await flow.release(database.pool, PLAN, [notification])
    await flow.release(database.pool, DISPATCH, [delivery, claimed.delivery_id])

    assert (await flow.pump(database.pool, PLAN, 10)).ids == [notification]
    assert (await flow.pump(database.pool, DISPATCH, 10)).ids == [delivery]
    assert await state_of(database.pool, claimed.delivery_id) is DeliveryState.LEASED


async def test_stream_that_was_made_anew_or_went_backwards_lost_its_content(database: Database) -> None:
    made = datetime(2026, 1, 1, tzinfo=UTC)

    assert not await flow.stream_lost_content(database.pool, "DISPATCH", made, 10)
    assert not await flow.stream_lost_content(database.pool, "DISPATCH", made, 25)
    assert await flow.stream_lost_content(database.pool, "DISPATCH", made, 24)
    assert not await flow.stream_lost_content(database.pool, "DISPATCH", made, 24)
    assert await flow.stream_lost_content(database.pool, "DISPATCH", made + timedelta(days=1), 30)
    assert not await flow.stream_lost_content(database.pool, "PLAN", made, 1)


async def test_rows_of_a_lost_stream_go_back_to_the_pump(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1")])
    _, waiting = await planned(database.pool, app, 3)
    claimed = await leased(database.pool, app)

    assert await flow.restart(database.pool, Stream.PLAN) == 1
    assert await flow.restart(database.pool, Stream.DISPATCH) == 3

    assert (await flow.pump(database.pool, PLAN, 10)).ids == [accepted(result).notification_id]
    assert sorted((await flow.pump(database.pool, DISPATCH, 10)).ids) == sorted(waiting)
    assert await state_of(database.pool, claimed.delivery_id) is DeliveryState.LEASED


# ---------------------------------------------------------------- ended leases


async def test_live_lease_is_left_alone(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)
    await grow_old(database.pool, [claimed.delivery_id], timedelta(minutes=1))

    assert await flow.ended_leases(database.pool) == 0


async def test_ended_lease_of_at_least_once_delivery_comes_again_in_doubt(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)
    await end_leases(database.pool, claimed.delivery_id)

    assert await flow.ended_leases(database.pool) == 1

    work = await existing_work_row(database.pool, claimed.delivery_id)
    assert (work["state"], work["ambiguous"], work["lease_gen"]) == (DeliveryState.READY, True, 2)
    assert (await audited(database.pool)).unaccounted == 0


async def test_at_most_once_delivery_that_came_to_the_write_fails_in_doubt(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app, at_most_once=True)
    await mark_writing(database.pool, [claimed])
    await end_leases(database.pool, claimed.delivery_id)

    assert await flow.ended_leases(database.pool) == 1

    row = await delivery_row(database.pool, claimed.delivery_id)
    assert (row["state"], row["reason"], row["ambiguous"]) == (DeliveryState.FAILED, Reason.AMBIGUOUS, True)
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.dead_letter") == 0
    assert (await audited(database.pool)).unaccounted == 0


async def test_at_most_once_delivery_before_its_write_comes_again_without_doubt(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app, at_most_once=True)
    await end_leases(database.pool, claimed.delivery_id)

    assert await flow.ended_leases(database.pool) == 1

    work = await existing_work_row(database.pool, claimed.delivery_id)
    assert (work["state"], work["ambiguous"]) == (DeliveryState.READY, False)


@pytest.mark.parametrize("at_most_once", [False, True])
async def test_delivery_whose_last_lease_ended_is_a_dead_letter(
    database: Database, app: App, at_most_once: bool
) -> None:
    claimed = await leased(database.pool, app, at_most_once=at_most_once)
    await database.pool.execute("UPDATE ledger.delivery_work SET max_attempts = 1")
    await end_leases(database.pool, claimed.delivery_id)

    assert await flow.ended_leases(database.pool) == 1

    row = await delivery_row(database.pool, claimed.delivery_id)
    assert (row["state"], row["reason"]) == (DeliveryState.DEAD_LETTERED, Reason.POISON)
    assert row["ambiguous"] is not at_most_once  # at most once never came to the write: no call was made
    assert await database.pool.fetchval("SELECT last_code FROM ledger.dead_letter") == "lease ended"
    assert (await audited(database.pool)).unaccounted == 0


async def test_sweepers_at_once_take_each_ended_lease_back_once(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app, 50)
    await claim(database.pool, ids, LEASE)
    await end_leases(database.pool, *ids)

    taken = await asyncio.gather(*(flow.ended_leases(database.pool) for _ in range(4)))

    assert sum(taken) == 50
    generations = await database.pool.fetch("SELECT DISTINCT lease_gen FROM ledger.delivery_work")
    assert [row["lease_gen"] for row in generations] == [2]


# ---------------------------------------------------------------- singletons


async def test_lease_of_a_job_passes_on_when_its_holder_is_gone(database: Database) -> None:
    second = timedelta(seconds=10)

    assert await flow.take_lease(database.pool, "partitions", "a", second)
    assert await flow.take_lease(database.pool, "partitions", "a", second)
    assert not await flow.take_lease(database.pool, "partitions", "b", second)
    assert await flow.take_lease(database.pool, "rollup", "b", second)
    await database.pool.execute("UPDATE ledger.lease SET until = now() - interval '1 second'")
    assert await flow.take_lease(database.pool, "partitions", "b", second)
    assert not await flow.take_lease(database.pool, "partitions", "a", second)


async def test_lease_is_taken_by_one_of_many(database: Database) -> None:
    taken = await asyncio.gather(
        *(flow.take_lease(database.pool, "job", uuid4().hex, timedelta(seconds=10)) for _ in range(6))
    )

    assert taken.count(True) == 1
