"""Rollups in a real Postgres: each event counts once, whatever dies, overlaps or commits late."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest

from clarion_kit import crash
from clarion_kit.errors import DomainError
from clarion_kit.vocabulary import Channel, DeliveryState, Reason, Receipt
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool, of_app, pool
from clarion_ledger.ids import delivery_id
from clarion_ledger.receipts import ReceiptFor, apply
from clarion_testkit.plugin import App, Database
from clarion_tracker.activity import Kind
from clarion_tracker.adapters import stats_table
from clarion_tracker.adapters.counted_wishes import CountedWishes
from clarion_tracker.adapters.rollup_table import RollupTable
from clarion_tracker.adapters.stats_table import StatsTable
from clarion_tracker.funnel import MEASURES
from clarion_tracker.statistics import DAY, HOUR, Bucket, Dimension, Kept, Key, Query, Window

from .tracker_ledger_samples import claimed_sms, send, sms_lane
from .tracker_lives import World, rolled_cells, true_cells

CHILD = "services.tracker.tests.rollup_child"
ROOT = Path(__file__).resolve().parents[3]
KEPT = Kept(timedelta(days=35), timedelta(days=400))


@pytest.fixture
async def tracker_pool(database: Database) -> AsyncIterator[Pool]:
    async with pool(f"{database.url}?role=clarion_tracker", size=4, application="test") as connections:
        yield connections


@pytest.fixture
def rollups(tracker_pool: Pool) -> RollupTable:
    return RollupTable(tracker_pool)


@pytest.fixture
async def world(database: Database, app: App) -> World:
    return await World(database.pool, app, Random(7)).open()


async def roll_all(rollups: RollupTable, most: int = 10_000) -> None:
    while (await rollups.step(most)).more:
        pass


async def everything(tracker_pool: Pool, app: App, **asked: object) -> Query:
    """All that was accepted around now."""
    now = await tracker_pool.fetchval("SELECT date_bin('1 hour', now(), 'epoch')")
    return Query((app.app_id,), Window(now - HOUR, now + 2 * HOUR, Bucket.HOUR), **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(("seed", "most"), [(1, 1), (2, 7)])
async def test_counts_are_those_of_the_ledger_however_steps_fall(
    database: Database, app: App, rollups: RollupTable, seed: int, most: int
) -> None:
    random = Random(seed)
    world = await World(database.pool, app, random).open()
    for _ in range(4):
        await world.happen(8)
        for _ in range(random.randint(0, 3)):
            await rollups.step(most)

    await roll_all(rollups, most)

    assert await rolled_cells(database.pool) == await true_cells(database.pool)


@pytest.mark.parametrize("point", ["rollup.before_commit", "rollup.after_commit"])
async def test_roller_that_dies_counts_nothing_twice(
    database: Database, world: World, rollups: RollupTable, point: str
) -> None:
    await world.happen(20)
    for _ in range(2):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", CHILD, database.url, env={**os.environ, crash.VARIABLE: point}, cwd=ROOT
        )
        assert await asyncio.wait_for(child.wait(), 30) == crash.EXIT_STATUS

    await roll_all(rollups)

    assert await rolled_cells(database.pool) == await true_cells(database.pool)


async def test_rollers_at_once_count_each_event_once(database: Database, world: World, tracker_pool: Pool) -> None:
    await world.happen(20)

    await asyncio.gather(*(roll_all(RollupTable(tracker_pool), 5) for _ in range(4)))

    assert await rolled_cells(database.pool) == await true_cells(database.pool)


async def test_transaction_that_commits_late_is_counted_and_until_then_nothing_is_complete(
    database: Database, app: App, world: World, rollups: RollupTable
) -> None:
    sms = await claimed_sms(database.pool, app)
    await send(database.pool, sms, "1")
    await roll_all(rollups)
    async with database.pool.acquire() as late:
        transaction = late.transaction()
        await transaction.start()
        await late.execute(
            "INSERT INTO ledger.event (notification_id, delivery_id, app_id, lane_id, kind, state, receipt, former) "
            "SELECT notification_id, id, app_id, lane_id, 6, 20, 2, 0 FROM ledger.delivery WHERE id = $1",
            sms.id,
        )
        began = await late.fetchval("SELECT now()")
        await world.plan()
        await roll_all(rollups)
        held_back = await rollups.step(10_000)
        await late.execute("UPDATE ledger.delivery SET receipt = 2 WHERE id = $1", sms.id)
        await transaction.commit()

    await roll_all(rollups)
    after = await rollups.step(10_000)

    assert held_back.as_of <= began < after.as_of
    assert await rolled_cells(database.pool) == await true_cells(database.pool)


async def test_idle_ledger_is_complete_up_to_now(tracker_pool: Pool, rollups: RollupTable) -> None:
    before = await tracker_pool.fetchval("SELECT now()")

    step = await rollups.step(10)

    assert (step.events, step.more) == (0, False)
    assert step.as_of > before


async def test_backlog_is_not_complete_before_its_last_step(world: World, rollups: RollupTable) -> None:
    await world.plan(5)
    before = await world.pool.fetchval("SELECT now()")

    first = await rollups.step(3)
    await roll_all(rollups, 3)

    assert first.more
    assert first.as_of < before < (await rollups.step(3)).as_of


async def test_corrected_receipt_counts_back(database: Database, app: App, rollups: RollupTable) -> None:
    sms = await claimed_sms(database.pool, app)
    await send(database.pool, sms, "1")
    for receipt in (Receipt.UNDELIVERED, Receipt.DELIVERED, Receipt.DELIVERED, Receipt.CLICKED):
        await apply(database.pool, [ReceiptFor(sms.id, receipt)])
        await roll_all(rollups)

    row = await database.pool.fetchrow(
        "SELECT undelivered, delivered, opened, clicked FROM tracking.rollup_hour WHERE lane_id = $1 AND grain = 0",
        sms.lane_id,
    )
    assert row is not None
    assert tuple(row) == (0, 1, 1, 1)


async def test_delivery_that_another_account_takes_over_counts_there_alone(
    database: Database, app: App, rollups: RollupTable
) -> None:
    other = await sms_lane(database.pool, app)
    sms = await claimed_sms(database.pool, app)
    await roll_all(rollups)
    await database.pool.execute("UPDATE ledger.delivery_work SET lane_id = $1", other)
    await send(database.pool, sms, "1")
    await roll_all(rollups)

    rows = await database.pool.fetch(
        "SELECT lane_id, planned, sent FROM tracking.rollup_hour WHERE channel > 0 AND planned <> 0 AND grain = 0"
    )

    assert [tuple(row) for row in rows] == [(other, 1, 1)]


async def test_redriven_delivery_is_planned_once_more(database: Database, app: App, rollups: RollupTable) -> None:
    sms = await claimed_sms(database.pool, app)
    again = delivery_id(sms.claimed.notification_id, uuid4(), Channel.SMS, uuid4(), epoch=1)
    await database.pool.execute(
        """
        WITH made AS (
            INSERT INTO ledger.delivery (id, redrive_of, notification_id, recipient_ref, app_id, category_id, lane_id, channel,
                                         priority, state)
            SELECT $2, id, notification_id, recipient_ref, app_id, category_id, lane_id, channel, priority, 4
            FROM ledger.delivery WHERE id = $1 RETURNING *
        )
        INSERT INTO ledger.event (notification_id, delivery_id, app_id, kind, state) SELECT notification_id, id, app_id, 9, 4 FROM made
        """,
        sms.id,
        again,
    )

    await roll_all(rollups)

    assert await rolled_cells(database.pool) == await true_cells(database.pool)


async def test_events_of_a_pruned_delivery_are_passed_over(
    database: Database, world: World, rollups: RollupTable
) -> None:
    await world.happen(10)
    await database.pool.execute("DELETE FROM ledger.delivery")
    await database.pool.execute("DELETE FROM ledger.notification")

    await roll_all(rollups)
    await world.happen(10)
    await roll_all(rollups)

    cells = await rolled_cells(database.pool)
    assert all(count > 0 for count in cells.values())


async def test_activity_counts_where_no_receipt_does(
    database: Database, app: App, tracker_pool: Pool, rollups: RollupTable
) -> None:
    for kind, machine, late, times in (
        (Kind.OPENED, True, False, 1),
        (Kind.CLICKED, True, False, 2),
        (Kind.OPENED, False, False, 3),
        (Kind.OPENED, False, True, 4),
        (Kind.CLICKED, False, True, 5),
        (Kind.RECEIVED, False, True, 6),
        (Kind.CONVERTED, False, False, 7),
        (Kind.CONVERTED, False, True, 1),
    ):
        for _ in range(times):
            await _act(database.pool, app, kind, machine=machine, late=late)

    await roll_all(rollups, 3)

    total = (await StatsTable(tracker_pool).count(await everything(tracker_pool, app))).total
    assert {name: count for name in MEASURES if (count := getattr(total, name))} == {
        "machine_opened": 1,
        "machine_clicked": 2,
        "opened": 4,
        "clicked": 5,
        "delivered": 6,
        "converted": 8,
    }


async def _act(pool: Pool, app: App, kind: Kind, *, machine: bool, late: bool) -> None:
    await pool.execute(
        "INSERT INTO tracking.activity (delivery_id, app_id, category_id, template_version, channel, country, kind, machine, late)"
        " VALUES (uuidv7(), $1, $2, 3, 5, 'DE', $3, $4, $5)",
        app.app_id,
        app.categories["marketing"],
        kind,
        machine,
        late,
    )


class _Wishes:
    def __init__(self) -> None:
        self.told: list[tuple[UUID, str]] = []

    async def unsubscribe(self, app_id: int, recipient_ref: UUID, category: str, channel: Channel) -> None:
        self.told.append((recipient_ref, category))


async def test_unsubscribes_are_counted_by_category_and_channel(
    app: App, tracker_pool: Pool, rollups: RollupTable
) -> None:
    wishes, config = _Wishes(), ConfigCache(tracker_pool, with_lanes=True)
    await config.refresh()
    counting = CountedWishes(wishes, tracker_pool, config)
    for category in ("marketing", "gone"):
        await counting.unsubscribe(app.app_id, UUID(int=1), category, Channel.EMAIL)
    await roll_all(rollups)
    await roll_all(rollups)

    query = await everything(tracker_pool, app, group_by=(Dimension.CATEGORY, Dimension.CHANNEL))
    [group] = (await StatsTable(tracker_pool).count(query)).groups

    assert wishes.told == [(UUID(int=1), "marketing"), (UUID(int=1), "gone")]
    assert group.key == Key(category_id=app.categories["marketing"], channel=Channel.EMAIL)
    assert group.counts.unsubscribed == 1


async def test_counts_past_their_time_are_forgotten_in_batches(
    database: Database, world: World, rollups: RollupTable
) -> None:
    await world.happen(20)
    await roll_all(rollups)
    kept = await rolled_cells(database.pool)
    for table in ("rollup_hour", "reason_hour", "rollup_day", "reason_day"):
        names = await database.pool.fetchval(
            "SELECT string_agg(attname, ', ') FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 1",
            f"tracking.{table}",
        )
        for days in (36, 401):
            await database.pool.execute(
                f"INSERT INTO tracking.{table} (at, {names}) SELECT at - interval '{days} days', {names} "
                f"FROM tracking.{table} WHERE at > now() - interval '3 days'"
            )

    deleted = [await rollups.prune(KEPT, 5)]
    while deleted[-1]:
        deleted.append(await rollups.prune(KEPT, 1_000))

    assert deleted[0] <= 20
    assert (
        await database.pool.fetchval("SELECT count(*) FROM tracking.rollup_hour WHERE at < now() - interval '35 days'")
        == 0
    )
    assert (
        await database.pool.fetchval("SELECT count(*) FROM tracking.rollup_day WHERE at < now() - interval '35 days'")
        > 0
    )
    assert (
        await database.pool.fetchval("SELECT count(*) FROM tracking.reason_day WHERE at < now() - interval '400 days'")
        == 0
    )
    for table in ("rollup_day", "reason_day"):
        await database.pool.execute(f"DELETE FROM tracking.{table} WHERE at < now() - interval '35 days'")
    assert await rolled_cells(database.pool) == kept


async def test_answer_is_grouped_filtered_and_says_why(world: World, tracker_pool: Pool, rollups: RollupTable) -> None:
    await world.happen(40)
    await roll_all(rollups)
    table = StatsTable(tracker_pool)
    whole = (await table.count(await everything(tracker_pool, world.app))).groups[0]

    for dimension in Dimension:
        query = await everything(tracker_pool, world.app, group_by=(dimension,), bucket=Bucket.HOUR)
        assert (await table.count(query)).total == whole.counts
    channels = await table.count(
        await everything(tracker_pool, world.app, group_by=(Dimension.CHANNEL,), channels=(Channel.SMS,))
    )
    [germans] = (await table.count(await everything(tracker_pool, world.app, countries=("DE",)))).groups

    assert whole.counts.accepted > 0
    assert whole.counts.planned > whole.counts.ended > whole.counts.sent > 0
    assert sum(one.count for one in whole.reasons if one.state is DeliveryState.SUPPRESSED) == whole.counts.suppressed
    assert {one.reason for one in whole.reasons if one.state is DeliveryState.SUPPRESSED} == {
        Reason.OPTED_OUT,
        Reason.CAPPED,
    }
    assert [group.key.channel for group in channels.groups] == [0, Channel.SMS]
    assert channels.groups[0].counts.accepted == whole.counts.accepted
    truth = await world.pool.fetchrow(
        "SELECT (SELECT count(*) FROM ledger.delivery WHERE country = 'DE'), (SELECT count(*) FROM ledger.delivery WHERE channel = 4)"
    )
    assert truth is not None
    assert (germans.counts.planned, channels.groups[1].counts.planned) == tuple(truth)


async def test_days_and_hours_together_answer_a_long_window(
    world: World, tracker_pool: Pool, rollups: RollupTable
) -> None:
    await world.happen(20)
    await roll_all(rollups)
    table = StatsTable(tracker_pool)
    near = await everything(tracker_pool, world.app)
    long = Query(near.apps, Window(near.window.since - timedelta(days=30), near.window.until, Bucket.HOUR))
    days = Query(
        near.apps,
        Window(
            near.window.since.replace(hour=0) - timedelta(days=2),
            near.window.until.replace(hour=0) + timedelta(days=2),
            Bucket.DAY,
        ),
        bucket=Bucket.DAY,
    )

    answers = [await table.count(query) for query in (near, long, days)]

    assert answers[0].total == answers[1].total == answers[2].total


async def test_templates_are_told_apart_by_name_and_version(
    world: World, tracker_pool: Pool, rollups: RollupTable
) -> None:
    await world.happen(40)
    await roll_all(rollups)
    table = StatsTable(tracker_pool)

    async def planned(**asked: object) -> dict[tuple[str | None, int | None], int]:
        counted = await table.count(await everything(tracker_pool, world.app, **asked))
        found = {(one.key.template, one.key.template_version): one.counts.planned for one in counted.groups}
        return {key: count for key, count in found.items() if count}

    truth = {
        (row["template"], row["version"]): row["n"]
        for row in await world.pool.fetch(
            "SELECT CASE WHEN d.template_version > 0 THEN coalesce(n.template, '') ELSE '' END AS template, "
            "coalesce(d.template_version, 0) AS version, count(*) AS n "
            "FROM ledger.delivery d JOIN ledger.notification n ON n.id = d.notification_id GROUP BY 1, 2"
        )
    }
    names, versions = {name for name, _ in truth}, {version for _, version in truth}

    both = (Dimension.TEMPLATE, Dimension.TEMPLATE_VERSION)
    assert await planned(group_by=both) == truth
    assert await planned(group_by=(Dimension.TEMPLATE,)) == {
        (name, None): sum(n for (one, _), n in truth.items() if one == name) for name in names
    }
    assert await planned(group_by=(Dimension.TEMPLATE_VERSION,)) == {
        (None, version): sum(n for (_, one), n in truth.items() if one == version) for version in versions
    }
    for wanted in ({"welcome"}, {"welcome", ""}, {"never sent"}):
        for version in (None, (2,), (0, 1)):
            asked = await planned(group_by=both, templates=tuple(wanted), template_versions=version)
            assert asked == {
                key: n for key, n in truth.items() if key[0] in wanted and (version is None or key[1] in version)
            }
    assert await planned(group_by=both, template_versions=(2,)) == {k: n for k, n in truth.items() if k[1] == 2}
    assert len(truth) > 4


async def test_templates_by_country_are_the_same_from_weeks_and_from_days(
    world: World, tracker_pool: Pool, rollups: RollupTable
) -> None:
    await world.happen(40)
    await roll_all(rollups)
    table = StatsTable(tracker_pool)
    near = await everything(tracker_pool, world.app)
    asked = Query(
        near.apps,
        Window(near.window.since.replace(hour=0) - 8 * DAY, near.window.until.replace(hour=0) + 8 * DAY, Bucket.DAY),
        group_by=(Dimension.TEMPLATE, Dimension.COUNTRY),
    )

    from_weeks = await table.count(asked)
    await world.pool.execute("UPDATE tracking.rollup_cursor SET weeks_place = ''")
    await world.pool.execute("UPDATE tracking.rollup_week SET planned = planned + 1")
    from_days = await table.count(asked)

    assert from_weeks == from_days
    assert from_days.total.planned > 0
    assert any(group.reasons for group in from_days.groups)


async def test_weeks_that_an_earlier_version_left_behind_are_added_up_anew(
    database: Database, world: World, rollups: RollupTable
) -> None:
    await world.happen(20)
    await roll_all(rollups)
    await database.pool.execute("DELETE FROM tracking.reason_week")
    await database.pool.execute("UPDATE tracking.rollup_week SET planned = 77")
    await database.pool.execute("UPDATE tracking.rollup_cursor SET as_of = as_of + interval '1 ms'")

    await world.happen(10)
    await roll_all(rollups)

    assert await rolled_cells(database.pool) == await true_cells(database.pool)


async def test_test_sends_are_counted_nowhere(database: Database, app: App, world: World, rollups: RollupTable) -> None:
    await world.happen(20)
    await database.pool.execute(
        "INSERT INTO ledger.test_send (notification_id, app_id) SELECT id, app_id FROM ledger.notification"
    )
    await database.pool.execute(
        "INSERT INTO tracking.activity (delivery_id, app_id, category_id, template_version, channel, country, kind, machine, late)"
        " SELECT id, app_id, category_id, 3, 5, 'DE', $1, true, false FROM ledger.delivery",
        Kind.OPENED,
    )

    await roll_all(rollups)

    assert await rolled_cells(database.pool) == {}


async def test_apps_see_only_their_own_counts(world: World, tracker_pool: Pool, rollups: RollupTable) -> None:
    await world.plan()
    await roll_all(rollups)
    mine = await everything(tracker_pool, world.app)
    others = Query((world.app.app_id + 1,), mine.window)
    table = StatsTable(tracker_pool)

    assert (await table.count(mine)).total.accepted == 3
    assert (await table.count(others)).total.accepted == 0
    assert (await table.count(Query(None, mine.window))).total.accepted == 3
    assert (await table.count(Query((world.app.app_id, world.app.app_id + 1), mine.window))).total.accepted == 3
    # The wall holds for a statement that forgot its condition, too.
    async with of_app(tracker_pool, world.app.app_id + 1, stats_table.ROLE) as db:
        assert await db.fetchval("SELECT count(*) FROM tracking.rollup_hour") == 0


async def test_answer_of_too_many_rows_is_refused(
    world: World, tracker_pool: Pool, rollups: RollupTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.happen(20)
    await roll_all(rollups)
    monkeypatch.setattr(stats_table, "MOST_GROUPS", 3)
    query = await everything(
        tracker_pool, world.app, group_by=(Dimension.CATEGORY, Dimension.CHANNEL, Dimension.COUNTRY)
    )

    with pytest.raises(DomainError, match="more than 3 rows"):
        await StatsTable(tracker_pool).count(query)
