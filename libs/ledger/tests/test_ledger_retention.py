"""Retention: what is past its time goes, what something needs stays, and writers hardly notice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from clarion_kit.sealing import KeyWrapper
from clarion_ledger import admin
from clarion_ledger.accept import accept
from clarion_ledger.db import Pool, pool
from clarion_ledger.keys import KeyRing
from clarion_ledger.retention import EPOCH, IDEMPOTENCY, Expired, Retention, prunable, prune, strays
from clarion_testkit.plugin import App

from .ledger_samples import accepted, audited, item, planned

KEPT = Retention(bodies=timedelta(days=7), history=timedelta(days=90))
BODIES = ("notification_body", "delivery_body")
HISTORY = ("notification", "delivery", "attempt", "event")


@pytest_asyncio.fixture
async def own(own_url: str) -> AsyncIterator[Pool]:
    """A database whose partitions are this test's alone."""
    async with pool(own_url, size=6, application="test") as connections:
        yield connections


@pytest_asyncio.fixture
async def shop(own: Pool, kek: KeyWrapper) -> App:
    row = await admin.create_app(own, kek, "shop")
    rows = await own.fetch("SELECT name, category_id FROM ledger.category WHERE app_id = $1", row.app_id)
    return App(row.app_id, KeyRing(own, kek), {found["name"]: found["category_id"] for found in rows})


def day(ago: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=ago)


async def make(pool: Pool, *days_ago: int) -> None:
    for ago in days_ago:
        await pool.execute("SELECT ledger.ensure_partitions($1, $1)", day(ago))


def named(tables: tuple[str, ...], *days_ago: int) -> set[str]:
    return {f"{table}_{day(ago):%Y%m%d}" for table in tables for ago in days_ago}


async def expired(pool: Pool) -> dict[str, Expired]:
    """Partitions past their time but for those of event ids."""
    found = await prunable(pool, KEPT)
    return {one.partition: one for one in found if not one.partition.startswith("event_key")}


async def exists(pool: Pool, partition: str) -> bool:
    return bool(await pool.fetchval("SELECT to_regclass('ledger.' || $1::text) IS NOT NULL", partition))


async def id_of(pool: Pool, ago: int) -> UUID:
    """An id of that day."""
    noon = datetime.combine(day(ago), datetime.min.time(), UTC) + timedelta(hours=12)
    found: UUID = await pool.fetchval("SELECT ledger.uuid_floor($1)", noon)
    return found


async def test_bodies_and_history_are_past_their_time_at_their_own_age(own: Pool) -> None:
    await make(own, 6, 7, 8, 60, 89, 90, 91, 200)

    found = await expired(own)

    # A partition ends a day after it began, and is kept for so long from its end.
    assert set(found) == named(BODIES, 8, 60, 89, 90, 91, 200) | named(HISTORY, 91, 200)
    assert [one.ends for one in found.values()] == sorted(one.ends for one in found.values())
    assert {one.held_by for one in found.values()} == {None}
    [oldest] = {found[name].ends for name in named(HISTORY, 200)}
    assert oldest == datetime.combine(day(199), datetime.min.time(), UTC)


async def test_expired_partition_is_dropped_once(own: Pool) -> None:
    await make(own, 100)
    [partition] = named(("attempt",), 100)

    assert await prune(own, KEPT, partition)

    assert not await exists(own, partition)
    assert partition not in await expired(own)
    assert not await prune(own, KEPT, partition)


@pytest.mark.parametrize(
    "wanted", ["event_default", "app", "nothing", "attempt_20200101; DROP TABLE ledger.app", "young"]
)
async def test_nothing_but_an_expired_partition_can_be_dropped(own: Pool, wanted: str) -> None:
    await make(own, 89)
    [young] = named(("attempt",), 89)

    assert not await prune(own, KEPT, young if wanted == "young" else wanted)

    assert await exists(own, "app")
    assert await exists(own, "event_default")
    assert await exists(own, young)


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [
        ("delivery_work", "delivery_id", "delivery"),
        ("plan_work", "notification_id", "notification"),
    ],
)
async def test_partition_is_kept_for_what_is_in_flight_and_names_it(
    own: Pool, shop: App, table: str, column: str, kind: str
) -> None:
    await make(own, 120, 100, 95)
    await planned(own, shop)
    await accept(own, [item(shop, "waits")])
    old = await id_of(own, 100)
    await own.execute(f"UPDATE ledger.{table} SET {column} = $1", old)

    found = await expired(own)

    assert {name for name, one in found.items() if one.held_by is None} == named(BODIES + HISTORY, 120)
    kept = named(BODIES + HISTORY, 100, 95)
    assert {found[name].held_by for name in kept} == {f"{kind} {old}"}
    assert [await prune(own, KEPT, name) for name in kept] == [False] * len(kept)
    assert all([await prune(own, KEPT, name) for name in named(BODIES + HISTORY, 120)])
    await own.execute(f"DELETE FROM ledger.{table}")
    assert all([await prune(own, KEPT, name) for name in kept])


async def test_dead_letters_go_with_their_deliveries(own: Pool, shop: App) -> None:
    await make(own, 100)
    for id_ in (await id_of(own, 100), await id_of(own, 0)):
        await own.execute(
            """INSERT INTO ledger.dead_letter (delivery_id, notification_id, app_id, lane_id, channel, reason, attempts, last_code)
               VALUES ($1, $1, $2, 1, 2, 80, 3, '503')""",
            id_,
            shop.app_id,
        )
    [bodies], [deliveries] = named(("delivery_body",), 100), named(("delivery",), 100)

    assert await prune(own, KEPT, bodies)
    assert await own.fetchval("SELECT count(*) FROM ledger.dead_letter") == 2
    assert await prune(own, KEPT, deliveries)

    left = await own.fetch("SELECT delivery_id FROM ledger.dead_letter")
    assert [row["delivery_id"] for row in left] == [await id_of(own, 0)]


async def test_prune_gives_way_to_a_writer_that_takes_long(own: Pool, shop: App) -> None:
    await make(own, 100)
    [partition] = named(("event",), 100)
    async with own.acquire() as writer, writer.transaction():
        await writer.execute(
            "INSERT INTO ledger.event (notification_id, app_id, kind) VALUES (uuidv7(), $1, 9)", shop.app_id
        )

        assert not await prune(own, KEPT, partition)
        assert await exists(own, partition)

    assert await prune(own, KEPT, partition)


async def test_writers_go_on_while_partitions_are_dropped(own: Pool, shop: App) -> None:
    ago = range(91, 97)
    await make(own, *ago)
    wanted = sorted(named(HISTORY + BODIES, *ago))
    done = asyncio.Event()
    written: list[UUID] = []

    async def write() -> None:
        while not done.is_set():
            ids, _ = await planned(own, shop, 5)
            written.extend(ids)

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(write()) for _ in range(2)]
        while wanted:
            wanted = [name for name in wanted if not await prune(own, KEPT, name)]
        done.set()
    assert all(writer.done() for writer in writers)

    assert await expired(own) == {}
    assert await own.fetchval("SELECT count(*) FROM ledger.notification") == len(written) > 0
    assert await strays(own) == 0
    assert (await audited(own)).unaccounted == 0


async def test_event_ids_are_kept_for_thirty_days(own: Pool, shop: App) -> None:
    assert timedelta(days=30) == IDEMPOTENCY == 5 * EPOCH
    await make(own, *range(-60, 0, 6))
    [first] = await accept(own, [item(shop, "e1")])

    answers = []
    for _ in range(6):
        await own.execute("UPDATE ledger.event_epoch SET epoch = epoch + 1")
        for one in await prunable(own, Retention(bodies=timedelta(days=1), history=timedelta(days=1))):
            if one.partition.startswith("event_key"):
                await prune(own, KEPT, one.partition)
        kept = await own.fetchval("SELECT count(*) FROM ledger.event_key WHERE event_id = 'e1'")
        answers.append(kept)
        if kept:
            [again] = await accept(own, [item(shop, "e1")])
            assert accepted(again).notification_id == accepted(first).notification_id

    assert answers == [1, 1, 1, 1, 1, 0]


async def test_rows_without_a_day_of_their_own_are_counted(own: Pool, shop: App) -> None:
    await accept(own, [item(shop, "e1"), item(shop, "e2")])
    assert await strays(own) == 0

    await own.execute("UPDATE ledger.event SET at = '2020-01-01' WHERE kind = 2")

    assert await strays(own) == 2
