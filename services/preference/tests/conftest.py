"""What the tests of the preference daemon share: one database for all of them, an app of its own for each."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import Protocol

import pytest_asyncio
from hypothesis import settings

from clarion_kit.sealing import KeyWrapper
from clarion_ledger import admin
from clarion_ledger.db import Pool, pool
from clarion_ledger.keys import KeyRing
from clarion_preference.adapters.address_book import PostgresAddressBook
from clarion_preference.adapters.directory import PostgresDirectory
from clarion_testkit.plugin import App, Database

settings.register_profile("no timing", deadline=None)
settings.load_profile("no timing")

_names = count(1)


class Databases(Protocol):
    def fresh(self) -> AbstractAsyncContextManager[str]: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_url(postgres_databases: Databases) -> AsyncIterator[str]:
    """A migrated database; copying one costs more than all that a test does in it."""
    async with postgres_databases.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def database(shared_url: str) -> AsyncIterator[Database]:
    async with pool(shared_url, size=8, application="test") as connections:
        yield Database(shared_url, connections)


@pytest_asyncio.fixture
async def app(database: Database, kek: KeyWrapper) -> App:
    row = await admin.create_app(database.pool, kek, f"app{next(_names)}")
    return App(row.app_id, KeyRing(database.pool, kek), {})


@pytest_asyncio.fixture
async def other_app(database: Database, kek: KeyWrapper) -> App:
    row = await admin.create_app(database.pool, kek, f"app{next(_names)}")
    return App(row.app_id, KeyRing(database.pool, kek), {})


@pytest_asyncio.fixture
async def daemon_pool(database: Database) -> AsyncIterator[Pool]:
    """Connections with the daemon's own role, so that a missing grant fails a test."""
    async with pool(f"{database.url}?role=clarion_preference", size=8, application="test") as connections:
        yield connections


@pytest_asyncio.fixture
async def directory(daemon_pool: Pool, kek: KeyWrapper) -> PostgresDirectory:
    return PostgresDirectory(daemon_pool, KeyRing(daemon_pool, kek))


@pytest_asyncio.fixture
async def book(daemon_pool: Pool) -> PostgresAddressBook:
    return PostgresAddressBook(daemon_pool)
