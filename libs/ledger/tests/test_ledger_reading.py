"""Reading against a real Postgres."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, NotificationState, Reason, Receipt
from clarion_ledger import flow, reading
from clarion_ledger.accept import accept
from clarion_ledger.db import connection
from clarion_ledger.dispatching import record
from clarion_ledger.receipts import ReceiptFor, apply
from clarion_testkit.plugin import App, Database

from .ledger_samples import accepted, delivered, item, leased, planned, sent

FIRST = UUID(int=0)


async def test_whole_notification_shows_deliveries_and_timeline(database: Database, app: App) -> None:
    notification, id_ = await delivered(database.pool, app, suppressed=1)
    await apply(database.pool, [ReceiptFor(id_, Receipt.DELIVERED, "DELIVRD")])

    found = await reading.whole(database.pool, app.app_id, notification)

    assert found is not None
    assert found.notification.notification_id == notification
    assert found.notification.state is NotificationState.DONE
    by_channel = {delivery.channel: delivery for delivery in found.deliveries}
    push, mail = by_channel[Channel.ANDROID], by_channel[Channel.EMAIL]
    assert (push.state, push.reason, push.receipt) == (DeliveryState.SENT, None, Receipt.DELIVERED)
    assert (push.attempts, push.provider_message_id, push.lane[:5]) == (1, "m1", "lane-")
    assert (mail.state, mail.reason, mail.lane) == (DeliveryState.SUPPRESSED, Reason.NO_ADDRESS, "")
    assert [event.kind for event in found.timeline] == [
        EventKind.ACCEPTED,
        EventKind.PLANNED,
        EventKind.TERMINAL,
        EventKind.TERMINAL,
        EventKind.RECEIPT,
    ]
    assert found.timeline[-1].code == "DELIVRD"


async def test_delivery_in_flight_is_shown_where_it_is(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)

    found = await reading.whole(database.pool, app.app_id, claimed.notification_id)

    assert found is not None
    assert found.notification.state is NotificationState.PLANNED
    assert [(d.state, d.attempts, d.terminal_at) for d in found.deliveries] == [(DeliveryState.LEASED, 1, None)]


async def test_notification_is_done_when_nothing_of_it_is_in_flight(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)
    await record(database.pool, [sent(claimed)])

    found = await reading.whole(database.pool, app.app_id, claimed.notification_id)

    assert found is not None
    assert found.notification.state is NotificationState.DONE


async def test_scheduled_notification_is_shown_before_and_after_it_is_due(database: Database, app: App) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    [result] = await accept(database.pool, [item(app, "e1", deliver_at=due)])
    id_ = accepted(result).notification_id

    before = await reading.whole(database.pool, app.app_id, id_)
    await database.pool.execute("UPDATE ledger.schedule SET deliver_at = now()")
    await flow.due_schedules(database.pool)
    after = await reading.whole(database.pool, app.app_id, id_)

    assert before is not None
    assert after is not None
    assert (before.notification.state, before.notification.deliver_at) == (NotificationState.SCHEDULED, due)
    assert after.notification.state is NotificationState.ACCEPTED
    assert [event.kind for event in after.timeline] == [EventKind.SCHEDULED, EventKind.ACCEPTED]


async def test_notification_of_another_app_is_not_there(database: Database, app: App) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    results = await accept(database.pool, [item(app, "e1", deliver_at=due), item(app, "e2")])
    stranger = app.app_id + 1

    for result in results:
        assert await reading.whole(database.pool, stranger, accepted(result).notification_id) is None
    assert await reading.whole(database.pool, app.app_id, uuid4()) is None
    assert await reading.page(database.pool, stranger, size=10, before=reading.MAX_UUID, since=FIRST) == []
    assert await reading.find_by_event(database.pool, stranger, "e2") is None


async def test_notification_is_found_by_its_event_id(database: Database, app: App) -> None:
    [result] = await accept(database.pool, [item(app, "e1")])

    assert await reading.find_by_event(database.pool, app.app_id, "e1") == accepted(result).notification_id
    assert await reading.find_by_event(database.pool, app.app_id, "e2") is None


async def test_pages_follow_one_another_newest_first(database: Database, app: App) -> None:
    results = await accept(database.pool, [item(app, f"e{n}") for n in range(5)])
    newest_first = sorted((accepted(result).notification_id for result in results), reverse=True)

    first = await reading.page(database.pool, app.app_id, size=3, before=reading.MAX_UUID, since=FIRST)
    second = await reading.page(database.pool, app.app_id, size=3, before=first[-1].notification_id, since=FIRST)
    recent = await reading.page(database.pool, app.app_id, size=9, before=reading.MAX_UUID, since=newest_first[1])

    assert [row.notification_id for row in first + second] == newest_first
    assert [row.notification_id for row in recent] == newest_first[:2]


async def test_scheduled_notification_is_listed_at_its_due_time(database: Database, app: App) -> None:
    due = datetime.now(UTC) + timedelta(days=2)
    later, now = await accept(database.pool, [item(app, "later", deliver_at=due), item(app, "now")])

    rows = await reading.page(database.pool, app.app_id, size=9, before=reading.MAX_UUID, since=FIRST)

    assert [(row.notification_id, row.state) for row in rows] == [
        (accepted(later).notification_id, NotificationState.SCHEDULED),
        (accepted(now).notification_id, NotificationState.ACCEPTED),
    ]


async def test_page_keeps_to_a_category_or_a_recipient(database: Database, app: App) -> None:
    [notification], [id_] = await planned(database.pool, app)
    await planned(database.pool, app)
    recipient: UUID = await database.pool.fetchval("SELECT recipient_ref FROM ledger.delivery WHERE id = $1", id_)

    of_recipient = await reading.page(
        database.pool, app.app_id, size=9, before=reading.MAX_UUID, since=FIRST, recipient_ref=recipient
    )
    of_category = await reading.page(
        database.pool,
        app.app_id,
        size=9,
        before=reading.MAX_UUID,
        since=FIRST,
        category_id=app.categories["marketing"],
    )

    assert [row.notification_id for row in of_recipient] == [notification]
    assert of_category == []


async def test_mail_frame_is_read_by_its_digest(database: Database) -> None:
    await database.pool.execute("INSERT INTO ledger.frame (sha256, frame) VALUES ($1, $2)", b"d" * 32, b"frame")

    async with connection(database.pool) as db:
        assert await reading.frame(db, b"d" * 32) == b"frame"
        assert await reading.frame(db, b"e" * 32) is None


async def test_test_sends_are_marked_in_both_listings_and_when_shown(database: Database, app: App) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    items = [
        item(app, "e0"),
        replace(item(app, "e1"), test=True),
        replace(item(app, "e2", deliver_at=later), test=True),
    ]
    ids = [accepted(result).notification_id for result in await accept(database.pool, items)]

    listed = await reading.page(database.pool, app.app_id, size=10, before=reading.MAX_UUID, since=FIRST)
    shown = [await reading.whole(database.pool, app.app_id, id_) for id_ in ids]

    assert {row.event_id: row.test for row in listed} == {"e0": False, "e1": True, "e2": True}
    assert [whole.notification.test for whole in shown if whole] == [False, True, True]
