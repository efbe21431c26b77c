"""The feed and the webhooks' table on a real Postgres, with no more rights than the daemon's role has."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from clarion_kit.clock import SystemClock
from clarion_kit.rpc.caller import Caller, calling_as
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.names import FEED_LOOKED
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Receipt
from clarion_ledger import webhooks
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Connection, Pool, pool
from clarion_ledger.receipts import ReceiptFor, apply
from clarion_ledger.webhooks import Webhook
from clarion_testkit.plugin import App, Database
from clarion_tracker.adapters.event_feed import EventFeed
from clarion_tracker.adapters.webhook_table import WebhookTable
from clarion_tracker.changes import Change
from clarion_tracker.couriers import Counts, Couriers, Held
from clarion_tracker.feed import Feed
from clarion_tracker.positions import Position
from clarion_tracker.webhooks import Answer, Batch, Disabled, Hook, Lost, batch_of

from .test_tracker_couriers import FakeWorld
from .tracker_ledger_samples import claimed_sms, send, sms_lane

HOOK = Webhook("orders", "https://hooks.example.com/x")
DAY = timedelta(days=1)


@pytest.fixture
async def tracker_pool(database: Database) -> AsyncIterator[Pool]:
    async with pool(f"{database.url}?role=clarion_tracker", size=4, application="test") as connections:
        yield connections


@pytest.fixture
async def gateway_pool(database: Database) -> AsyncIterator[Pool]:
    async with pool(f"{database.url}?role=clarion_gateway", size=2, application="test") as connections:
        yield connections


@pytest.fixture
async def events(tracker_pool: Pool) -> EventFeed:
    config = ConfigCache(tracker_pool, with_lanes=True)
    await config.refresh()
    return EventFeed(tracker_pool, config)


async def happens(
    db: "asyncpg.Connection[asyncpg.Record] | Connection | Pool", app_id: int, count: int = 1
) -> list[UUID]:
    """Events of notifications that nobody knows, in one statement."""
    ids = [uuid4() for _ in range(count)]
    await db.executemany(
        "INSERT INTO ledger.event (notification_id, app_id, kind) VALUES ($1, $2, 2)", [(id_, app_id) for id_ in ids]
    )
    return ids


async def read(events: EventFeed, position: Position, app_id: int, *, size: int = 500) -> tuple[list[Change], Position]:
    found: list[Change] = []
    while True:
        page = await events.page(position, [app_id], events=size, most=size)
        found += page.changes
        position = page.position
        if not page.more:
            return found, position


async def test_transaction_that_commits_late_leaves_no_gap_and_no_duplicate(
    database: Database, events: EventFeed
) -> None:
    start = (await events.bounds()).now
    late = await asyncpg.connect(database.url)
    try:
        held = late.transaction()
        await held.start()
        before = await happens(late, 7)
        after = await happens(database.pool, 7)

        nothing, position = await read(events, start, 7)
        await held.commit()
        both, position = await read(events, position, 7)
        rest, _ = await read(events, position, 7)
    finally:
        await late.close()

    assert nothing == []
    assert [change.notification_id for change in both] == [*before, *after]
    assert rest == []


async def test_transaction_that_is_rolled_back_holds_up_nothing(database: Database, events: EventFeed) -> None:
    start = (await events.bounds()).now
    given_up = await asyncpg.connect(database.url)
    try:
        held = given_up.transaction()
        await held.start()
        await happens(given_up, 7)
        after = await happens(database.pool, 7)
        await held.rollback()
    finally:
        await given_up.close()

    found, _ = await read(events, start, 7)

    assert [change.notification_id for change in found] == after


async def test_many_writers_that_end_in_any_order_are_read_whole_while_they_write(
    database: Database, events: EventFeed
) -> None:
    start = (await events.bounds()).now
    done = asyncio.Event()
    written: list[UUID] = []

    async def write(number: int) -> None:
        for _ in range(10):
            async with database.pool.acquire() as db, db.transaction():
                ids = await happens(db, 7, 1 + number % 3)
                await db.execute("SELECT pg_sleep($1)", 0.001 * (number * 7 % 5))
            written.extend(ids)

    async def follow() -> list[Change]:
        found: list[Change] = []
        position, last = start, False
        while True:
            more, position = await read(events, position, 7, size=5)
            found += more
            if last:
                return found
            last = done.is_set()

    reading = asyncio.create_task(follow())
    await asyncio.gather(*(write(number) for number in range(5)))
    done.set()
    found = await reading

    assert sorted(change.notification_id for change in found) == sorted(written)
    assert len({change.change_id for change in found}) == len(found)
    assert [change.place for change in found] == sorted(change.place for change in found)


async def test_page_looks_at_so_many_events_and_goes_on_where_none_was_the_apps(
    database: Database, events: EventFeed
) -> None:
    start = (await events.bounds()).now
    await happens(database.pool, 8, 25)
    mine = await happens(database.pool, 7, 1)

    first = await events.page(start, [7], events=10, most=10)
    found, _ = await read(events, first.position, 7, size=10)

    assert (first.changes, first.more) == ([], True)
    assert [change.notification_id for change in found] == mine


async def test_change_tells_its_delivery_and_what_a_receipt_raised_it_to(
    database: Database, app: App, events: EventFeed, tracker_pool: Pool
) -> None:
    start = (await events.bounds()).now
    lane_id = await sms_lane(database.pool, app)
    sms = await claimed_sms(database.pool, app, lane_id)
    await send(database.pool, sms, "m1")
    await apply(tracker_pool, [ReceiptFor(sms.id, Receipt.DELIVERED, "DELIVRD")])
    config = ConfigCache(tracker_pool, with_lanes=True)
    await config.refresh()

    found, _ = await read(EventFeed(tracker_pool, config), start, app.app_id)

    sent, delivered = (
        next(one for one in found if one.kind is kind) for kind in (EventKind.TERMINAL, EventKind.RECEIPT)
    )
    for one in (sent, delivered):
        assert (one.delivery_id, one.channel, one.state) == (sms.id, Channel.SMS, DeliveryState.SENT)
        assert one.category == "transactional"
        assert one.event_id
        assert one.provider == config.snapshot.lanes[lane_id].name
    assert (sent.receipt, delivered.receipt, delivered.code) == (None, Receipt.DELIVERED, "DELIVRD")
    accepted = next(one for one in found if one.kind is EventKind.ACCEPTED)
    assert (accepted.delivery_id, accepted.channel, accepted.event_id) == (None, None, sent.event_id)


async def test_oldest_place_follows_the_pruned_partitions(database: Database, events: EventFeed) -> None:
    before = (await events.bounds()).oldest
    oldest: str = await database.pool.fetchval(
        """SELECT min(c.relname) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'ledger.event'::regclass AND c.relname ~ '_[0-9]{8}$'"""
    )

    await database.pool.execute(f"DROP TABLE ledger.{oldest}")

    assert (await events.bounds()).oldest == before + DAY


# ---------------------------------------------------------------- webhooks


async def put(gateway_pool: Pool, app: App, wanted: Webhook = HOOK) -> bytes | None:
    with calling_as(Caller("client", app.app_id, "key")):
        _, _, secret = await webhooks.put(gateway_pool, app.keys, app.app_id, wanted)
    return secret


async def claimed(table: WebhookTable) -> Hook:
    [hook] = await table.claim(10)
    return hook


def held(hook: Hook) -> Held:
    return Held(hook.webhook_id, hook.lease_gen, hook.revision, len(hook.secrets) > 1, hook.position)


def batch(hook: Hook) -> Batch:
    end = Position(hook.position.xid + 5, 1, hook.position.at)
    return batch_of(hook, [], end)


async def test_one_of_two_trackers_holds_a_webhook_and_the_other_takes_over(
    database: Database, app: App, gateway_pool: Pool, tracker_pool: Pool
) -> None:
    secret = await put(gateway_pool, app)
    one, other = WebhookTable(tracker_pool, app.keys), WebhookTable(tracker_pool, app.keys)

    hook = await claimed(one)
    assert await other.claim(10) == []
    assert (hook.app, hook.name, hook.url, hook.secrets) == ("shop", "orders", HOOK.url, (secret,))
    assert await one.keep([held(hook)]) == {hook.webhook_id}
    await database.pool.execute("UPDATE ledger.webhook_progress SET lease_until = now()")
    heir = await claimed(other)

    assert heir.lease_gen == hook.lease_gen + 1
    assert await one.keep([held(hook)]) == set()
    assert not await one.taken(hook)
    assert not await one.failed(hook, batch(hook), Answer(500), timedelta(0))
    assert await other.taken(heir)


async def test_place_lease_and_next_try_outlive_their_tracker(
    database: Database, app: App, gateway_pool: Pool, tracker_pool: Pool
) -> None:
    await put(gateway_pool, app)
    table = WebhookTable(tracker_pool, app.keys)
    hook = await claimed(table)
    moved = Held(
        hook.webhook_id, hook.lease_gen, hook.revision, False, Position(hook.position.xid + 3, 9, hook.position.at)
    )
    await table.keep([moved])
    await table.failed(hook, batch(hook), Answer(503), timedelta(minutes=5))
    await table.release([moved])

    heir = await claimed(WebhookTable(tracker_pool, app.keys))

    assert (heir.position, heir.batch_end) == (moved.position, batch(hook).end)
    assert timedelta(minutes=4) < heir.due_in <= timedelta(minutes=5)


@pytest.mark.parametrize("change", ["put", "off", "rotate", "delete", "app"])
async def test_changed_webhook_is_let_go_and_read_anew(
    database: Database, app: App, gateway_pool: Pool, tracker_pool: Pool, change: str
) -> None:
    await put(gateway_pool, app)
    table = WebhookTable(tracker_pool, app.keys)
    hook = await claimed(table)
    with calling_as(Caller("client", app.app_id, "key")):
        if change == "put":
            await put(gateway_pool, app, Webhook("orders", "https://other.example.com/"))
        elif change == "off":
            await put(gateway_pool, app, Webhook("orders", HOOK.url, enabled=False))
        elif change == "rotate":
            await webhooks.rotate(gateway_pool, app.keys, app.app_id, "orders", timedelta(days=1))
        elif change == "delete":
            assert await webhooks.delete(gateway_pool, app.app_id, "orders")
        else:
            await database.pool.execute("UPDATE ledger.app SET enabled = false")

    assert await table.keep([held(hook)]) == set()
    await table.release([held(hook)])
    again = await table.claim(10)

    assert len(again) == (change in ("put", "rotate"))
    if change == "put":
        assert again[0].url == "https://other.example.com/"
    if change == "rotate":
        assert again[0].secrets[1:] == hook.secrets
        assert await table.keep([held(again[0])]) == {hook.webhook_id}
        await database.pool.execute("UPDATE ledger.webhook SET former_ends_at = now()")
        assert await table.keep([held(again[0])]) == set()


async def test_webhook_that_was_switched_off_is_held_by_nobody_until_it_is_put_again(
    app: App, gateway_pool: Pool, tracker_pool: Pool
) -> None:
    await put(gateway_pool, app)
    table = WebhookTable(tracker_pool, app.keys)
    hook = await claimed(table)

    assert await table.disable(hook, batch(hook), Answer(410), Disabled.GONE)
    assert await table.keep([held(hook)]) == set()
    await table.release([held(hook)])
    assert await table.claim(10) == []
    assert await table.disabled() == {"gone": 1}
    [(_, status)] = await webhooks.every(gateway_pool, app.keys, app.app_id)
    assert (status.disabled_reason, status.last_error) == ("gone", "HTTP 410")
    assert await put(gateway_pool, app) is None
    assert (await claimed(table)).tries == 0


async def test_gap_is_kept_until_it_was_told(app: App, gateway_pool: Pool, tracker_pool: Pool) -> None:
    await put(gateway_pool, app)
    table = WebhookTable(tracker_pool, app.keys)
    hook = await claimed(table)
    lost = Lost(hook.position.at - DAY, hook.position.at)

    assert await table.lost(hook, lost)
    await table.release([held(hook)])
    heir = await claimed(table)
    assert heir.lost == lost
    await table.taken(heir)
    await table.release([held(heir)])

    assert (await claimed(table)).lost is None
    [(_, status)] = await webhooks.every(gateway_pool, app.keys, app.app_id)
    assert status.gaps == 1


async def test_latest_failures_alone_are_kept(app: App, gateway_pool: Pool, tracker_pool: Pool) -> None:
    await put(gateway_pool, app)
    table = WebhookTable(tracker_pool, app.keys)
    hook = await claimed(table)

    for status in range(400, 400 + webhooks.KEPT_FAILURES + 5):
        await table.failed(hook, batch(hook), Answer(status), timedelta(0))
    found = await webhooks.failures(gateway_pool, app.app_id, "orders")

    assert found is not None
    assert [failure.status for failure in found] == list(range(504, 404, -1))


async def test_test_is_taken_by_one_tracker_and_its_answer_found(
    app: App, gateway_pool: Pool, tracker_pool: Pool
) -> None:
    await put(gateway_pool, app, Webhook("orders", HOOK.url, enabled=False))
    one, other = WebhookTable(tracker_pool, app.keys), WebhookTable(tracker_pool, app.keys)
    asking = asyncio.create_task(webhooks.test(gateway_pool, app.app_id, "orders", timedelta(seconds=5)))
    while not (samples := [*await one.samples(10), *await other.samples(10)]):  # noqa: ASYNC110  # as the daemon looks
        await asyncio.sleep(0.01)

    [sample] = samples
    await one.tested(sample, Answer(404), timedelta(milliseconds=30))

    assert await asking == webhooks.Tested(404, "HTTP 404", timedelta(milliseconds=30))
    assert await webhooks.test(gateway_pool, app.app_id, "nobody", timedelta(seconds=1)) is None


async def test_two_trackers_post_each_change_once_between_them(
    database: Database, app: App, gateway_pool: Pool, tracker_pool: Pool, events: EventFeed
) -> None:
    """A hand-over amid the stream, as a stop makes it."""
    await put(gateway_pool, app)
    world = FakeWorld()
    written: list[UUID] = []

    def tracker() -> tuple[Feed, Couriers]:
        feed = Feed(events, Metrics().gauge(FEED_LOOKED))
        return feed, Couriers(
            WebhookTable(tracker_pool, app.keys), feed, world.knock, SystemClock(), Counts.of(Metrics())
        )

    for _ in range(2):
        feed, couriers = tracker()
        async with couriers.running():
            await couriers.step()
            written += await happens(database.pool, app.app_id, 5)
            async with asyncio.timeout(5):
                while len(world.ids(HOOK.url)) < len(written):
                    await feed.poll()
                    await asyncio.sleep(0.02)  # the poll is the daemon's clock
            await couriers.step()

    ids = world.ids(HOOK.url)
    assert len(ids) == len(set(ids)) == 10
