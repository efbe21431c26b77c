"""`clarion keys rotate-kek | drop-kek | rotate-dek | data-keys | retire-deks | bus-users`."""

import asyncio
import json
import stat
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from typer.testing import CliRunner

from clarion_kit import mesh
from clarion_kit.bus_rights import read_credentials, rights
from clarion_ledger import admin, rekeying
from clarion_ledger.keys import KeyRing, load_wrapper, new_wrapper_file
from clarion_ledger.rekeying import rotate
from clarion_local.cli import keyring
from clarion_local.cli.main import build
from clarion_testkit.plugin import Database


@dataclass(frozen=True, slots=True)
class Given:
    """A database with one app, and the key file that its keys are under."""

    database: Database
    kek_file: Path
    app_id: int

    async def run(self, *arguments: str, ok: int = 0) -> dict[str, object] | list[dict[str, object]]:
        """What a command answers in JSON."""
        env = {"CLARION_DATABASE_URL": self.database.url, "CLARION_KEK_FILE": str(self.kek_file)}
        result = await asyncio.to_thread(
            CliRunner().invoke, build(), ["keys", *arguments, "--json"], env=env, catch_exceptions=False
        )
        assert result.exit_code == ok, result.output
        document: dict[str, object] | list[dict[str, object]] = json.loads(result.stdout)
        return document


@pytest_asyncio.fixture
async def given(database: Database, tmp_path: Path) -> Given:
    kek_file = tmp_path / "kek"
    new_wrapper_file(kek_file)
    row = await admin.create_app(database.pool, load_wrapper(kek_file), "shop")
    sealer = await KeyRing(database.pool, load_wrapper(kek_file)).sealer(row.app_id)
    await database.pool.execute(
        "INSERT INTO ledger.lane (app_id, name, kind, channel, settings) VALUES ($1, 'main', 'fcm', 2, $2)",
        row.app_id,
        sealer.seal("lane", b"main", "settings", b"{}"),
    )
    return Given(database, kek_file, row.app_id)


async def test_key_encryption_key_is_replaced_and_the_old_one_dropped(given: Given) -> None:
    refused = await given.run("drop-kek", "k1", ok=1)
    assert await given.run("rotate-kek") == {"active": "k1", "wrapped": 0, "data_keys_under": {"k1": 2}}

    rotated = await given.run("rotate-kek", "--new")
    dropped = await given.run("drop-kek", "k1")

    assert "error" in refused
    assert rotated == {"active": "k2", "wrapped": 2, "data_keys_under": {"k2": 2}}
    assert dropped == {"dropped": "k1"}
    acts = await given.database.pool.fetch("SELECT act FROM ledger.audit_log WHERE seq > 1 ORDER BY seq")
    assert [row["act"] for row in acts] == ["AddKeyEncryptionKey", "WrapDataKeys", "DropKeyEncryptionKey"]
    assert set(json.loads(given.kek_file.read_text())["keys"]) == {"k2"}


async def test_key_encryption_key_in_use_is_not_dropped(given: Given) -> None:
    await given.run("rotate-kek", "--new")
    await given.database.pool.execute("UPDATE ledger.data_key SET kek_id = 'k1' WHERE key_id = 1")

    await given.run("drop-kek", "k1", ok=1)

    assert set(json.loads(given.kek_file.read_text())["keys"]) == {"k1", "k2"}


async def test_data_key_is_rotated_counted_and_retired(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = {"settled": timedelta(0)}
    monkeypatch.setattr(rekeying, "rotate", lambda *a, **named: rotate(*a, **{**named, **at_once}))

    before = await given.run("data-keys")
    rotated = await given.run("rotate-dek", "--app", "shop", "--announced", "0")
    after = await given.run("data-keys")
    early = await given.run("retire-deks")
    await given.database.pool.execute("UPDATE ledger.data_key SET active_from = now() - interval '2 days'")
    monkeypatch.setattr(keyring, "SETTLED", timedelta(0))
    retired = await given.run("retire-deks", "--app", "shop")

    assert before == [{"app": "shop", "data_key": 1, "values": 1}]
    assert rotated == [{"app": "shop", "data_key": 2, "sealed": 1, "left": 0, "unreadable": 0}]
    assert after == [{"app": "shop", "data_key": 2, "values": 1}]
    assert early == []
    assert retired == [{"app": "shop", "data_key": 1, "values": 0}]


@pytest.mark.parametrize("arguments", [("rotate-dek", "--app", "nobody"), ("retire-deks", "--app", "nobody")])
async def test_unknown_app_is_refused(given: Given, arguments: tuple[str, ...]) -> None:
    await given.run(*arguments, ok=1)


async def test_key_file_that_cannot_be_read_is_a_fault_of_the_settings(given: Given) -> None:
    given.kek_file.write_text("{}")

    for command in (("rotate-kek",), ("rotate-kek", "--new"), ("rotate-dek",)):
        await given.run(*command, ok=2)


async def test_bus_users_are_written_once(given: Given, tmp_path: Path) -> None:
    folder = tmp_path / "bus"
    names = [daemon for daemon in mesh.DAEMONS if rights(daemon) is not None]

    answer = await given.run("bus-users", str(folder))
    first = {file.name: file.read_text() for file in folder.iterdir()}
    await given.run("bus-users", str(folder))

    assert answer == {"folder": str(folder), "users": names}
    assert {file.name: file.read_text() for file in folder.iterdir()} == first
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    users = {user["user"]: user for user in json.loads(first["authorization.json"])["users"]}
    for name in names:
        user, password = read_credentials(folder / name)
        assert (user, password) == (name, users[name]["password"])
        given_rights = rights(name)
        assert given_rights is not None
        assert users[name]["permissions"]["publish"]["allow"] == list(given_rights.publish)
