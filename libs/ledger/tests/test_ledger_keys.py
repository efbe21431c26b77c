"""Data keys: wrapped in the ledger, opened by the key-encryption key file."""

import json
import stat
from pathlib import Path

import pytest

from clarion_kit.sealing import KeyWrapper, Unsealable
from clarion_ledger import admin
from clarion_ledger.keys import KeyRing, load_wrapper, new_wrapper_file
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
    for wrong in (KeyWrapper(kek.active, {kek.active: bytes(32)}), KeyWrapper("k9", {"k9": bytes(32)})):
        with pytest.raises(Unsealable):
            await KeyRing(database.pool, wrong).sealer(app.app_id)


def test_new_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "kek.json"

    new_wrapper_file(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_wrapper(path).active == "k1"
    with pytest.raises(FileExistsError):
        new_wrapper_file(path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"active": "k1", "keys": []}',
        '{"active": "k1", "keys": {"k1": "c2VjcmV0"}}',
        '{"active": "k1", "keys": {"k1": "c2VjcmV0!"}}',
        '{"active": "k2", "keys": {"k1": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}}',
        '{"active": "k1", "keys": {"k1": 7}}',
    ],
)
def test_faulty_key_file_is_refused_without_telling_a_key(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kek.json"
    path.write_text(content)

    with pytest.raises(ValueError, match=r"\w") as refused:
        load_wrapper(path)

    assert "c2VjcmV0" not in str(refused.value)


def test_missing_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unreadable"):
        load_wrapper(tmp_path / "absent.json")


def test_rotated_key_file_still_opens_what_the_old_key_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "kek.json"
    new_wrapper_file(path)
    wrapped = load_wrapper(path).wrap(7, 1, b"k" * 32)
    document = json.loads(path.read_text())
    document["keys"]["k2"] = document["keys"]["k1"][::-1].replace("=", "A", 1)[:43] + "="
    document["active"] = "k2"
    path.write_text(json.dumps(document))

    rotated = load_wrapper(path)

    assert rotated.active == "k2"
    assert rotated.unwrap(7, 1, "k1", wrapped) == b"k" * 32
