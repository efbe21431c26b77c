"""What `clarion-prepare` does in a cluster, done here against a running mesh and its real stores."""

import importlib.util
import json
import stat
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import asyncpg
import pytest

from clarion_local.stack import DATABASE_ROLES, Stack

PREPARE = Path(__file__).resolve().parents[2] / "docker" / "prepare.py"


@pytest.fixture
def prepare(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with the environment that the chart gives it."""
    endpoints, keys = stack.endpoints, stack.options.folder / "keys"
    for variable, value in {
        "CLARION_DATABASE_URL": endpoints.database_url,
        "CLARION_NATS_URL": endpoints.nats_url,
        "CLARION_ENDPOINT": endpoints.gateway,
        "CLARION_CA_FILE": endpoints.ca_file,
        "CLARION_KEK_FILE": keys / "kek.key",
        "CLARION_PEPPER_FILE": keys / "pepper.key",
        "PREPARE_SANDBOX": endpoints.sandbox,
        "PREPARE_TRACKER_URL": endpoints.tracker_url,
        "PREPARE_STAND_BY": "0",
    }.items():
        monkeypatch.setenv(variable, str(value))
    monkeypatch.setattr(sys, "argv", [str(Path(sys.executable).with_name("clarion-prepare"))])
    spec = importlib.util.spec_from_file_location("clarion_prepare", PREPARE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.asyncio(loop_scope="session")
async def test_accounts_are_opened_then_one_notification_is_sent_and_accounted_for(prepare: ModuleType) -> None:
    """Twice: a pod may be restarted, `helm test` is run again and again."""
    for _ in range(2):
        await prepare.practice()
        await prepare.send()


@pytest.mark.asyncio(loop_scope="session")
async def test_roles_log_in_with_the_passwords_of_their_urls(
    prepare: ModuleType, stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The passwords they have, since a mesh is using them."""
    kept = stack.options.folder / "keys" / "roles.json"
    passwords: dict[str, str] = json.loads(kept.read_text())
    place = urlsplit(stack.endpoints.database_url)
    for role in DATABASE_ROLES:
        url = f"postgresql://clarion_{role}:{passwords[role]}@{place.hostname}:{place.port}{place.path}"
        (tmp_path / role).write_text(f"{url}\n")
    monkeypatch.setenv("CLARION_DATABASE_URLS_DIR", str(tmp_path))

    await prepare.database()

    connection = await asyncpg.connect((tmp_path / "tracker").read_text().strip())
    try:
        assert await connection.fetchval("SELECT current_user") == "clarion_tracker"
    finally:
        await connection.close()


def test_files_are_private_and_kept(prepare: ModuleType, tmp_path: Path) -> None:
    prepare.files(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    prepare.files(tmp_path)

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in before)


def test_unknown_step_is_told(prepare: ModuleType) -> None:
    assert prepare.main(["everything"]) == 2
