"""What `clarion-prepare` does in a cluster, done here against a running mesh and its real stores."""

import base64
import importlib.util
import json
import os
import re
import stat
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import asyncpg
import pytest

from clarion_client import AsyncClient
from clarion_kit import keyfiles
from clarion_kit.bus_rights import read_credentials, rights
from clarion_kit.mesh import DAEMONS
from clarion_ledger import app_keys
from clarion_local.stack import DATABASE_ROLES, Stack
from clarion_testkit.plugin import Database

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


@pytest.mark.asyncio(loop_scope="session")
async def test_smoke_of_production_needs_no_more_than_the_role_of_the_monitor(
    prepare: ModuleType, stack: Stack
) -> None:
    """What `helm test` runs where it may not send."""
    kept: dict[str, str] = json.loads((stack.options.folder / "keys" / "roles.json").read_text())
    place = urlsplit(stack.endpoints.database_url)
    url = f"postgresql://clarion_monitor:{kept['monitor']}@{place.hostname}:{place.port}{place.path}"

    await prepare._clarion({**os.environ, "CLARION_DATABASE_URL": url}, "audit", "--since", "1h")


@pytest.mark.asyncio(loop_scope="session")
async def test_key_of_an_operator_is_shown_as_the_command_reads_it(
    prepare: ModuleType, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    await prepare.key("operations", ("admin",))

    shown = dict(re.findall(r"(CLARION_APP_[A-Z]+)=(\S+)", capsys.readouterr().out))
    async with AsyncClient.connect(
        stack.endpoints.gateway, shown["CLARION_APP_KEY"], shown["CLARION_APP_SECRET"], ca_file=stack.endpoints.ca_file
    ) as operator:
        assert "operations" in {app.name for app in (await operator.apps.list()).apps}


Cluster = dict[str, dict[str, str]]


@pytest.fixture
def cluster(
    prepare: ModuleType, database: Database, kek_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Cluster:
    """Secrets by name, of a cluster whose mesh has no admin key yet."""
    kept: Cluster = {}

    def api(method: str, path: str, body: dict[str, dict[str, str]]) -> object:
        name = body["metadata"]["name"]
        assert path == "/api/v1/namespaces/clarion/secrets" + (f"/{name}" if method == "PUT" else "")
        if method == "POST" and name in kept:
            return None
        kept[name] = {key: base64.b64decode(value).decode() for key, value in body["data"].items()}
        return body

    keyfiles.new_secret_file(tmp_path / "pepper")
    monkeypatch.setattr(prepare, "api", api)
    for variable, value in {
        "CLARION_DATABASE_URL": database.url,
        "CLARION_KEK_FILE": kek_file,
        "CLARION_PEPPER_FILE": tmp_path / "pepper",
        "PREPARE_APP": "operators",
        "PREPARE_SECRET": "clarion-first-key",
        "PREPARE_NAMESPACE": "clarion",
    }.items():
        monkeypatch.setenv(variable, str(value))
    return kept


async def test_first_admin_key_is_put_into_a_secret_and_made_once(
    prepare: ModuleType, cluster: Cluster, database: Database, tmp_path: Path
) -> None:
    """A secret that a try left behind whose key never counted is replaced; one whose key counts stays."""
    cluster["clarion-first-key"] = {"key": "ck_0", "secret": "of nothing"}

    await prepare.first_key()
    made = dict(cluster["clarion-first-key"])
    await prepare.first_key()

    pepper = keyfiles.load_secret(tmp_path / "pepper")
    proven = await app_keys.authenticate(database.pool, pepper, made["key"], made["secret"])
    assert proven is not None
    assert proven.key.scopes == {"admin"}
    assert cluster["clarion-first-key"] == made


async def test_first_admin_key_waits_for_the_cluster(
    prepare: ModuleType, cluster: Cluster, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it cannot be put away there is none; the next try makes another."""
    real, tries = prepare.api, []

    def api(method: str, path: str, body: dict[str, dict[str, str]]) -> object:
        tries.append(body["data"]["key"])
        if len(tries) == 1:
            raise ConnectionResetError
        return real(method, path, body)

    monkeypatch.setattr(prepare, "api", api)
    monkeypatch.setattr(prepare, "PAUSE_SECONDS", 0.0)

    await prepare.first_key()

    assert len(set(tries)) == 2
    counting = await database.pool.fetchval("SELECT string_agg(app_key, ' ') FROM ledger.app_key")
    assert counting == cluster["clarion-first-key"]["key"] == base64.b64decode(tries[-1]).decode()


def test_each_daemon_on_the_bus_gets_a_user_that_it_keeps(prepare: ModuleType, tmp_path: Path) -> None:
    prepare.bus_files(tmp_path, "one-word")
    before = {path.parent.name: read_credentials(path) for path in tmp_path.glob("nats/*/credentials")}

    prepare.bus_files(tmp_path, "another-word")

    assert set(before) == {daemon for daemon in DAEMONS if rights(daemon)}
    assert before == {path.parent.name: read_credentials(path) for path in tmp_path.glob("nats/*/credentials")}
    users = json.loads((tmp_path / "nats-server" / "authorization.json").read_text())["users"]
    known = {user["user"]: user for user in users}
    assert {name: user["password"] for name, user in known.items()} == {"clarion": "another-word"} | dict(
        before.values()
    )
    planner = rights("planner")
    assert planner is not None
    assert known["planner"]["permissions"]["publish"] == {"allow": list(planner.publish)}


def test_password_that_a_url_would_have_to_escape_is_refused(
    prepare: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREPARE_PASSWORD", "p@ss")

    assert prepare.main(["files", str(tmp_path)]) == 1
    assert "letters, digits" in capsys.readouterr().err


def test_files_are_private_and_kept(prepare: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREPARE_PASSWORD", "practice")
    assert prepare.main(["files", str(tmp_path)]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    assert prepare.main(["files", str(tmp_path)]) == 0

    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in before)


def test_unknown_step_is_told(prepare: ModuleType) -> None:
    assert prepare.main(["everything"]) == 2
