"""docker/ is no installed package: its modules are found from the root, where `python -m tests.supply` finds them as well."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))

from . import locked  # needs the line above


@pytest.fixture(scope="session")
def runtime() -> list[locked.Locked]:
    """Every package of some image."""
    return locked.runtime()
