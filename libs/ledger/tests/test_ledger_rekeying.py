"""Keys are rotated while values are written and read; whatever dies in the middle, everything stays readable."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio

from clarion_kit import crash
from clarion_kit.sealing import Unsealable
from clarion_ledger import admin, rekeying
from clarion_ledger.accept import accept
from clarion_ledger.db import Pool, pool
from clarion_ledger.keks import add_kek, drop_kek, load_wrapper, new_wrapper_file
from clarion_ledger.keys import KeyAway, KeyRing
from clarion_ledger.sealed_columns import FLEETING, LASTING, SealedColumn

from .conftest import Databases
from .ledger_samples import item

NOW = timedelta(0)
APPS = 3
ROWS = 5
"""Of each table, more than two chunks of the rotation's child."""
CHILD = "libs.ledger.tests.rotation_child"
LATER = datetime.now(UTC) + timedelta(days=3)

NOT_SEALED = {
    "ledger.app_key.former_hash",
    "ledger.app_key.secret_hash",
    "ledger.audit_head.base_hash",
    "ledger.audit_head.hash",
    "ledger.audit_log.hash",
    "ledger.broadcast.payload_hash",
    "ledger.category.definition",
    "ledger.data_key.wrapped",
    "ledger.delivery.gates",
    "ledger.event_key.payload_hash",
    "ledger.frame.frame",
    "ledger.frame.sha256",
    "ledger.lane.limits",
    "ledger.route.routes",
    "preference.address.blind_index",
    "preference.recipient.wishes",
    "preference.suppression.blind_index",
    "preference.wish_change.after",
    "preference.wish_change.before",
    "template.partial.document",
    "template.template_version.document",
    "template.template_version.sha256",
    "template.template_version.source",
    "tracking.inbound.call_digest",
}


@dataclass(frozen=True, slots=True)
class Shop:
    """An app with a category."""

    app_id: int
    categories: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class World:
    """Some apps with values in every sealed column."""

    url: str
    pool: Pool
    kek_file: Path
    shops: list[Shop]

    def keys(self) -> KeyRing:
        """As a process that has just started."""
        return KeyRing(self.pool, load_wrapper(self.kek_file), refresh=NOW)


def told(what: str, count: int) -> None:
    """Nobody listens."""


@pytest_asyncio.fixture
async def world(postgres_databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    kek_file = tmp_path / "kek"
    new_wrapper_file(kek_file)
    wrapper = load_wrapper(kek_file)
    async with postgres_databases.fresh() as url, pool(url, size=4, application="rekeying") as connections:
        shops = []
        for number in range(APPS):
            row = await admin.create_app(connections, wrapper, f"shop{number}")
            found = await connections.fetch(
                "SELECT name, category_id FROM ledger.category WHERE app_id = $1", row.app_id
            )
            shops.append(Shop(row.app_id, {one["name"]: one["category_id"] for one in found}))
        made = World(url, connections, kek_file, shops)
        for shop in shops:
            await fill(made, shop)
        yield made


async def fill(world: World, shop: Shop) -> None:
    sealer = await world.keys().sealer(shop.app_id)
    app_id = shop.app_id
    async with world.pool.acquire() as db:
        for number in range(ROWS):
            id_ = UUID(int=app_id * 1000 + number)
            name = f"n{number}"
            address = sealer.seal("address", id_.bytes, "address", secret(app_id, number))
            facts = sealer.seal("address", id_.bytes, "facts", secret(app_id, number))
            note = sealer.seal("suppression", id_.bytes, "note", secret(app_id, number))
            attributes = sealer.seal("recipient", id_.bytes, "attributes", secret(app_id, number))
            body = sealer.seal("recurring", name.encode(), "body", secret(app_id, number))
            payload = sealer.seal("broadcast", name.encode(), "payload", secret(app_id, number))
            settings = sealer.seal("lane", name.encode(), "settings", secret(app_id, number))
            await db.execute(
                """INSERT INTO preference.address (registered_at, address_id, recipient_ref, app_id, channel, status, hint,
                       blind_index, sealed, facts) VALUES (now(), $1, $1, $2, 4, 1, '', '', $3, $4)""",
                id_,
                app_id,
                address,
                facts,
            )
            await db.execute(
                """INSERT INTO preference.suppression (since, decided_at, address_id, app_id, channel, reason, source, listed,
                       blind_index, sealed, note) VALUES (now(), now(), $1, $2, 4, 1, 1, true, '', $3, $4)""",
                id_,
                app_id,
                address,
                note,
            )
            await db.execute(
                """INSERT INTO preference.recipient (app_id, recipient_ref, recipient_id, locale, time_zone, country, attributes)
                   VALUES ($1, $2, $3, '', '', '', $4)""",
                app_id,
                id_,
                name,
                attributes,
            )
            await db.execute(
                "INSERT INTO ledger.lane (app_id, name, kind, channel, settings) VALUES ($1, $2, 'fcm', 2, $3)",
                app_id,
                name,
                settings,
            )
            await db.execute(
                """INSERT INTO ledger.recurring (start_at, app_id, category_id, broadcasts, name, cron, time_zone, body)
                   VALUES (now(), $1, 1, false, $2, '', '', $3)""",
                app_id,
                name,
                body,
            )
            await db.execute(
                """INSERT INTO ledger.broadcast (deliver_at, expire_at, next_at, broadcast_id, app_id, category_id, pace, priority,
                       event_id, payload_hash, payload) VALUES (now(), now(), now(), $1, $2, 1, 0, 2, $3, '', $4)""",
                id_,
                app_id,
                name,
                payload,
            )
            parts = [
                sealer.seal("webhook", name.encode(), column, secret(app_id, number))
                for column in ("url", "secret", "former_secret")
            ]
            await db.execute(
                """INSERT INTO ledger.webhook (app_id, enabled, kinds, channels, categories, name, url, secret, former_secret)
                   VALUES ($1, true, '{}', '{}', '{}', $2, $3, $4, $5)""",
                app_id,
                name,
                *parts,
            )
    await accept(
        world.pool,
        [
            item(
                shop,
                f"e{number}",
                payload=sealer.seal("notification", b"e%d" % number, "payload", secret(app_id, number)),
                deliver_at=LATER,
            )
            for number in range(ROWS)
        ],
    )


def secret(app_id: int, number: int) -> bytes:
    return b"secret %d of %d" % (number, app_id)


async def opened(world: World, column: SealedColumn, app_id: int) -> list[bytes]:
    """Every value of an app in a column, by a process that has just started. Raises Unsealable."""
    sealer = await world.keys().sealer(app_id)
    rows = await world.pool.fetch(
        f"SELECT *, {column.column} AS sealed_value FROM {column.table} WHERE app_id = $1", app_id
    )
    return [sealer.open(column.place[0], column.owner(row), column.place[1], row["sealed_value"]) for row in rows]


async def all_is_readable(world: World) -> bool:
    for shop in world.shops:
        expected = {secret(shop.app_id, number) for number in range(ROWS)}
        for column in LASTING:
            if set(await opened(world, column, shop.app_id)) != expected:
                return False
    return True


async def keys_used(world: World, shop: Shop) -> set[int]:
    counted = await rekeying.uses(world.pool)
    return {key_id for app_id, key_id in counted if app_id == shop.app_id}


async def ended_at(world: World, point: str, step: str, shop: Shop) -> int:
    """The status of a rotation in a process that ends at a crash point."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        CHILD,
        world.url,
        str(world.kek_file),
        step,
        str(shop.app_id),
        env={**os.environ, crash.VARIABLE: point},
    )
    return await asyncio.wait_for(child.wait(), 30)


async def test_new_data_key_seals_everything_that_lives_long(world: World) -> None:
    shop, *others = world.shops

    done = await rekeying.rotate(
        world.pool, load_wrapper(world.kek_file), shop.app_id, told, announced=NOW, settled=NOW, chunk=2
    )

    assert (done.key_id, done.left, done.unreadable) == (2, 0, 0)
    assert done.sealed == ROWS * len(LASTING)
    assert await all_is_readable(world)
    assert await keys_used(world, shop) == {2}
    assert [await keys_used(world, other) for other in others] == [{1}, {1}]


@pytest.mark.parametrize("point", ["keys.announced", "keys.sealed"])
async def test_rotation_that_died_goes_on_with_its_key(world: World, point: str) -> None:
    shop = world.shops[0]

    assert await ended_at(world, point, "seal", shop) == crash.EXIT_STATUS
    assert await all_is_readable(world)
    done = await rekeying.rotate(
        world.pool, load_wrapper(world.kek_file), shop.app_id, told, announced=NOW, settled=NOW, chunk=2
    )

    assert (done.key_id, done.left) == (2, 0)
    assert await all_is_readable(world)
    assert await keys_used(world, shop) == {2}


async def test_second_rotation_makes_another_key(world: World) -> None:
    shop, wrapper = world.shops[0], load_wrapper(world.kek_file)

    numbers = [
        (await rekeying.rotate(world.pool, wrapper, shop.app_id, told, announced=NOW, settled=NOW)).key_id
        for _ in range(2)
    ]

    assert numbers == [2, 3]


async def test_write_of_a_client_wins_over_the_rotation(world: World) -> None:
    shop = world.shops[0]
    sealer = await world.keys().sealer(shop.app_id)
    id_ = UUID(int=shop.app_id * 1000)
    written = sealer.seal("address", id_.bytes, "address", b"newer")

    async def write(what: str, count: int) -> None:
        await world.pool.execute("UPDATE preference.address SET sealed = $1 WHERE address_id = $2", written, id_)

    writes: list[asyncio.Task[None]] = []
    await rekeying.rotate(
        world.pool,
        load_wrapper(world.kek_file),
        shop.app_id,
        lambda what, count: writes.append(asyncio.ensure_future(write(what, count))),
        announced=NOW,
        settled=NOW,
        chunk=2,
    )
    await asyncio.gather(*writes)
    await rekeying.rotate(world.pool, load_wrapper(world.kek_file), shop.app_id, told, announced=NOW, settled=NOW)

    stored = await world.pool.fetchval("SELECT sealed FROM preference.address WHERE address_id = $1", id_)
    assert (await world.keys().sealer(shop.app_id)).open("address", id_.bytes, "address", stored) == b"newer"


async def test_value_that_no_key_opens_is_left_and_told(world: World) -> None:
    shop = world.shops[0]
    damaged = (await world.keys().sealer(shop.app_id)).seal("other", b"place", "column", b"hello")
    await world.pool.execute(
        "UPDATE ledger.lane SET settings = $1 WHERE app_id = $2 AND name = 'n0'", damaged, shop.app_id
    )

    done = await rekeying.rotate(
        world.pool, load_wrapper(world.kek_file), shop.app_id, told, announced=NOW, settled=NOW
    )

    again = await rekeying.rotate(
        world.pool, load_wrapper(world.kek_file), shop.app_id, told, announced=NOW, settled=NOW
    )

    assert (done.key_id, done.left, done.unreadable) == (2, 0, 1)
    assert (again.key_id, again.left, again.unreadable) == (3, 0, 1)
    stored = await world.pool.fetchval(
        "SELECT settings FROM ledger.lane WHERE app_id = $1 AND name = 'n0'", shop.app_id
    )
    assert stored == damaged


async def test_rotation_of_no_app_is_refused(world: World) -> None:
    with pytest.raises(KeyError):
        await rekeying.rotate(world.pool, load_wrapper(world.kek_file), 4711, told, announced=NOW, settled=NOW)


async def test_running_process_opens_with_an_announced_key_and_seals_with_the_old_one(world: World) -> None:
    shop = world.shops[0]
    running = world.keys()
    assert (await running.sealer(shop.app_id)).active == 1
    rotation = asyncio.create_task(
        rekeying.rotate(
            world.pool,
            load_wrapper(world.kek_file),
            shop.app_id,
            told,
            announced=timedelta(seconds=1),
            settled=NOW,
        )
    )
    before = await running.sealer(shop.app_id)
    while not before.knows(2):
        before = await running.sealer(shop.app_id)
    await rotation
    after = await running.sealer(shop.app_id)

    assert (before.active, after.active) == (1, 2)


async def test_key_is_retired_only_when_nothing_uses_it(world: World) -> None:
    shop = world.shops[0]
    wrapper = load_wrapper(world.kek_file)
    old = (await world.keys().sealer(shop.app_id)).seal("delivery", b"d", "content", b"hello")
    delivery = (
        "INSERT INTO ledger.delivery (id, notification_id, recipient_ref, app_id, category_id, channel, priority, state) "
        "VALUES ($1, $1, $1, $2, 1, 2, 2, 20)"
    )
    await world.pool.execute(delivery, UUID(int=5), shop.app_id)
    await world.pool.execute(
        "INSERT INTO ledger.delivery_body (id, address, content) VALUES ($1, '', $2)", UUID(int=5), old
    )
    await rekeying.rotate(world.pool, wrapper, shop.app_id, told, announced=NOW, settled=NOW)

    kept = await rekeying.retire(world.pool, shop.app_id, settled=NOW, kept=NOW)
    await world.pool.execute("DELETE FROM ledger.delivery_body")
    gone = await rekeying.retire(world.pool, shop.app_id, settled=NOW, kept=NOW)
    early = await rekeying.retire(world.pool, settled=NOW)

    assert kept == ([], {(shop.app_id, 1): 1})
    assert gone == ([(shop.app_id, 1)], {})
    assert early == ([], {})
    assert await all_is_readable(world)
    with pytest.raises(Unsealable):
        (await world.keys().sealer(shop.app_id)).open("delivery", b"d", "content", old)


async def test_data_keys_are_wrapped_anew(world: World) -> None:
    first = load_wrapper(world.kek_file)
    assert add_kek(world.kek_file) == "k2"

    done = await rekeying.rewrap(world.pool, first, told, chunk=2)

    # The file was read again: nobody started anew.
    assert done == 2 * APPS
    assert await rekeying.wrapped_under(world.pool) == {"k2": 2 * APPS}
    drop_kek(world.kek_file, "k1")
    assert await all_is_readable(world)
    assert await rekeying.rewrap(world.pool, load_wrapper(world.kek_file), told) == 0


async def test_wrapping_that_died_is_taken_up(world: World) -> None:
    add_kek(world.kek_file)

    assert await ended_at(world, "keys.wrapped", "wrap", world.shops[0]) == crash.EXIT_STATUS
    under = await rekeying.wrapped_under(world.pool)
    assert set(under) == {"k1", "k2"}
    assert await all_is_readable(world)
    await rekeying.rewrap(world.pool, load_wrapper(world.kek_file), told, chunk=2)

    assert await rekeying.wrapped_under(world.pool) == {"k2": 2 * APPS}
    assert await all_is_readable(world)


async def test_process_that_lacks_the_new_kek_waits_instead_of_giving_up(world: World, tmp_path: Path) -> None:
    behind = tmp_path / "old"
    behind.write_bytes(world.kek_file.read_bytes())
    ring = KeyRing(world.pool, load_wrapper(behind))
    add_kek(world.kek_file)
    await rekeying.rewrap(world.pool, load_wrapper(world.kek_file), told)

    with pytest.raises(KeyAway):
        await ring.sealer(world.shops[0].app_id)
    behind.write_bytes(world.kek_file.read_bytes())
    assert (await ring.sealer(world.shops[0].app_id)).active == 1


async def test_data_key_that_no_kek_opens_is_named_and_left(world: World) -> None:
    app_id = world.shops[1].app_id
    await world.pool.execute(
        "UPDATE ledger.data_key SET wrapped = $1 WHERE app_id = $2 AND key_id = 1", bytes(60), app_id
    )
    add_kek(world.kek_file)

    with pytest.raises(rekeying.NotWrapped) as refused:
        await rekeying.rewrap(world.pool, load_wrapper(world.kek_file), told)

    assert refused.value.keys == [(app_id, 1)]
    assert await rekeying.wrapped_under(world.pool) == {"k1": 1, "k2": 2 * APPS - 1}


async def test_every_column_of_bytes_is_known_as_sealed_or_not(world: World) -> None:
    rows = await world.pool.fetch(
        """SELECT n.nspname || '.' || c.relname || '.' || a.attname AS name
           FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE a.atttypid = 'bytea'::regtype AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT a.attisdropped"""
    )
    sealed = {f"{one.table}.{one.column}" for one in LASTING} | {f"{one.table}.{one.column}" for one in FLEETING}

    assert {row["name"] for row in rows} == sealed | NOT_SEALED
