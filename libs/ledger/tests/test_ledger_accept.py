"""Accepting against a real Postgres."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from asyncpg import DataError

from clarion_ledger.accept import Accepted, EventIdReused, accept
from clarion_ledger.ids import timestamp_ms
from clarion_testkit.plugin import App, Database

from .ledger_samples import accepted, item


async def test_accepted_notification_has_its_body_work_and_event(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1", payload=b"x")])

    id_ = accepted(result).notification_id
    assert accepted(result).fresh
    assert await database.pool.fetchval("SELECT payload FROM ledger.notification_body WHERE id = $1", id_) == b"x"
    assert await database.pool.fetchval(
        "SELECT enqueued_at IS NOT NULL FROM ledger.plan_work WHERE notification_id = $1", id_
    )
    assert (
        await database.pool.fetchval("SELECT count(*) FROM ledger.event WHERE notification_id = $1 AND kind = 2", id_)
        == 1
    )


async def test_second_send_with_same_event_id_returns_first_answer(database: Database, app: App) -> None:
    [first] = await accept(database.pool, [item(app, "e1")])
    [second] = await accept(database.pool, [item(app, "e1")])

    assert second == replace(accepted(first), fresh=False)
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.notification") == 1


async def test_same_event_id_twice_in_one_batch_is_one_notification(database: Database, app: App) -> None:
    first, second, other = await accept(database.pool, [item(app, "e1"), item(app, "e1"), item(app, "e2")])

    assert accepted(first).notification_id == accepted(second).notification_id != accepted(other).notification_id
    assert (accepted(first).fresh, accepted(second).fresh) == (True, False)


async def test_same_event_id_with_another_payload_is_a_conflict_and_stores_nothing(
    database: Database, app: App
) -> None:
    first, conflict = await accept(database.pool, [item(app, "e1", payload=b"a"), item(app, "e1", payload=b"b")])

    winner = next(r for r in (first, conflict) if isinstance(r, Accepted))
    loser = next(r for r in (first, conflict) if isinstance(r, EventIdReused))
    assert loser.notification_id == winner.notification_id
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.notification_body") == 1


async def test_event_id_of_an_earlier_epoch_is_still_known(database: Database, app: App) -> None:
    [first] = await accept(database.pool, [item(app, "e1")])
    await database.pool.execute(
        "SELECT ledger.ensure_partitions((now() + interval '20 days')::date, (now() + interval '24 days')::date)"
    )
    await database.pool.execute("UPDATE ledger.event_epoch SET epoch = epoch + 4")

    [second] = await accept(database.pool, [item(app, "e1")])

    assert accepted(second).notification_id == accepted(first).notification_id


async def test_event_ids_of_two_apps_do_not_meet(database: Database, app: App) -> None:
    other_app = App(app.app_id + 1, app.keys, app.categories)

    ours, theirs = await accept(database.pool, [item(app, "e1", payload=b"a"), item(other_app, "e1", payload=b"b")])

    assert accepted(ours).notification_id != accepted(theirs).notification_id


async def test_concurrent_sends_of_overlapping_batches_agree(database: Database, app: App) -> None:
    batch = [item(app, f"e{n}") for n in range(60)]

    answers = await asyncio.gather(
        *(accept(database.pool, batch[start:] + batch[:start]) for start in range(0, 60, 10))
    )

    ids = [{accepted(result).notification_id for result in answer} for answer in answers]
    assert all(found == ids[0] for found in ids)
    assert sum(accepted(result).fresh for answer in answers for result in answer) == 60


async def test_item_that_postgres_cannot_store_fails_alone(database: Database, app: App) -> None:
    good, bad, also_good = await accept(database.pool, [item(app, "a"), item(app, "b\0"), item(app, "c")])

    assert isinstance(bad, DataError)
    assert accepted(good).fresh
    assert accepted(also_good).fresh


async def test_scheduled_notification_rests_and_carries_its_due_time_in_its_id(database: Database, app: App) -> None:
    due = datetime.now(UTC) + timedelta(days=40)

    [result] = await accept(database.pool, [item(app, "e1", deliver_at=due)])

    assert accepted(result).scheduled
    assert abs(timestamp_ms(accepted(result).notification_id) - due.timestamp() * 1000) < 5_000
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.notification") == 0
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.schedule") == 1


async def test_test_sends_are_marked_in_the_same_transaction_and_nothing_else_is(database: Database, app: App) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    tests = [replace(item(app, "e1"), test=True), replace(item(app, "e2", deliver_at=later), test=True)]
    results = await accept(database.pool, [item(app, "e0"), *tests])
    again = await accept(database.pool, [item(app, "e3"), tests[0]])

    ids = [accepted(result).notification_id for result in results]
    marked = await database.pool.fetch("SELECT notification_id, app_id FROM ledger.test_send")
    assert {(row["notification_id"], row["app_id"]) for row in marked} == {(id_, app.app_id) for id_ in ids[1:]}
    assert accepted(again[1]).notification_id == ids[1]


async def test_bad_item_beside_a_test_send_fails_alone(database: Database, app: App) -> None:
    bad = item(app, "nul\0")

    refused, taken = await accept(database.pool, [bad, replace(item(app, "e1"), test=True)])

    assert isinstance(refused, DataError)
    assert (
        await database.pool.fetchval("SELECT notification_id FROM ledger.test_send") == accepted(taken).notification_id
    )
