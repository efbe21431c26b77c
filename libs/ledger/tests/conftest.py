"""One database for all tests of the ledger, emptied before each: copying a migrated one costs half a second."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest_asyncio

from clarion_ledger.db import pool
from clarion_testkit.plugin import Database

_EMPTY = """
DELETE FROM ledger.attempt; DELETE FROM ledger.event; DELETE FROM ledger.dead_letter;
DELETE FROM ledger.delivery_work; DELETE FROM ledger.sms_charge; DELETE FROM ledger.plan_work; DELETE FROM ledger.schedule;
DELETE FROM ledger.delivery_body; DELETE FROM ledger.delivery; DELETE FROM ledger.notification_body;
DELETE FROM ledger.notification; DELETE FROM ledger.event_key; DELETE FROM ledger.test_send;
DELETE FROM ledger.digest; DELETE FROM ledger.stream_seen; DELETE FROM ledger.lease; DELETE FROM ledger.frame;
DELETE FROM ledger.receipt_tally; DELETE FROM ledger.lane_quality; DELETE FROM tracking.segment;
DELETE FROM ledger.lane_stop; DELETE FROM ledger.broadcast; DELETE FROM ledger.recurring; DELETE FROM preference.recipient;
DELETE FROM ledger.route; DELETE FROM ledger.lane; DELETE FROM ledger.category; DELETE FROM ledger.app_key;
DELETE FROM ledger.data_key; DELETE FROM ledger.app;
UPDATE ledger.event_epoch SET epoch = ledger.epoch_of(now());
"""


class Databases(Protocol):
    def fresh(self) -> AbstractAsyncContextManager[str]: ...


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ledger_url(postgres_databases: Databases) -> AsyncIterator[str]:
    async with postgres_databases.fresh() as url:
        yield url


@pytest_asyncio.fixture
async def database(ledger_url: str) -> AsyncIterator[Database]:
    """The ledger's database, empty."""
    async with pool(ledger_url, size=8, application="test") as connections:
        await connections.execute(_EMPTY)
        yield Database(ledger_url, connections)


@pytest_asyncio.fixture
async def own_url(postgres_databases: Databases) -> AsyncIterator[str]:
    """A database of this test alone, for what would disturb the others."""
    async with postgres_databases.fresh() as url:
        yield url
