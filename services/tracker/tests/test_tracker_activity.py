"""Opens, clicks and app events in a real Postgres, with no more rights than the daemon's role has."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg
import pytest

from clarion_kit.links import ClickLink, OpenLink
from clarion_kit.vocabulary import Channel, Receipt
from clarion_ledger.db import Pool, pool
from clarion_testkit.plugin import App, Database
from clarion_tracker.activity import Activity, AppEvent, Kind
from clarion_tracker.activity_queue import HOLD, ActivityQueue
from clarion_tracker.adapters import activity_table
from clarion_tracker.adapters.activity_table import MAX_EVENTS_OF_DELIVERY, ActivityTable
from clarion_tracker.adapters.inbound_table import InboundTable
from clarion_tracker.adapters.ledger import Ledger
from clarion_tracker.adapters.segments import SegmentTable
from clarion_tracker.receipts import ReceiptJob

from .tracker_ledger_samples import Sms, claimed_sms, receipt_of, send
from .tracker_samples import FakeAddresses, HandClock, tracked

KEPT = timedelta(days=35)


@pytest.fixture
async def tracker_pool(database: Database) -> AsyncIterator[Pool]:
    async with pool(f"{database.url}?role=clarion_tracker", size=4, application="test") as connections:
        yield connections


@pytest.fixture
def table(tracker_pool: Pool, app: App) -> ActivityTable:
    return ActivityTable(tracker_pool, app.keys)


@pytest.fixture
def job(tracker_pool: Pool, app: App) -> ReceiptJob:
    counter, _ = tracked()
    readers = {activity_table.STORED_AS: activity_table.read}
    inbound = InboundTable(tracker_pool, app.keys, list(readers))
    return ReceiptJob(inbound, Ledger(tracker_pool), SegmentTable(tracker_pool), FakeAddresses(), readers, counter)


@pytest.fixture
async def sms(database: Database, app: App) -> Sms:
    """A delivery that was sent; its channel does not matter here."""
    made = await claimed_sms(database.pool, app)
    await send(database.pool, made, "1")
    return made


def link(app: App, delivery_id: UUID, channel: Channel = Channel.EMAIL) -> OpenLink:
    return OpenLink(app.app_id, delivery_id, app.categories["transactional"], 4, "KR", channel)


def told(app: App, sms: Sms, kind: Kind = Kind.RECEIVED, id_: str = "e1") -> AppEvent:
    return AppEvent(link(app, sms.id, Channel.IOS), kind, id_)


async def rows(database: Database) -> list[asyncpg.Record]:
    return await database.pool.fetch("SELECT * FROM tracking.activity ORDER BY delivery_id, kind, machine, mark")


async def test_what_was_done_is_one_row_with_all_that_its_link_says(
    database: Database, app: App, sms: Sms, table: ActivityTable
) -> None:
    clicked = Activity(link(app, sms.id), Kind.CLICKED, False, "3")

    await table.note({clicked: 1, Activity(link(app, sms.id), Kind.CLICKED, True, "3"): 7})
    await table.note({clicked: 2})

    person, machine = await rows(database)
    assert (person["times"], person["machine"], machine["times"], machine["machine"]) == (3, False, 7, True)
    assert (person["app_id"], person["category_id"]) == (app.app_id, app.categories["transactional"])
    assert (person["template_version"], person["channel"], person["country"]) == (4, Channel.EMAIL, "KR")
    assert (person["kind"], person["mark"], person["late"]) == (Kind.CLICKED, "3", False)
    assert person["last_at"] > person["first_at"]
    assert machine["seq"] != person["seq"]


async def test_repetition_does_not_move_a_row_in_the_order_of_readers(
    database: Database, app: App, sms: Sms, table: ActivityTable
) -> None:
    opened = Activity(link(app, sms.id), Kind.OPENED)
    await table.note({opened: 1})
    [before] = await rows(database)

    await table.note({opened: 1})

    [after] = await rows(database)
    assert (after["xid"], after["seq"]) == (before["xid"], before["seq"])


async def test_open_of_a_delivery_that_was_pruned_is_kept_as_late(
    database: Database, app: App, table: ActivityTable
) -> None:
    old = UUID(int=(int((datetime.now(UTC) - timedelta(days=200)).timestamp() * 1000) << 80) | uuid4().int >> 48)

    await table.note({Activity(link(app, old), Kind.OPENED): 1})

    [row] = await rows(database)
    assert row["late"]


async def test_same_thing_noted_by_two_trackers_at_once_is_one_row(
    database: Database, app: App, sms: Sms, table: ActivityTable
) -> None:
    ids = [sms.id, *(uuid4() for _ in range(20))]
    forth = {Activity(link(app, id_), Kind.OPENED): 1 for id_ in ids}
    back = dict(reversed(list(forth.items())))

    await asyncio.gather(*(table.note(one) for one in (forth, back, forth, back)))

    assert {row["times"] for row in await rows(database)} == {4}


async def test_mail_is_too_new_to_be_read_until_a_second_after_its_hand_over(
    database: Database, app: App, sms: Sms, table: ActivityTable
) -> None:
    flying = await claimed_sms(database.pool, app)
    await database.pool.execute(
        "UPDATE ledger.delivery SET terminal_at = now() - interval '10 seconds' WHERE id = $1", sms.id
    )

    asked = {sms.id: timedelta(seconds=9.5), flying.id: timedelta(seconds=60), uuid4(): timedelta(0)}
    assert await table.too_soon(asked) == {sms.id, flying.id}
    assert await table.too_soon({sms.id: timedelta(seconds=8)}) == set()


async def test_app_event_is_committed_once_and_raises_its_receipt(
    database: Database, app: App, sms: Sms, table: ActivityTable, job: ReceiptJob
) -> None:
    assert await table.store([told(app, sms), told(app, sms)]) == {(sms.id, Kind.RECEIVED, "e1")}
    again = [told(app, sms), told(app, sms, Kind.PUSH_OPENED, "e2")]
    assert await table.store(again) == {(sms.id, Kind.PUSH_OPENED, "e2")}
    assert await receipt_of(database.pool, sms) == 0

    await job.run(lambda: False)

    assert await receipt_of(database.pool, sms) == Receipt.SEEN
    assert await database.pool.fetchval("SELECT count(*) FROM tracking.inbound WHERE applied_at IS NULL") == 0
    assert [row["kind"] for row in await rows(database)] == [Kind.RECEIVED, Kind.PUSH_OPENED]


async def test_app_event_that_overtook_the_record_of_its_send_waits_for_it(
    database: Database, app: App, table: ActivityTable, job: ReceiptJob
) -> None:
    flying = await claimed_sms(database.pool, app)
    await table.store([told(app, flying)])
    await job.run(lambda: False)
    assert await receipt_of(database.pool, flying) == 0

    await send(database.pool, flying, "1")
    await database.pool.execute("UPDATE tracking.inbound SET next_at = now() - interval '1 second'")
    await job.run(lambda: False)

    assert await receipt_of(database.pool, flying) == Receipt.DELIVERED


async def redriven(database: Database, dead: Sms, *instead: UUID) -> None:
    """`dead` and all but the last of `instead` died and were redriven, one as the next."""
    await database.pool.executemany(
        "INSERT INTO ledger.dead_letter (delivery_id, notification_id, redriven_as, app_id, channel, reason, attempts, last_code) "
        "SELECT $1, notification_id, $2, app_id, channel, 80, 3, '' FROM ledger.delivery WHERE id = $3",
        list(zip([dead.id, *instead[:-1]], instead, [dead.id] * len(instead), strict=True)),
    )


async def test_what_is_told_of_a_redriven_delivery_counts_for_the_one_that_was_sent(
    database: Database, app: App, tracker_pool: Pool, sms: Sms, table: ActivityTable, job: ReceiptJob
) -> None:
    dead = await claimed_sms(database.pool, app)
    await redriven(database, dead, uuid4(), sms.id)

    assert await table.replaced({dead.id, uuid4()}) == {dead.id: sms.id}
    assert await table.store([told(app, dead), told(app, dead)]) == {(dead.id, Kind.RECEIVED, "e1")}
    assert await table.store([told(app, dead)]) == set()
    await job.run(lambda: False)

    assert await receipt_of(database.pool, sms) == Receipt.DELIVERED
    assert await receipt_of(database.pool, dead) == 0
    assert [row["delivery_id"] for row in await rows(database)] == [sms.id]


async def test_letter_that_was_not_redriven_stands_for_itself(
    database: Database, app: App, sms: Sms, table: ActivityTable
) -> None:
    await database.pool.execute(
        "INSERT INTO ledger.dead_letter (delivery_id, notification_id, app_id, channel, reason, attempts, last_code) "
        "SELECT id, notification_id, app_id, channel, 80, 3, '' FROM ledger.delivery WHERE id = $1",
        sms.id,
    )

    assert await table.replaced({sms.id}) == {}
    assert await table.replaced(set()) == {}


async def test_conversion_is_kept_with_its_amount_and_raises_no_receipt(
    database: Database, app: App, sms: Sms, table: ActivityTable
) -> None:
    event = AppEvent(link(app, sms.id, Channel.IOS), Kind.CONVERTED, "e1", "purchase", Decimal("12.500001"), "EUR")

    assert await table.store([event]) == {event.identity}

    [row] = await rows(database)
    assert (row["name"], row["amount"], row["currency"]) == ("purchase", Decimal("12.500001"), "EUR")
    assert await database.pool.fetchval("SELECT count(*) FROM tracking.inbound") == 0


async def test_one_push_tells_only_so_much(database: Database, app: App, sms: Sms, table: ActivityTable) -> None:
    many = [told(app, sms, Kind.CLOSED, f"e{n:03}") for n in range(MAX_EVENTS_OF_DELIVERY + 20)]
    assert len(await table.store(many[:150])) == 150

    # Those that are there already stand first and take no place of the others.
    assert len(await table.store(many[100:])) == MAX_EVENTS_OF_DELIVERY - 150
    assert await table.store(many) == set()
    assert len(await rows(database)) == MAX_EVENTS_OF_DELIVERY


async def test_nothing_of_a_call_is_kept_where_it_cannot_all_be(
    database: Database, app: App, sms: Sms, table: ActivityTable
) -> None:
    await database.pool.execute("ALTER TABLE tracking.inbound ADD CONSTRAINT full_up CHECK (kind <> 'app.events')")

    with pytest.raises(asyncpg.CheckViolationError):
        await table.store([told(app, sms)])

    assert await rows(database) == []


async def test_days_ahead_have_partitions_and_old_days_are_dropped(
    database: Database, app: App, sms: Sms, table: ActivityTable
) -> None:
    await table.note({Activity(link(app, sms.id), Kind.OPENED): 1})
    await database.pool.execute(
        "CREATE TABLE tracking.activity_20250101 PARTITION OF tracking.activity FOR VALUES FROM "
        "(ledger.uuid_floor('2025-01-01Z')) TO (ledger.uuid_floor('2025-01-02Z'))"
    )

    await table.keep(KEPT)

    names = {
        row["relname"]
        for row in await database.pool.fetch(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'tracking.activity'::regclass"
        )
    }
    today = datetime.now(UTC).date()
    assert {f"activity_{today + timedelta(days=n):%Y%m%d}" for n in range(-1, 8)} <= names
    assert "activity_20250101" not in names
    assert len(await rows(database)) == 1


async def test_old_strays_are_deleted_in_time(database: Database, app: App, table: ActivityTable) -> None:
    await table.note({Activity(link(app, UUID(int=n)), Kind.OPENED): 1 for n in range(1, 4)})
    await database.pool.execute(
        "UPDATE tracking.activity SET last_at = now() - interval '36 days' WHERE delivery_id <> $1", UUID(int=1)
    )

    await table.keep(KEPT)

    assert [row["delivery_id"] for row in await rows(database)] == [UUID(int=1)]


async def test_one_tracker_at_a_time_keeps_the_days(database: Database, app: App, tracker_pool: Pool) -> None:
    one, other = ActivityTable(tracker_pool, app.keys), ActivityTable(tracker_pool, app.keys)
    await one.keep(KEPT)
    await database.pool.execute("DROP TABLE tracking.activity_default")

    await other.keep(KEPT)
    assert await database.pool.fetchval("SELECT to_regclass('tracking.activity_default')") is None

    await one.keep(KEPT)
    assert await database.pool.fetchval("SELECT to_regclass('tracking.activity_default')") is not None


async def test_clicks_of_people_raise_receipts_and_those_of_machines_do_not(
    database: Database, app: App, tracker_pool: Pool, table: ActivityTable
) -> None:
    person, machine = [await claimed_sms(database.pool, app) for _ in range(2)]
    for one in (person, machine):
        await send(database.pool, one, "1")
    await database.pool.execute("UPDATE ledger.delivery SET terminal_at = now() - interval '1 minute'")
    counter, _ = tracked()
    clock = HandClock()
    queue = ActivityQueue(Ledger(tracker_pool), table, counter, clock, size=100)

    queue.offer_click(ClickLink(link(app, person.id), 0, "https://a.example/"), machine=False)
    for number in range(3):
        queue.offer_click(ClickLink(link(app, machine.id), number, f"https://a.example/{number}"), machine=False)
    clock.seconds += HOLD.total_seconds()
    await queue.write()

    assert await receipt_of(database.pool, person) == Receipt.CLICKED
    assert await receipt_of(database.pool, machine) == 0
    assert sorted((row["machine"], row["mark"]) for row in await rows(database)) == [
        (False, "0"),
        (True, "0"),
        (True, "1"),
        (True, "2"),
    ]
