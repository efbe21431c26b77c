"""The first administrator of a local mesh: by the same way as a production one's."""

import json
import stat
from pathlib import Path

import pytest

from clarion_kit.keyfiles import load_secret, new_secret_file
from clarion_ledger import app_keys
from clarion_ledger.bootstrap import AlreadyBootstrapped, bootstrap
from clarion_ledger.keys import load_wrapper, new_wrapper_file
from clarion_local.first_admin import ADMIN_APP, first_admin
from clarion_testkit.plugin import Database


@pytest.fixture
def key_files(tmp_path: Path) -> dict[str, Path]:
    files = {"kek": tmp_path / "kek", "pepper": tmp_path / "pepper"}
    new_wrapper_file(files["kek"])
    new_secret_file(files["pepper"])
    return files


async def acts(database: Database) -> list[str]:
    return [row["act"] for row in await database.pool.fetch("SELECT act FROM ledger.audit_log ORDER BY seq")]


async def test_first_start_bootstraps_and_later_ones_read_what_was_kept(
    database: Database, key_files: dict[str, Path], tmp_path: Path
) -> None:
    kept_in = tmp_path / "admin.json"

    first = await first_admin(database.url, key_files, kept_in)
    again = await first_admin(database.url, key_files, kept_in)

    assert first == again
    assert await acts(database) == ["CreateApp", "Bootstrap"]
    assert stat.S_IMODE(kept_in.stat().st_mode) == 0o600
    with pytest.raises(AlreadyBootstrapped):
        await bootstrap(database.pool, load_wrapper(key_files["kek"]), load_secret(key_files["pepper"]), "others")


async def test_lost_key_is_replaced_by_the_owner_of_the_database(
    database: Database, key_files: dict[str, Path], tmp_path: Path
) -> None:
    kept_in = tmp_path / "admin.json"
    first, _ = await first_admin(database.url, key_files, kept_in)
    kept_in.unlink()

    second, secret = await first_admin(database.url, key_files, kept_in)
    proven = await app_keys.authenticate(database.pool, load_secret(key_files["pepper"]), second, secret)

    assert second != first
    assert proven is not None
    assert proven.key.scopes == {app_keys.ADMIN}
    assert json.loads(kept_in.read_text()) == {"key": second, "secret": secret}
    assert await acts(database) == ["CreateApp", "Bootstrap", "CreateKey"]
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.app WHERE name = $1", ADMIN_APP) == 1
