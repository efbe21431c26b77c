import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from clarion_ledger import migrate
from clarion_testkit.faults.signals import Signals
from clarion_testkit.faults.standby import PostgresPair


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[PostgresPair]:
    async with PostgresPair(tmp_path) as pair:
        yield pair


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(statement, timeout=10)
    finally:
        await connection.close(timeout=5)


async def value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(query, timeout=10)
    finally:
        await connection.close(timeout=5)


async def test_standby_has_every_acknowledged_row_and_takes_over_under_the_same_url(pair: PostgresPair) -> None:
    await execute(pair.url(), "CREATE TABLE kept (number int)")
    connection = await asyncpg.connect(pair.url(), timeout=10)
    acknowledged = 0
    for number in range(100):
        await connection.execute("INSERT INTO kept VALUES ($1)", number)
        acknowledged += 1

    await pair.kill_primary()
    connection.terminate()
    await pair.promote()

    assert await value(pair.url(), "SELECT count(*) FROM kept") == acknowledged == 100
    await execute(pair.url(), "INSERT INTO kept VALUES (100)")


async def test_commit_waits_for_a_frozen_standby(pair: PostgresPair) -> None:
    await execute(pair.url(), "CREATE TABLE kept (number int)")
    async with Signals() as signals:
        await signals.freeze(pair.standby.process.pid, tree=True)
        connection = await asyncpg.connect(pair.primary.url(), timeout=10)
        insert = asyncio.create_task(connection.execute("INSERT INTO kept VALUES (1)"))
        done, _ = await asyncio.wait([insert], timeout=0.3)
        assert not done

        signals.thaw(pair.standby.process.pid)

        assert await asyncio.wait_for(insert, 10) == "INSERT 0 1"
        await connection.close(timeout=5)


async def test_standby_refuses_writes_until_it_is_promoted(pair: PostgresPair) -> None:
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await execute(pair.standby.url(), "CREATE TABLE kept (number int)")


async def test_migrations_run_over_the_url_of_both_servers(pair: PostgresPair) -> None:
    # The standby first: the driver has to look for the one that takes writes.
    await asyncio.to_thread(migrate.upgrade, _turned(pair.url()))

    assert (await asyncio.to_thread(migrate.status, pair.url())).pending == []


def _turned(url: str) -> str:
    who, _, rest = url.rpartition("@")
    addresses, _, path = rest.partition("/")
    return f"{who}@{','.join(reversed(addresses.split(',')))}/{path}"
