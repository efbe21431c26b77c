"""Seeded rows are such as sending would have left: the audit finds nothing wrong with them, and nothing is in flight."""

from collections.abc import Mapping

import pytest

from clarion_ledger.audit import BEGINNING, audit
from clarion_ledger.db import Pool
from clarion_local.bench import records, seeding
from clarion_testkit.plugin import Database

ROWS = 320
_COUNTS = """
SELECT (SELECT count(*) FROM ledger.notification) AS notification, (SELECT count(*) FROM ledger.delivery) AS delivery,
       (SELECT count(*) FROM ledger.attempt) AS attempt, (SELECT count(*) FROM ledger.event) AS event,
       (SELECT count(*) FROM ledger.event_key) AS event_key
"""
_PARTITIONS = "SELECT count(DISTINCT tableoid) FROM ledger.delivery"


async def _counts(pool: Pool) -> Mapping[str, int]:
    row = await pool.fetchrow(_COUNTS)
    assert row is not None
    return dict(row)


async def test_history_is_sound_and_lies_in_a_partition_a_day(database: Database) -> None:
    await seeding.history(database.url, ROWS)

    found = await audit(database.pool, since=BEGINNING)
    assert await _counts(database.pool) == {
        "notification": ROWS,
        "delivery": ROWS,
        "attempt": ROWS,
        "event": 3 * ROWS,
        "event_key": ROWS,
    }
    assert await database.pool.fetchval(_PARTITIONS) == seeding.DAYS
    assert (found.unaccounted, found.accepted, found.deliveries, found.in_flight) == (0, ROWS, ROWS, 0)


async def test_sends_of_the_future_are_not_in_flight_for_a_stretch_and_can_be_forgotten(database: Database) -> None:
    app_id, _ = await seeding.future(database.url, 50)

    waiting = await database.pool.fetchval("SELECT count(*) FROM ledger.schedule")
    beside = await records.in_flight(database.pool)
    await seeding.forget_future(database.url, app_id)

    assert (waiting, beside) == (50, 0)
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.schedule") == 0


@pytest.mark.parametrize("rows", [1, seeding.DAYS])
async def test_every_day_has_at_least_a_row(database: Database, rows: int) -> None:
    await seeding.history(database.url, rows)

    assert (await _counts(database.pool))["delivery"] == seeding.DAYS
