"""What a daemon requires of its database before it serves."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from clarion_ledger import db
from clarion_ledger.db import LedgerUnavailable
from clarion_ledger.durable import Ready, UnsafeDatabase
from clarion_local.servers.postgres import PostgresServer
from clarion_testkit.plugin import Database

NEEDS = "ledger.delivery_work"


@asynccontextmanager
async def server_with(folder: Path, **settings: str) -> AsyncIterator[str]:
    """A Postgres of its own, as a careless administrator would run it; its URL."""
    server = PostgresServer(folder, settings=settings)
    await server.start()
    try:
        yield server.url()
    finally:
        await server.stop(timedelta(seconds=10))


async def test_sound_database_is_ready_and_the_lack_of_a_standby_is_said_once(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    ready = Ready(database.pool, NEEDS)
    with caplog.at_level(logging.WARNING):
        await ready()
        await ready()

    assert [record.message for record in caplog.records if "standby" in record.message] == [caplog.records[0].message]


async def test_database_that_may_forget_is_refused_with_every_fault_named(tmp_path: Path) -> None:
    async with (
        server_with(tmp_path, fsync="off", full_page_writes="off") as url,
        db.pool(url, size=1, application="test") as pool,
    ):
        with pytest.raises(UnsafeDatabase) as refused:
            await Ready(pool, "pg_catalog.pg_class")()

    assert [fault.partition(" = ")[0].rpartition(" ")[2] for fault in refused.value.faults] == [
        "fsync",
        "full_page_writes",
    ]
    assert all(fault.startswith("CLARION_DATABASE_URL: ") for fault in refused.value.faults)


async def test_sessions_commit_synchronously_whatever_the_server_says(database: Database) -> None:
    await database.pool.execute(
        "ALTER DATABASE " + await database.pool.fetchval("SELECT current_database()") + " SET synchronous_commit = off"
    )
    async with db.pool(database.url, size=1, application="test") as pool:
        await Ready(pool, NEEDS)()

        assert await pool.fetchval("SHOW synchronous_commit") == "on"


async def test_production_needs_a_synchronous_standby(database: Database) -> None:
    with pytest.raises(UnsafeDatabase, match="synchronous_standby_names"):
        await Ready(database.pool, NEEDS, production=True)()


async def test_database_without_the_newest_table_is_not_ready(database: Database) -> None:
    with pytest.raises(LedgerUnavailable, match=r"ledger\.tomorrow is missing"):
        await Ready(database.pool, "ledger.tomorrow")()
