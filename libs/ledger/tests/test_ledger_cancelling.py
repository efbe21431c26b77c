"""Cancelling against a real Postgres."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from clarion_kit.vocabulary import DeliveryState, EventKind, NotificationState, Reason
from clarion_ledger.accept import accept
from clarion_ledger.cancelling import Cancelled, cancel
from clarion_ledger.dispatching import record
from clarion_ledger.planning import load
from clarion_testkit.plugin import App, Database

from .ledger_samples import (
    accepted,
    audited,
    delivered,
    delivery_row,
    events_of,
    failed_for_now,
    item,
    leased,
    planned,
    sent,
    state_of,
)


async def test_scheduled_notification_is_cancelled(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1", deliver_at=datetime.now(UTC) + timedelta(hours=1))])
    id_ = accepted(result).notification_id

    assert await cancel(database.pool, app.app_id, id_) == Cancelled(NotificationState.CANCELLED, 0, 0)

    assert sorted(await events_of(database.pool, id_)) == [
        EventKind.SCHEDULED,
        EventKind.ACCEPTED,
        EventKind.CANCELLED,
    ]
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.schedule") == 0
    assert (await audited(database.pool)).unaccounted == 0


async def test_accepted_notification_is_cancelled_and_not_planned(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1")])
    id_ = accepted(result).notification_id

    assert await cancel(database.pool, app.app_id, id_) == Cancelled(NotificationState.CANCELLED, 0, 0)

    assert await load(database.pool, [id_]) == []
    assert (await audited(database.pool)).unaccounted == 0


async def test_deliveries_that_no_provider_has_seen_are_cancelled(database: Database, app: App) -> None:
    [notification], [id_] = await planned(database.pool, app, suppressed=1)

    assert await cancel(database.pool, app.app_id, notification) == Cancelled(NotificationState.DONE, 1, 1)

    row = await delivery_row(database.pool, id_)
    assert (row["state"], row["reason"]) == (DeliveryState.CANCELLED, Reason.CANCELLED_BY_APP)
    assert (await audited(database.pool)).unaccounted == 0


async def test_delivery_that_waits_for_its_retry_is_cancelled(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)
    await record(database.pool, [failed_for_now(claimed, timedelta(hours=1))])

    result = await cancel(database.pool, app.app_id, claimed.notification_id)

    assert result == Cancelled(NotificationState.DONE, 1, 0)
    assert (await delivery_row(database.pool, claimed.delivery_id))["attempts"] == 1
    assert (await audited(database.pool)).unaccounted == 0


async def test_delivery_with_a_provider_is_left_to_its_outcome(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)

    result = await cancel(database.pool, app.app_id, claimed.notification_id)

    assert result == Cancelled(NotificationState.PLANNED, 0, 1)
    assert await state_of(database.pool, claimed.delivery_id) is DeliveryState.LEASED
    assert await record(database.pool, [sent(claimed)]) == {claimed.delivery_id}


async def test_second_cancel_changes_nothing(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1")])
    unplanned = accepted(result).notification_id
    [in_flight], _ = await planned(database.pool, app)
    for id_ in (unplanned, in_flight):
        await cancel(database.pool, app.app_id, id_)
    before = [await events_of(database.pool, id_) for id_ in (unplanned, in_flight)]

    again = [await cancel(database.pool, app.app_id, id_) for id_ in (unplanned, in_flight)]

    assert again == [Cancelled(NotificationState.CANCELLED, 0, 0), Cancelled(NotificationState.DONE, 0, 1)]
    assert [await events_of(database.pool, id_) for id_ in (unplanned, in_flight)] == before


async def test_finished_notification_stays_as_it_is(database: Database, app: App) -> None:
    notification, id_ = await delivered(database.pool, app)

    assert await cancel(database.pool, app.app_id, notification) == Cancelled(NotificationState.DONE, 0, 1)

    assert await state_of(database.pool, id_) is DeliveryState.SENT


async def test_notification_of_another_app_is_not_there(database: Database, app: App) -> None:
    [scheduled, waiting] = [
        accepted(result).notification_id
        for result in await accept(
            database.pool,
            [item(app, "e1", deliver_at=datetime.now(UTC) + timedelta(hours=1)), item(app, "e2")],
        )
    ]
    [in_flight], [id_] = await planned(database.pool, app)

    for notification in (scheduled, waiting, in_flight, uuid4()):
        assert await cancel(database.pool, app.app_id + 1, notification) is None

    assert await database.pool.fetchval("SELECT count(*) FROM ledger.schedule") == 1
    assert len(await load(database.pool, [waiting])) == 1
    assert await state_of(database.pool, id_) is DeliveryState.ENQUEUED
