"""Each daemon's role may do its own job."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from clarion_kit.subjects import Stream
from clarion_kit.vocabulary import DeliveryState, Reason, Receipt, StopReason
from clarion_ledger import flow, reading, retention, stops
from clarion_ledger.accept import accept
from clarion_ledger.cancelling import cancel
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool, ping, pool
from clarion_ledger.digests import claim_due
from clarion_ledger.dispatching import Record, changed, claim, claim_held, extend, mark_writing, record
from clarion_ledger.explaining import told
from clarion_ledger.planning import count_try, expire, load, plan
from clarion_ledger.receipts import ReceiptFor, apply, find_deliveries
from clarion_testkit.plugin import App, Database

from .ledger_samples import (
    DISPATCH,
    LEASE,
    PLAN,
    accepted,
    audited,
    close_digest,
    delivered,
    item,
    lane,
    member,
    plan_of,
    planned,
    sent,
    window_ends,
)

As = Callable[[str], AbstractAsyncContextManager[Pool]]


@pytest.fixture
def as_daemon(database: Database) -> As:
    """A pool whose sessions have only what a daemon's role has."""

    @asynccontextmanager
    async def connected(daemon: str) -> AsyncIterator[Pool]:
        async with pool(f"{database.url}?role=clarion_{daemon}", size=2, application=daemon) as connections:
            yield connections

    return connected


async def test_login_of_the_gateway_reads_what_is_its_callers_and_nothing_else(database: Database, app: App) -> None:
    [notification], _ = await planned(database.pool, app)
    login = f"login_{uuid4().hex}"
    await database.pool.execute(f"CREATE ROLE {login} LOGIN PASSWORD '{login}' IN ROLE clarion_gateway")
    try:
        address = urlsplit(database.url)
        url = urlunsplit(address._replace(netloc=f"{login}:{login}@{address.hostname}:{address.port}"))
        async with pool(url, size=1, application="gateway") as connections:
            found = await reading.whole(connections, app.app_id, notification)
            assert found is not None
            assert len(found.deliveries) == 1
            assert await reading.whole(connections, app.app_id + 1, notification) is None
            assert await connections.fetchval("SELECT current_user") == login
    finally:
        await database.pool.execute(f"DROP ROLE {login}")


@pytest.mark.parametrize(
    "daemon", ["gateway", "preference", "template", "planner", "dispatcher", "scheduler", "tracker", "monitor"]
)
async def test_every_daemon_sees_whether_the_ledger_answers(as_daemon: As, daemon: str) -> None:
    async with as_daemon(daemon) as connections:
        await ping(connections)


async def test_gateway_accepts_shows_and_cancels(as_daemon: As, database: Database, app: App) -> None:
    [in_flight], _ = await planned(database.pool, app)
    async with as_daemon("gateway") as gateway:
        later = datetime.now(UTC) + timedelta(hours=1)
        results = await accept(gateway, [item(app, "e1"), item(app, "e2", deliver_at=later)])
        for id_ in [in_flight, *(accepted(result).notification_id for result in results)]:
            assert await reading.whole(gateway, app.app_id, id_) is not None
            assert await cancel(gateway, app.app_id, id_) is not None
        await ConfigCache(gateway, with_lanes=True).refresh()

    assert (await audited(database.pool)).unaccounted == 0


async def test_planner_closes_digests(as_daemon: As, database: Database, app: App) -> None:
    first, _ = await member(database.pool, app)
    await member(database.pool, app)
    await window_ends(database.pool)
    async with as_daemon("planner") as planner:
        [window] = await claim_due(planner, 10, LEASE)
        assert await close_digest(planner, window)
        assert await told(planner, app.app_id, first) is not None

    assert (await audited(database.pool)).unaccounted == 0


async def test_planner_plans(as_daemon: As, database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    results = await accept(database.pool, [item(app, "e1"), item(app, "e2")])
    first, second = (accepted(result).notification_id for result in results)
    async with as_daemon("planner") as planner:
        await ConfigCache(planner, with_lanes=True).refresh()
        await count_try(planner, [first])
        plans = [plan_of(source, lane_id, suppressed=1) for source in await load(planner, [first])]
        assert await plan(planner, plans) == {first}
        await expire(planner, [second])
        await flow.has_ready(planner)
        await flow.release(planner, DISPATCH, [plans[0].deliveries[0].delivery_id])

    assert (await audited(database.pool)).unaccounted == 0


async def test_dispatcher_claims_and_records(as_daemon: As, database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app, 2, at_most_once=True)
    async with as_daemon("dispatcher") as dispatcher:
        await ConfigCache(dispatcher, with_lanes=True).refresh()
        first, second = await claim(dispatcher, ids, LEASE)
        assert len(await extend(dispatcher, [first, second], LEASE)) == 2
        assert await changed(dispatcher, [first, second]) == set()
        assert await mark_writing(dispatcher, [first])
        ended = Record(second, DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED)
        assert len(await record(dispatcher, [sent(first), ended])) == 2

    assert (await audited(database.pool)).unaccounted == 0


async def test_dispatcher_stops_tries_and_ends_what_a_lane_holds(as_daemon: As, database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app, 2)
    async with as_daemon("dispatcher") as dispatcher:
        claims = await claim(dispatcher, ids, LEASE)
        lane_id = claims[0].lane_id
        await record(dispatcher, [Record(one, DeliveryState.HELD, tried=False) for one in claims])
        await stops.stop(dispatcher, lane_id, app.app_id, StopReason.BREAKER, "503", timedelta(0))
        assert set(await stops.stopped(dispatcher)) == {lane_id}
        assert await stops.take_probe(dispatcher, lane_id, LEASE)
        [tried] = await claim_held(dispatcher, lane_id, 1, LEASE)
        await record(dispatcher, [sent(tried)])
        assert await stops.end_held(dispatcher, [(lane_id, timedelta(microseconds=-1))], 10) == 1
        assert await stops.resume(dispatcher, lane_id)

    assert (await audited(database.pool)).unaccounted == 0


async def test_gateway_stops_and_resumes_accounts(as_daemon: As, app: App) -> None:
    async with as_daemon("gateway") as gateway:
        await stops.stop(gateway, 7, app.app_id, StopReason.OPERATOR, "", None)
        assert set(await stops.stopped(gateway)) == {7}
        assert await stops.resume(gateway, 7)


async def test_scheduler_releases_and_prunes(as_daemon: As, database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app)
    await database.pool.execute(
        "UPDATE ledger.delivery_work SET state = 6, due_at = 'infinity', enqueued_at = NULL, ready_since = NULL"
    )
    async with as_daemon("scheduler") as scheduler:
        assert await stops.release(scheduler, 10) == len(ids)
        assert await retention.prunable(scheduler, retention.Retention()) == []
        assert not await retention.prune(scheduler, retention.Retention(), "attempt_20200101")
        assert await retention.strays(scheduler) == 0


async def test_scheduler_moves_everything(as_daemon: As, database: Database, app: App) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    await accept(database.pool, [item(app, "e1", enqueue=False), item(app, "e2", deliver_at=later)])
    _, ids = await planned(database.pool, app, 3)
    await claim(database.pool, ids, LEASE)
    await database.pool.execute("UPDATE ledger.schedule SET deliver_at = now()")
    await database.pool.execute(
        """UPDATE ledger.delivery_work SET enqueued_at = now() - interval '1 hour', lease_until = now() - interval '1 minute',
           max_attempts = attempt + (delivery_id = $1)::int""",
        ids[0],
    )
    async with as_daemon("scheduler") as scheduler:
        assert await flow.ended_leases(scheduler) == 3
        assert (await flow.pump(scheduler, PLAN, 10)).ids
        assert (await flow.pump(scheduler, DISPATCH, 10)).ids
        assert await flow.due_schedules(scheduler)
        assert await flow.due_retries(scheduler) == []
        await flow.lost(scheduler, DISPATCH, None)
        await flow.restart(scheduler, Stream.DISPATCH)
        await flow.restart(scheduler, Stream.PLAN)
        await database.pool.execute("UPDATE ledger.delivery_work SET expire_at = now()")
        assert await flow.expired(scheduler) == 1
        await flow.stream_lost_content(scheduler, "PLAN", later, 1)
        await flow.take_lease(scheduler, "job", uuid4().hex, LEASE)
        await flow.ensure_partitions(scheduler)

    assert (await audited(database.pool)).unaccounted == 0


async def test_tracker_applies_receipts(as_daemon: As, database: Database, app: App) -> None:
    _, id_ = await delivered(database.pool, app, receipt_key="r1")
    async with as_daemon("tracker") as tracker:
        assert await find_deliveries(tracker, ["r1"]) == {"r1": id_}
        assert await apply(tracker, [ReceiptFor(id_, Receipt.DELIVERED)]) == {id_}


async def test_monitor_audits(as_daemon: As, app: App) -> None:
    async with as_daemon("monitor") as monitor:
        assert (await audited(monitor)).unaccounted == 0
