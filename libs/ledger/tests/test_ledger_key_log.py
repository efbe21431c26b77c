"""What is done to keys is in the audit log: who, what, which versions before and after, and no key."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from clarion_kit.rpc.caller import Caller, calling_as
from clarion_ledger import admin, audit_log, key_log, rekeying
from clarion_ledger.audit_log import Chain, Entry
from clarion_ledger.db import LedgerUnavailable, Pool, pool
from clarion_ledger.keks import load_wrapper, new_wrapper_file

from .conftest import Databases

NOW = timedelta(0)


@dataclass(frozen=True, slots=True)
class World:
    """An app, and the key file that its data keys are under."""

    pool: Pool
    kek_file: Path
    app_id: int

    async def log(self) -> list[Entry]:
        """Entries since the app was made; all of them must be one chain."""
        entries, head = await audit_log.page(self.pool, size=100)
        chain = Chain()
        chain.follow(entries)
        chain.end(head)
        assert chain.found is None
        return [entry for entry in entries if entry.act != "CreateApp"]

    async def acts(self) -> list[tuple[str, int, object, object]]:
        return [(one.act, one.app_id, _json(one.before), _json(one.after)) for one in await self.log()]


def _json(text: str) -> object:
    return json.loads(text) if text else None


def told(what: str, count: int) -> None:
    """Nobody listens."""


@pytest_asyncio.fixture
async def world(postgres_databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    kek_file = tmp_path / "kek"
    new_wrapper_file(kek_file)
    async with postgres_databases.fresh() as url, pool(url, size=4, application="key log") as connections:
        app = await admin.create_app(connections, load_wrapper(kek_file), "shop")
        yield World(connections, kek_file, app.app_id)


async def test_replacing_the_key_encryption_key_is_told_step_by_step(world: World) -> None:
    await key_log.add_kek(world.pool, world.kek_file)
    await rekeying.rewrap(world.pool, load_wrapper(world.kek_file), told)
    await rekeying.rewrap(world.pool, load_wrapper(world.kek_file), told)
    await key_log.drop_kek(world.pool, world.kek_file, "k1")

    assert await world.acts() == [
        ("AddKeyEncryptionKey", 0, {"active": "k1"}, {"active": "k2"}),
        ("WrapDataKeys", 0, {"data_keys_under": {"k1": 2}}, {"data_keys_under": {"k2": 2}}),
        ("DropKeyEncryptionKey", 0, {"held": True}, {"held": False}),
    ]
    assert {entry.actor_key for entry in await world.log()} == {""}


async def test_replacing_a_data_key_is_told_step_by_step(world: World) -> None:
    wrapper = load_wrapper(world.kek_file)

    await rekeying.rotate(world.pool, wrapper, world.app_id, told, announced=NOW, settled=NOW)
    await rekeying.retire(world.pool, world.app_id, settled=NOW, kept=NOW)

    assert await world.acts() == [
        ("RotateDataKey", world.app_id, {"data_key": 1}, {"data_key": 2, "under": "k1"}),
        (
            "FinishDataKeyRotation",
            world.app_id,
            None,
            {"data_key": 2, "values_sealed_anew": 0, "unreadable": 0},
        ),
        ("RetireDataKeys", world.app_id, {"data_keys": [1]}, None),
    ]


async def test_of_two_rotations_at_once_each_step_is_told_once(world: World) -> None:
    wrapper = load_wrapper(world.kek_file)

    await asyncio.gather(
        *(rekeying.rotate(world.pool, wrapper, world.app_id, told, announced=NOW, settled=NOW) for _ in range(2))
    )

    keys = [json.loads(entry.after)["data_key"] for entry in await world.log()]
    # The second one either joined the first or came after it; it never told the same step again.
    assert keys in ([2, 2], [2, 2, 3, 3])


async def test_no_key_gets_into_the_log(world: World) -> None:
    await key_log.add_kek(world.pool, world.kek_file)
    secrets = json.loads(world.kek_file.read_text())["keys"].values()
    await rekeying.rewrap(world.pool, load_wrapper(world.kek_file), told)

    text = repr(await world.log())

    assert not any(secret in text for secret in secrets)


@pytest.mark.parametrize("kek_id", ["k1", "k9"])
async def test_refused_act_is_not_told(world: World, kek_id: str) -> None:
    before = world.kek_file.read_bytes()

    with pytest.raises(ValueError, match=kek_id):
        await key_log.drop_kek(world.pool, world.kek_file, kek_id)

    assert await world.acts() == []
    assert world.kek_file.read_bytes() == before


async def test_without_the_audit_log_the_key_file_stays_as_it_is(tmp_path: Path) -> None:
    kek_file = tmp_path / "kek"
    new_wrapper_file(kek_file)
    before = kek_file.read_bytes()

    with pytest.raises(LedgerUnavailable):
        async with pool("postgresql://nobody@127.0.0.1:9/nothing", size=1, application="key log") as away:
            await key_log.add_kek(away, kek_file)

    assert kek_file.read_bytes() == before


async def test_token_keys_are_told_once_however_many_gateways_see_them(world: World) -> None:
    first, second = key_log.token_keys("t1", ["t1"]), key_log.token_keys("t1", ["t2", "t1"])

    with calling_as(Caller("gateway", key="daemon:gateway")):
        await asyncio.gather(*(key_log.note_token_keys(world.pool, "t1", ["t1", "t2"], former=first) for _ in range(4)))
        await key_log.note_token_keys(world.pool, "t2", ["t1", "t2"], former=second)

    third = {"signs": "t2", "verify": ["t1", "t2"]}
    assert await world.acts() == [("ReplaceTokenKeys", 0, first, second), ("ReplaceTokenKeys", 0, second, third)]
    assert {entry.actor_key for entry in await world.log()} == {"daemon:gateway"}


async def test_token_keys_that_changed_while_no_gateway_ran_are_told_at_the_next_start(world: World) -> None:
    await key_log.note_token_keys(world.pool, "t1", ["t1"])
    assert await world.acts() == []
    await key_log.note_token_keys(world.pool, "t1", ["t1", "t2"], former=key_log.token_keys("t1", ["t1"]))

    await key_log.note_token_keys(world.pool, "t1", ["t1", "t2"])
    await key_log.note_token_keys(world.pool, "t2", ["t1", "t2"])

    assert [after for _, _, _, after in await world.acts()] == [
        {"signs": "t1", "verify": ["t1", "t2"]},
        {"signs": "t2", "verify": ["t1", "t2"]},
    ]
