"""One database for all tests, its work emptied before each: copying a migrated one costs half a second."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import uuid4

import pytest_asyncio

from clarion_kit.bus import JetStreamBus
from clarion_kit.sealing import KeyWrapper
from clarion_kit.telemetry.provider import Telemetry
from clarion_ledger.db import pool
from clarion_testkit.plugin import App, Database

from .scheduler_samples import Replica, new_app, replica_of

_EMPTY = """
DELETE FROM ledger.plan_work; DELETE FROM ledger.delivery_work; DELETE FROM ledger.schedule;
DELETE FROM ledger.stream_seen; DELETE FROM ledger.lease; DELETE FROM ledger.lane_stop;
DELETE FROM ledger.broadcast; DELETE FROM ledger.recurring;
"""


class Databases(Protocol):
    def fresh(self) -> AbstractAsyncContextManager[str]: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scheduler_url(postgres_databases: Databases) -> AsyncIterator[str]:
    async with postgres_databases.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def database(scheduler_url: str) -> AsyncIterator[Database]:
    """The ledger, with nothing to do."""
    async with pool(scheduler_url, size=8, application="test") as connections:
        await connections.execute(_EMPTY)
        yield Database(scheduler_url, connections)


@pytest_asyncio.fixture
async def app(database: Database, kek: KeyWrapper) -> App:
    return await new_app(database.pool, kek, f"app-{uuid4().hex[:12]}")


@pytest_asyncio.fixture
async def replica(database: Database, bus: JetStreamBus, telemetry: Telemetry) -> Replica:
    """Its runway is open."""
    made = replica_of(database.pool, bus, telemetry)
    await made.runway.refresh()
    return made
