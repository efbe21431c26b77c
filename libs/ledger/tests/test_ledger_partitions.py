"""Partitions and epochs, made ahead of time."""

from datetime import UTC, datetime, timedelta

from clarion_ledger import flow
from clarion_ledger.accept import accept
from clarion_testkit.plugin import App, Database

from .ledger_samples import accepted, item

PARTITIONED = ("notification", "notification_body", "delivery", "delivery_body", "attempt", "event")


async def test_partitions_stand_fourteen_days_ahead(database: Database) -> None:
    await flow.ensure_partitions(database.pool)

    for days in (0, 14):
        day = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y%m%d")
        for table in PARTITIONED:
            assert await database.pool.fetchval("SELECT to_regclass($1) IS NOT NULL", f"ledger.{table}_{day}")
    assert await flow.ensure_partitions(database.pool) == 0


async def test_rows_of_now_lie_in_a_partition_of_their_day(database: Database, app: App) -> None:
    await accept(database.pool, [item(app, "e1")])

    for table in ("notification", "notification_body", "event"):
        assert await database.pool.fetchval(f"SELECT count(*) FROM ledger.{table}_default") == 0


async def test_epoch_of_event_ids_never_goes_back(database: Database, app: App) -> None:
    [first] = await accept(database.pool, [item(app, "e1")])
    epoch = await database.pool.fetchval("SELECT epoch FROM ledger.event_epoch")

    await database.pool.execute("UPDATE ledger.event_epoch SET epoch = $1", epoch - 1)
    assert await database.pool.fetchval("SELECT ledger.rotate_event_epoch()") == epoch
    await database.pool.execute("UPDATE ledger.event_epoch SET epoch = $1", epoch + 1)
    assert await database.pool.fetchval("SELECT ledger.rotate_event_epoch()") == epoch + 1

    [second] = await accept(database.pool, [item(app, "e1")])
    assert accepted(second).notification_id == accepted(first).notification_id
