"""A process that dies at a crash point loses nothing: what it left is nothing, or whole and repeatable."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from clarion_kit import crash
from clarion_kit.vocabulary import DeliveryState
from clarion_ledger import flow
from clarion_ledger.accept import accept
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import claim, record
from clarion_ledger.planning import load, plan
from clarion_testkit.plugin import App, Database

from .ledger_samples import DISPATCH, LEASE, accepted, audited, item, lane, plan_of, planned, sent, state_of

CHILD = "libs.ledger.tests.crash_child"
ROOT = Path(__file__).resolve().parents[3]


async def die_at(point: str, database: Database, app: App, ids: Sequence[UUID] = ()) -> None:
    """Run the step a point belongs to in a child that dies there."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        CHILD,
        database.url,
        point.partition(".")[0],
        str(app.app_id),
        str(app.categories["transactional"]),
        *map(str, ids),
        env={**os.environ, "CLARION_CRASH_POINT": point},
        cwd=ROOT,
    )
    assert await asyncio.wait_for(child.wait(), 30) == crash.EXIT_STATUS


async def end_leases(pool: Pool) -> None:
    await pool.execute(
        """UPDATE ledger.delivery_work SET lease_until = now() - interval '1 second', enqueued_at = now() - interval '1 hour'
           WHERE state = 3"""
    )


async def test_death_before_the_accept_commits_leaves_nothing_and_the_repeat_is_fresh(
    database: Database, app: App
) -> None:
    await die_at("accept.before_commit", database, app)
    left = await database.pool.fetchval("SELECT count(*) FROM ledger.event_key")

    repeated = await accept(database.pool, [item(app, f"e{n}") for n in range(3)])

    assert left == 0
    assert all(accepted(result).fresh for result in repeated)
    assert (await audited(database.pool)).unaccounted == 0


async def test_death_after_the_accept_committed_gives_the_repeat_the_first_answer(database: Database, app: App) -> None:
    await die_at("accept.after_commit", database, app)
    stored = await database.pool.fetch("SELECT id FROM ledger.notification")

    repeated = await accept(database.pool, [item(app, f"e{n}") for n in range(3)])

    assert {accepted(result).notification_id for result in repeated} == {row["id"] for row in stored}
    assert not any(accepted(result).fresh for result in repeated)
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.notification") == 3
    assert (await audited(database.pool)).unaccounted == 0


async def test_death_before_the_plan_commits_leaves_the_notification_to_the_next_planner(
    database: Database, app: App
) -> None:
    lane_id = await lane(database.pool, app)
    ids = [accepted(r).notification_id for r in await accept(database.pool, [item(app, "e1"), item(app, "e2")])]
    await die_at("plan.before_commit", database, app, ids)
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.delivery") == 0

    taken = await plan(database.pool, [plan_of(source, lane_id) for source in await load(database.pool, ids)])

    assert taken == set(ids)
    assert (await audited(database.pool)).unaccounted == 0


async def test_death_after_the_plan_committed_leaves_nothing_to_plan_twice(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    ids = [accepted(r).notification_id for r in await accept(database.pool, [item(app, "e1"), item(app, "e2")])]
    before = await load(database.pool, ids)
    await die_at("plan.after_commit", database, app, ids)

    assert await load(database.pool, ids) == []
    assert await plan(database.pool, [plan_of(source, lane_id, suppressed=1) for source in before]) == set()

    assert await database.pool.fetchval("SELECT count(*) FROM ledger.delivery") == 4
    assert (await audited(database.pool)).unaccounted == 0


async def test_death_before_the_claim_commits_leaves_the_delivery_to_the_next_dispatcher(
    database: Database, app: App
) -> None:
    _, ids = await planned(database.pool, app, 2)
    await die_at("claim.before_commit", database, app, ids)

    claims = await claim(database.pool, ids, LEASE)

    assert [c.attempt for c in claims] == [1, 1]


async def test_death_after_the_claim_committed_brings_the_delivery_back_when_its_lease_ends(
    database: Database, app: App
) -> None:
    _, ids = await planned(database.pool, app, 2)
    await die_at("claim.after_commit", database, app, ids)
    assert await claim(database.pool, ids, LEASE) == []

    await end_leases(database.pool)
    assert await flow.ended_leases(database.pool) == 2
    await flow.pump(database.pool, DISPATCH, 10)
    claims = await claim(database.pool, ids, LEASE)

    assert [(c.attempt, c.ambiguous) for c in claims] == [(2, True)] * 2
    await record(database.pool, [sent(c) for c in claims])
    assert (await audited(database.pool)).unaccounted == 0


async def test_death_before_the_record_commits_sends_again_in_doubt(database: Database, app: App) -> None:
    _, [id_] = await planned(database.pool, app)
    await die_at("record.before_commit", database, app, [id_])
    assert await state_of(database.pool, id_) is DeliveryState.LEASED

    await end_leases(database.pool)
    await flow.ended_leases(database.pool)
    await flow.pump(database.pool, DISPATCH, 10)
    [claimed] = await claim(database.pool, [id_], LEASE)
    await record(database.pool, [sent(claimed)])

    assert claimed.ambiguous
    assert await state_of(database.pool, id_) is DeliveryState.SENT
    assert (await audited(database.pool)).unaccounted == 0


async def test_death_after_the_record_committed_leaves_nothing_to_send_again(database: Database, app: App) -> None:
    _, [id_] = await planned(database.pool, app)
    await die_at("record.after_commit", database, app, [id_])

    await end_leases(database.pool)

    assert await flow.ended_leases(database.pool) == 0
    assert await claim(database.pool, [id_], LEASE) == []
    assert await state_of(database.pool, id_) is DeliveryState.SENT
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.attempt WHERE delivery_id = $1", id_) == 1
    assert (await audited(database.pool)).unaccounted == 0
