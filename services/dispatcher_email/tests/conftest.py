"""One migrated database for all tests of this dispatcher: copying one costs half a second."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest_asyncio

from clarion_ledger.db import pool
from clarion_testkit.plugin import Database


class Databases(Protocol):
    def fresh(self) -> AbstractAsyncContextManager[str]: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def dispatcher_email_url(postgres_databases: Databases) -> AsyncIterator[str]:
    async with postgres_databases.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def database(dispatcher_email_url: str) -> AsyncIterator[Database]:
    async with pool(dispatcher_email_url, size=4, application="test") as connections:
        yield Database(dispatcher_email_url, connections)
