"""The key that signs tokens is replaced in two steps."""

import json
import stat
from pathlib import Path

import pytest

from clarion_kit.keyfiles import load_token_keys, new_token_key_file
from clarion_kit.token_rotation import CannotRotate, activate_key, add_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "tokens.json"
    new_token_key_file(file)
    return file


def held(path: Path) -> tuple[str, set[str]]:
    keys = load_token_keys(path)
    return keys.active, set(keys.public)


def test_new_key_verifies_first_and_signs_later(path: Path) -> None:
    assert add_key(path) == "t2"
    assert held(path) == ("t1", {"t1", "t2"})
    assert activate_key(path) == "t2"
    assert held(path) == ("t2", {"t1", "t2"})


def test_at_most_two_keys_are_live(path: Path) -> None:
    for number in range(2, 12):
        assert add_key(path) == f"t{number}"
        assert held(path) == (f"t{number - 1}", {f"t{number - 1}", f"t{number}"})
        activate_key(path)
        assert held(path) == (f"t{number}", {f"t{number - 1}", f"t{number}"})


def test_signing_key_stays_the_same_key_until_another_is_activated(path: Path) -> None:
    before = json.loads(path.read_text())["keys"]["t1"]
    add_key(path)
    activate_key(path)

    assert json.loads(path.read_text())["keys"]["t1"] == before


def test_steps_in_the_wrong_order_change_nothing(path: Path) -> None:
    content = path.read_bytes()
    with pytest.raises(CannotRotate):
        activate_key(path)
    assert path.read_bytes() == content

    add_key(path)
    content = path.read_bytes()
    with pytest.raises(CannotRotate):
        add_key(path)
    assert path.read_bytes() == content


def test_key_with_an_id_of_somebody_elses_is_replaced_like_any(path: Path) -> None:
    raw = json.loads(path.read_text())["keys"]["t1"]
    path.write_text(json.dumps({"active": "winter", "keys": {"winter": raw}}))

    assert add_key(path) == "t1"
    assert activate_key(path) == "t1"
    assert held(path) == ("t1", {"winter", "t1"})


@pytest.mark.parametrize(
    "content", ["", "{}", '{"active": "t1", "keys": {}}', '{"active": "t1", "keys": {"t1": "AA=="}}']
)
def test_faulty_file_is_left_alone(path: Path, content: str) -> None:
    path.write_text(content)

    for step in (add_key, activate_key):
        with pytest.raises(ValueError, match="no token key file"):
            step(path)
    assert path.read_text() == content


def test_file_stays_private(path: Path) -> None:
    add_key(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]
