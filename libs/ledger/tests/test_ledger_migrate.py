"""Migrations against a real Postgres."""

import asyncio
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from clarion_ledger import migrate

STEPS = [f"{number:04}" for number in range(1, 27)]


@pytest_asyncio.fixture
async def empty_url(ledger_url: str) -> AsyncIterator[str]:
    """A database without anything of ours."""
    name = f"empty_{uuid4().hex[:8]}"
    server = await asyncpg.connect(ledger_url)
    try:
        await server.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(urlsplit(ledger_url)._replace(path=f"/{name}"))
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


async def test_empty_database_has_every_step_before_it_and_none_after(empty_url: str) -> None:
    before = await asyncio.to_thread(migrate.status, empty_url)

    await asyncio.to_thread(migrate.upgrade, empty_url)

    after = await asyncio.to_thread(migrate.status, empty_url)
    assert (before.current, before.pending) == (None, STEPS)
    assert (after.current, after.head, after.pending) == (STEPS[-1], STEPS[-1], [])


async def test_second_upgrade_changes_nothing(own_url: str) -> None:
    connection = await asyncpg.connect(own_url)
    try:
        await connection.execute("UPDATE ledger.config_revision SET revision = 41")
        await asyncio.to_thread(migrate.upgrade, own_url)
        assert await connection.fetchval("SELECT revision FROM ledger.config_revision") == 41
    finally:
        await connection.close()


async def test_two_databases_of_one_process_are_upgraded_at_once(empty_url: str, ledger_url: str) -> None:
    other = f"other_{uuid4().hex[:8]}"
    server = await asyncpg.connect(ledger_url)
    try:
        await server.execute(f"CREATE DATABASE {other}")
        urls = [empty_url, urlunsplit(urlsplit(ledger_url)._replace(path=f"/{other}"))]
        await asyncio.gather(*(asyncio.to_thread(migrate.upgrade, url) for url in urls))

        assert [(await asyncio.to_thread(migrate.status, url)).pending for url in urls] == [[], []]
        await server.execute(f"DROP DATABASE {other} WITH (FORCE)")
    finally:
        await server.close()


async def test_two_upgrades_at_once_apply_each_step_once(empty_url: str) -> None:
    program = "import sys; from clarion_ledger import migrate; migrate.upgrade(sys.argv[1])"
    upgrades = [await asyncio.create_subprocess_exec(sys.executable, "-c", program, empty_url) for _ in range(2)]

    statuses = await asyncio.gather(*(asyncio.wait_for(upgrade.wait(), 40) for upgrade in upgrades))

    assert statuses == [0, 0]
    assert (await asyncio.to_thread(migrate.status, empty_url)).pending == []


async def test_url_of_several_hosts_leads_to_the_one_that_takes_writes(empty_url: str) -> None:
    who, _, place = empty_url.rpartition("@")
    address, _, name = place.partition("/")
    several = f"{who}@127.0.0.1:1,{address}/{name}?target_session_attrs=read-write"

    await asyncio.to_thread(migrate.upgrade, several)

    assert (await asyncio.to_thread(migrate.status, several)).pending == []


def test_url_of_another_database_is_refused() -> None:
    with pytest.raises(ValueError, match="postgresql://"):
        migrate.status("mysql://localhost/clarion")
