"""Row 7: what commits late is not skipped, whatever was moved before it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast
from uuid import UUID

from clarion_kit.subjects import plan_lane
from clarion_kit.vocabulary import Priority
from clarion_ledger import flow
from clarion_ledger.accept import Accepted, accept
from clarion_ledger.db import Connection, Pool
from clarion_testkit.plugin import App, Database

from .ledger_items import item

LANE = plan_lane(Priority.NORMAL)


class OneConnection:
    """A pool that gives out one connection, so that its caller decides when it commits."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def acquire(self, *, timeout: float) -> AsyncIterator[Connection]:
        yield self._connection


async def accepted(pool: Pool, app: App, event_id: str) -> UUID:
    [result] = await accept(pool, [item(app.app_id, app.categories["transactional"], event_id)])
    assert isinstance(result, Accepted)
    return result.notification_id


async def test_notification_that_commits_after_a_younger_one_was_moved_is_moved_too(
    database: Database, app: App
) -> None:
    async with database.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        late = await accepted(cast(Pool, OneConnection(connection)), app, "late")
        young = await accepted(database.pool, app, "young")

        moved_before = await flow.pump(database.pool, LANE, 10)
        await transaction.commit()
    moved_after = await flow.pump(database.pool, LANE, 10)

    assert late < young
    assert moved_before.ids == [young]
    assert moved_after.ids == [late]
