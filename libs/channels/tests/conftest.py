"""One migrated database for all tests of the engine, an app of its own for each: copying one costs half a second."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import Protocol

import pytest_asyncio

from clarion_kit.sealing import KeyWrapper
from clarion_ledger import admin
from clarion_ledger.db import pool
from clarion_ledger.keys import KeyRing
from clarion_testkit.plugin import App, Database

_names = count(1)


class Databases(Protocol):
    def fresh(self) -> AbstractAsyncContextManager[str]: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine_url(postgres_databases: Databases) -> AsyncIterator[str]:
    async with postgres_databases.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def database(engine_url: str) -> AsyncIterator[Database]:
    async with pool(engine_url, size=4, application="test") as connections:
        await connections.execute("DELETE FROM ledger.lane_stop")  # a stop is every engine's business
        yield Database(engine_url, connections)


@pytest_asyncio.fixture
async def app(database: Database, kek: KeyWrapper) -> App:
    row = await admin.create_app(database.pool, kek, f"shop{next(_names)}")
    rows = await database.pool.fetch("SELECT name, category_id FROM ledger.category WHERE app_id = $1", row.app_id)
    return App(row.app_id, KeyRing(database.pool, kek), {found["name"]: found["category_id"] for found in rows})
