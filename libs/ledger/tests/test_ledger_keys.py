"""Data keys: wrapped in the ledger, held by every process."""

import asyncio
from datetime import timedelta

import pytest

from clarion_kit.sealing import AppSealer, HeldKeys, KeyWrapper, Unsealable, Wrapped
from clarion_ledger import admin
from clarion_ledger.db import pool
from clarion_ledger.keys import KeyAway, KeyRing
from clarion_testkit.plugin import App, Database


async def test_what_one_process_sealed_another_opens(database: Database, app: App, kek: KeyWrapper) -> None:
    sealed = (await app.keys.sealer(app.app_id)).seal("delivery_body", b"id", "content", b"hello")

    reopened = await KeyRing(database.pool, kek).sealer(app.app_id)

    assert reopened.open("delivery_body", b"id", "content", sealed) == b"hello"


async def test_apps_do_not_share_their_keys(database: Database, app: App, kek: KeyWrapper) -> None:
    other = await admin.create_app(database.pool, kek, "other")
    sealed = (await app.keys.sealer(app.app_id)).seal("t", b"o", "c", b"hello")

    stranger = await app.keys.sealer(other.app_id)

    with pytest.raises(Unsealable):
        stranger.open("t", b"o", "c", sealed)
    assert stranger.blind_index("phone", b"1") != (await app.keys.sealer(app.app_id)).blind_index("phone", b"1")


async def test_sealer_is_loaded_once(app: App) -> None:
    assert await app.keys.sealer(app.app_id) is await app.keys.sealer(app.app_id)


async def test_unknown_app_has_no_sealer(app: App) -> None:
    with pytest.raises(KeyError):
        await app.keys.sealer(app.app_id + 1)


async def test_wrong_key_encryption_key_opens_nothing(database: Database, app: App, kek: KeyWrapper) -> None:
    with pytest.raises(Unsealable):
        await KeyRing(database.pool, HeldKeys(kek.active, {kek.active: bytes(32)})).sealer(app.app_id)


async def test_missing_key_encryption_key_is_something_to_wait_for(database: Database, app: App) -> None:
    with pytest.raises(KeyAway):
        await KeyRing(database.pool, HeldKeys("k9", {"k9": bytes(32)})).sealer(app.app_id)


async def test_key_that_came_later_is_found_when_it_is_met(database: Database, app: App, kek: KeyWrapper) -> None:
    ring = KeyRing(database.pool, kek)
    assert not (await ring.sealer(app.app_id)).knows(2)
    await add_key(database, kek, app)
    sealed = (await KeyRing(database.pool, kek).sealer(app.app_id)).seal("t", b"o", "c", b"hello")

    assert (await ring.sealer(app.app_id)).active == 1
    assert (await ring.sealer(app.app_id, None, sealed)).open("t", b"o", "c", sealed) == b"hello"


async def test_key_that_does_not_exist_is_not_asked_for_again_and_again(
    database: Database, app: App, kek: KeyWrapper
) -> None:
    unwrapped = Counting(kek)
    now = [0.0]
    ring = KeyRing(database.pool, unwrapped, now=lambda: now[0])
    foreign = AppSealer(app.app_id, {0: bytes(32), 9: bytes(32)}).seal("t", b"o", "c", b"hello")
    await ring.sealer(app.app_id)

    for _ in range(5):
        assert not (await ring.sealer(app.app_id, foreign)).knows(9)
    loads = unwrapped.count // KEYS
    now[0] += 6
    await ring.sealer(app.app_id, foreign)

    assert (loads, unwrapped.count // KEYS) == (2, 3)


async def test_announced_key_seals_from_its_moment_on(database: Database, app: App, kek: KeyWrapper) -> None:
    now = [0.0]
    ring = KeyRing(database.pool, kek, now=lambda: now[0])
    await add_key(database, kek, app, active_in=timedelta(hours=1))

    announced = await ring.sealer(app.app_id)
    await database.pool.execute("UPDATE ledger.data_key SET active_from = now()")
    still = await ring.sealer(app.app_id)
    now[0] += 3601
    active = await ring.sealer(app.app_id)

    assert (announced.active, still.active, active.active) == (1, 1, 2)
    assert announced.knows(2)


async def test_change_of_keys_is_noticed_without_being_met(database: Database, app: App, kek: KeyWrapper) -> None:
    now = [0.0]
    ring = KeyRing(database.pool, kek, refresh=timedelta(seconds=15), now=lambda: now[0])
    now[0] += 16
    await ring.sealer(app.app_id)
    await add_key(database, kek, app)
    now[0] += 14
    before = await ring.sealer(app.app_id)
    now[0] += 2

    assert (before.active, (await ring.sealer(app.app_id)).active) == (1, 2)


async def test_look_that_fails_keeps_what_is_held(database: Database, app: App, kek: KeyWrapper) -> None:
    async with pool(database.url, size=1, application="away") as connections:
        ring = KeyRing(connections, kek, refresh=timedelta(0))
        before = await ring.sealer(app.app_id)
        connections.terminate()

        assert await ring.sealer(app.app_id) is before


async def test_many_callers_load_once(database: Database, app: App, kek: KeyWrapper) -> None:
    unwrapped = Counting(kek)
    ring = KeyRing(database.pool, unwrapped)

    sealers = await asyncio.gather(*(ring.sealer(app.app_id) for _ in range(10)))

    assert len(set(map(id, sealers))) == 1
    assert unwrapped.count == KEYS


KEYS = 2
"""Data keys of a new app: of blind indexes, and the first one that seals."""


class Counting:
    """A wrapper that counts what it opens."""

    def __init__(self, wrapper: KeyWrapper) -> None:
        self._wrapper = wrapper
        self.count = 0

    @property
    def active(self) -> str:
        return self._wrapper.active

    async def wrap(self, app_id: int, key_id: int, key: bytes) -> Wrapped:
        return await self._wrapper.wrap(app_id, key_id, key)

    async def unwrap(self, app_id: int, key_id: int, kek_id: str, wrapped: bytes) -> bytes:
        self.count += 1
        return await self._wrapper.unwrap(app_id, key_id, kek_id, wrapped)


async def add_key(database: Database, kek: KeyWrapper, app: App, *, active_in: timedelta = timedelta(0)) -> None:
    kek_id, wrapped = await kek.wrap(app.app_id, 2, bytes(range(32)))
    await database.pool.execute(
        "INSERT INTO ledger.data_key (app_id, key_id, kek_id, wrapped, active_from) VALUES ($1, 2, $2, $3, now() + $4)",
        app.app_id,
        kek_id,
        wrapped,
        active_in,
    )
