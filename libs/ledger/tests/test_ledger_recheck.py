"""What a statement writes beside a row that another transaction changed while it waited for it.

PostgreSQL looks at such a row again inside the statement; 18 then leaves out pruned partitions of the statement's other steps
for the whole batch. That is why rows are locked in statements of their own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from clarion_ledger.accept import accept
from clarion_ledger.dispatching import claim, record
from clarion_ledger.planning import load, plan
from clarion_testkit.plugin import App, Database

from .ledger_samples import LEASE, accepted, audited, item, lane, plan_of, planned, sent


@asynccontextmanager
async def changed_meanwhile(database: Database, statement: str, id_: UUID) -> AsyncIterator[None]:
    """Another transaction changes a row, and commits once what is started in the block waits for it."""
    async with database.pool.acquire() as other:
        change = other.transaction()
        await change.start()
        await other.execute(statement, id_)
        yield
        async with asyncio.timeout(10):
            # A lock says of itself that it is waited for; there is no event to wait on.
            while not await database.pool.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await change.commit()


async def analysed(database: Database) -> None:
    """Statistics, as a server that has been up for a while has them: plans depend on them."""
    for table in ("delivery_work", "delivery", "notification", "plan_work"):
        await database.pool.execute(f"ANALYZE ledger.{table}")


async def test_record_that_waited_for_a_heartbeat_writes_every_delivery(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app, 800)
    await analysed(database)
    claims = await claim(database.pool, ids[:60], LEASE)
    heartbeat = "UPDATE ledger.delivery_work SET lease_until = lease_until + interval '1 minute' WHERE delivery_id = $1"
    async with changed_meanwhile(database, heartbeat, ids[0]):
        recording = asyncio.create_task(record(database.pool, [sent(one) for one in claims]))

    assert len(await recording) == 60
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.delivery WHERE state = 20") == 60
    assert (await audited(database.pool)).unaccounted == 0


async def test_claim_beside_a_row_that_was_enqueued_again_gives_all_that_it_leased(
    database: Database, app: App
) -> None:
    _, ids = await planned(database.pool, app, 800)
    await analysed(database)

    async def enqueue_again() -> None:
        for _ in range(50):
            await database.pool.execute(
                "UPDATE ledger.delivery_work SET enqueue_count = enqueue_count + 1 WHERE delivery_id = ANY ($1) AND state = 2",
                sorted(ids),
            )

    async with asyncio.TaskGroup() as group:
        group.create_task(enqueue_again())
        claims = [
            group.create_task(claim(database.pool, ids[start : start + 40], LEASE)) for start in range(0, 800, 40)
        ]

    leased = await database.pool.fetchval("SELECT count(*) FROM ledger.delivery_work WHERE state = 3")
    assert sum(len(task.result()) for task in claims) == leased


async def test_plan_that_meets_a_row_of_another_planner_plans_the_others_whole(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    results = await accept(database.pool, [item(app, f"event {n}") for n in range(40)])
    ids = [accepted(result).notification_id for result in results]
    await analysed(database)
    plans = [plan_of(source, lane_id) for source in await load(database.pool, ids)]

    async def count_tries() -> None:
        for _ in range(50):
            await database.pool.execute(
                "UPDATE ledger.plan_work SET tries = tries + 1 WHERE notification_id = ANY ($1)", sorted(ids)
            )

    planned_now: set[UUID] = set()
    async with asyncio.TaskGroup() as group:
        group.create_task(count_tries())
        for _ in range(20):
            planned_now |= await plan(database.pool, plans)
    planned_now |= await plan(database.pool, plans)

    assert planned_now == set(ids)
    assert (await audited(database.pool)).unaccounted == 0
