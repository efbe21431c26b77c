"""Key-encryption keys: from a file, the environment, or an installed service."""

import json
import os
import stat
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from clarion_kit.sealing import HeldKeys, UnknownKek
from clarion_ledger import keks
from clarion_ledger.keks import add_kek, drop_kek, load_wrapper, new_wrapper_file


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


async def test_rotated_key_file_still_opens_what_the_old_key_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "kek.json"
    new_wrapper_file(path)
    _, wrapped = await load_wrapper(path).wrap(7, 1, b"k" * 32)
    document = json.loads(path.read_text())
    document["keys"]["k2"] = document["keys"]["k1"][::-1].replace("=", "A", 1)[:43] + "="
    document["active"] = "k2"
    path.write_text(json.dumps(document))

    rotated = load_wrapper(path)

    assert rotated.active == "k2"
    assert await rotated.unwrap(7, 1, "k1", wrapped) == b"k" * 32


async def test_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "kek"
    new_wrapper_file(path)
    running = load_wrapper(path)
    assert add_kek(path) == "k2"

    wrapped = await load_wrapper(path).wrap(7, 1, b"k" * 32)

    assert wrapped.kek_id == running.active == "k2"
    assert await running.unwrap(7, 1, *wrapped) == b"k" * 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_file_that_breaks_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kek"
    new_wrapper_file(path)
    running = load_wrapper(path)
    wrapped = await running.wrap(7, 1, b"k" * 32)
    path.write_text("{")

    assert (running.active, await running.unwrap(7, 1, *wrapped)) == ("k1", b"k" * 32)
    with pytest.raises(UnknownKek):
        await running.unwrap(7, 1, "k2", wrapped.wrapped)
    path.unlink()
    assert running.active == "k1"


def test_numbers_of_keys_are_not_used_again(tmp_path: Path) -> None:
    path = tmp_path / "kek"
    new_wrapper_file(path)
    add_kek(path)
    drop_kek(path, "k1")

    assert add_kek(path) == "k3"
    assert set(json.loads(path.read_text())["keys"]) == {"k2", "k3"}


@pytest.mark.parametrize(("kek_id", "fault"), [("k1", "active"), ("k7", "no key-encryption key 'k7'")])
def test_active_and_unknown_keys_are_not_dropped(tmp_path: Path, kek_id: str, fault: str) -> None:
    path = tmp_path / "kek"
    new_wrapper_file(path)

    with pytest.raises(ValueError, match=fault):
        drop_kek(path, kek_id)


async def test_keys_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kek"
    new_wrapper_file(path)
    monkeypatch.setenv("SOME_KEK", path.read_text())

    wrapper = load_wrapper(Path("env:SOME_KEK"))

    assert await load_wrapper(path).unwrap(7, 1, *await wrapper.wrap(7, 1, b"k" * 32)) == b"k" * 32


@pytest.mark.parametrize("content", ["", "[]", '{"active": "k1", "keys": {"k1": "c2VjcmV0"}}'])
def test_faulty_variable_is_refused_without_telling_a_key(monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("SOME_KEK", content)

    with pytest.raises(ValueError, match=r"\w") as refused:
        load_wrapper(Path("env:SOME_KEK"))

    assert "c2VjcmV0" not in str(refused.value)


def test_installed_service_is_asked_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = EntryPoint("hsm", "libs.ledger.tests.kms_sample:held", keks.ENTRY_POINTS)
    monkeypatch.setattr(keks, "entry_points", lambda **wanted: EntryPoints([installed]).select(**wanted))

    wrapper = load_wrapper(Path("hsm:projects/7/key"))

    assert isinstance(wrapper, HeldKeys)
    assert wrapper.active == "projects/7/key"
    with pytest.raises(ValueError, match="'vault'"):
        load_wrapper(Path("vault:x"))


def test_path_with_a_colon_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "a:b"
    new_wrapper_file(path)

    assert load_wrapper(path).active == "k1"
    assert os.sep in str(path)
