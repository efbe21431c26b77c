"""Lock files carry names, versions and hashes: no address of anybody."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK_FILES = (
    "requirements.lock",
    "tests/helm/requirements.lock",
    "tests/peers/requirements.lock",
    "tests/peers/package-lock.json",
)


@pytest.mark.parametrize("name", LOCK_FILES)
def test_lock_file_holds_no_address(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()

    assert lines
    assert [line for line in lines if "://" in line] == []
