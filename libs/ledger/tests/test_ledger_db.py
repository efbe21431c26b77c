"""What a daemon sees of a Postgres that is away, not migrated, or full."""

import asyncio
from contextlib import suppress

import asyncpg
import pytest

from clarion_kit.errors import DomainError, ErrorReason
from clarion_ledger import db
from clarion_ledger.db import LedgerUnavailable, Pool, connection, ping, pool
from clarion_testkit.plugin import Database


async def eventually_answers(connections: Pool) -> None:
    """The driver learns from the closing socket that a connection is gone."""
    async with asyncio.timeout(5):
        while True:
            with suppress(LedgerUnavailable):
                return await ping(connections)
            await asyncio.sleep(0.01)


async def test_sessions_are_set_as_the_ledger_needs_them(database: Database) -> None:
    for setting, wanted in (
        ("plan_cache_mode", "force_generic_plan"),
        ("statement_timeout", "5s"),
        ("lock_timeout", "2s"),
        ("TimeZone", "UTC"),
        ("application_name", "clarion-test"),
    ):
        assert await database.pool.fetchval("SELECT current_setting($1)", setting) == wanted


async def test_migrated_database_answers_the_ping(database: Database) -> None:
    await ping(database.pool)


async def test_database_that_is_not_migrated_is_unavailable(database: Database) -> None:
    async with pool(database.url.rpartition("/")[0] + "/postgres", size=1, application="test") as unmigrated:
        with pytest.raises(LedgerUnavailable, match="not migrated"):
            await ping(unmigrated)


async def test_database_that_does_not_exist_yet_is_unavailable(database: Database) -> None:
    async with pool(database.url.rpartition("/")[0] + "/nowhere", size=1, application="test") as absent:
        with pytest.raises(LedgerUnavailable):
            await ping(absent)


async def test_server_that_is_not_there_is_unavailable(unused_tcp_port: int) -> None:
    async with pool(f"postgresql://u:p@127.0.0.1:{unused_tcp_port}/x", size=1, application="test") as absent:
        with pytest.raises(LedgerUnavailable):
            await ping(absent)


async def test_connection_that_was_cut_is_unavailable_and_the_next_one_works(database: Database) -> None:
    async def work_on_a_cut_connection() -> None:
        async with connection(database.pool) as cut:
            pid = await cut.fetchval("SELECT pg_backend_pid()")
            await database.pool.execute("SELECT pg_terminate_backend($1)", pid)
            await cut.fetchval("SELECT 1")

    with pytest.raises(LedgerUnavailable):
        await work_on_a_cut_connection()

    await eventually_answers(database.pool)


async def test_wait_for_a_connection_is_bounded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "ACQUIRE_TIMEOUT_SECONDS", 0.05)
    async with pool(database.url, size=1, application="test") as single, connection(single):
        with pytest.raises(LedgerUnavailable):
            await ping(single)


async def test_full_disk_is_told_apart(database: Database) -> None:
    with pytest.raises(DomainError) as refused:
        async with connection(database.pool):
            raise asyncpg.DiskFullError("no space left on device")

    assert refused.value.reason is ErrorReason.STORAGE_FULL


async def test_cancelled_work_gives_its_connection_back(database: Database) -> None:
    async with pool(database.url, size=1, application="test") as single:

        async def long_work() -> None:
            async with connection(single) as held:
                started.set()
                await held.execute("SELECT pg_sleep(4)")

        started = asyncio.Event()
        task = asyncio.create_task(long_work())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        await ping(single)
