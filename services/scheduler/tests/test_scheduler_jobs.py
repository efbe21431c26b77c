"""Each job against a real ledger and a real bus."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import nats
import pytest
import pytest_asyncio
from nats.js import JetStreamContext

from clarion_kit import bus as kit_bus
from clarion_kit.bus import BusUnavailable, JetStreamBus
from clarion_kit.sealing import KeyWrapper
from clarion_kit.subjects import Lane, Stream, Subjects
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, DeliveryState, Priority, StopReason
from clarion_ledger import runway, stops
from clarion_ledger.db import Pool
from clarion_testkit.plugin import App, Database

from .scheduler_samples import (
    DISPATCH,
    PLAN,
    RETRY,
    Replica,
    accepted,
    held,
    messages,
    new_app,
    planned,
    replica_of,
    resting,
    taken,
    waiting_for_retry,
)


@pytest_asyncio.fixture
async def jetstream(nats_url: str) -> AsyncIterator[JetStreamContext]:
    """The bus as its operator sees it."""
    client = await nats.connect(nats_url)
    yield client.jetstream()
    await client.close()


async def past_partitions(pool: Pool, days_ago: int) -> list[str]:
    """Partitions of a day in the past."""
    day = datetime.now(UTC).date() - timedelta(days=days_ago)
    await pool.execute("SELECT ledger.ensure_partitions($1, $1)", day)
    tables = ("attempt", "delivery", "delivery_body", "event", "notification", "notification_body")
    return [f"{table}_{day:%Y%m%d}" for table in tables]


async def exists(pool: Pool, table: str) -> bool:
    return bool(await pool.fetchval("SELECT to_regclass('ledger.' || $1::text) IS NOT NULL", table))


def moved(telemetry: Telemetry, job: str) -> float:
    return telemetry.metrics.registry.get_sample_value("clarion_scheduler_moved_total", {"job": job}) or 0.0


# ---------------------------------------------------------------- pump


async def test_pump_puts_resting_rows_on_their_lanes(
    replica: Replica, database: Database, bus: JetStreamBus, app: App, telemetry: Telemetry
) -> None:
    notifications = await accepted(database.pool, app, 150)
    deliveries = await planned(database.pool, app, 30)

    await replica.jobs.pump()

    assert sorted(await taken(bus, PLAN, 150)) == sorted(notifications)
    assert sorted(await taken(bus, DISPATCH, 30)) == sorted(deliveries)
    assert await resting(database.pool, notifications + deliveries) == 0
    assert moved(telemetry, "pump") == 180


async def test_pump_stops_at_the_end_of_the_runway_and_goes_on_when_there_is_room(
    replica: Replica, database: Database, bus: JetStreamBus, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runway, "LEAST_ROOM", 1)
    monkeypatch.setattr(runway, "RUNWAY_SECONDS", 0.0)
    ids = await accepted(database.pool, app, 250)

    for _ in range(3):
        await replica.runway.refresh()
        await replica.jobs.pump()
    full = await messages(bus, PLAN)
    left = await resting(database.pool, ids)
    await taken(bus, PLAN, 100)
    await replica.runway.refresh()
    await replica.jobs.pump()

    assert (full, left) == ([1], 150)
    assert await resting(database.pool, ids) == 50


async def test_pump_shares_a_short_runway_between_apps(
    replica: Replica,
    database: Database,
    bus: JetStreamBus,
    app: App,
    kek: KeyWrapper,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runway, "LEAST_ROOM", 1)
    small = await new_app(database.pool, kek, "small")
    flood = await accepted(database.pool, app, 300)
    few = await accepted(database.pool, small, 40)
    await replica.runway.refresh()

    await replica.jobs.pump()

    first = Counter("few" if id_ in few else "flood" for id_ in await taken(bus, PLAN, 90))
    assert first == {"few": 40, "flood": 50}
    assert await resting(database.pool, flood) == 250


# ---------------------------------------------------------------- due work


async def test_due_retries_and_schedules_are_published_and_their_lateness_is_measured(
    replica: Replica, database: Database, bus: JetStreamBus, app: App, telemetry: Telemetry
) -> None:
    retries = await waiting_for_retry(database.pool, app, 3)
    soon = await accepted(database.pool, app, 2, deliver_at=datetime.now(UTC) + timedelta(milliseconds=100))
    await accepted(database.pool, app, 1, deliver_at=datetime.now(UTC) + timedelta(hours=1))
    await database.pool.execute("SELECT pg_sleep(0.15)")

    await replica.jobs.due()

    assert sorted(await taken(bus, RETRY, 3)) == sorted(retries)
    assert sorted(await taken(bus, PLAN, 2)) == sorted(soon)
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.schedule") == 1
    for job in ("retry", "schedule"):
        late = telemetry.metrics.registry.get_sample_value("clarion_scheduler_lateness_seconds_sum", {"job": job})
        assert late is not None
        assert 0 < late < 10


async def test_steps_and_deferred_deliveries_that_are_due_are_published_as_retries(
    replica: Replica, database: Database, bus: JetStreamBus, app: App, telemetry: Telemetry
) -> None:
    step, deferred, later = await planned(database.pool, app, 3)
    rest = "UPDATE ledger.delivery_work SET ready_since = NULL, state = $2, until = $3, step = $4, due_at = now() + $5"
    for id_, state, until, number, wait in (
        (step, DeliveryState.WAITING, 1, 1, timedelta(seconds=-1)),
        (deferred, DeliveryState.DEFERRED, None, 0, timedelta(seconds=-1)),
        (later, DeliveryState.DEFERRED, None, 0, timedelta(hours=1)),
    ):
        await database.pool.execute(f"{rest} WHERE delivery_id = $1", id_, state, until, number, wait)

    await replica.jobs.due()

    assert sorted(await taken(bus, RETRY, 2)) == sorted([step, deferred])
    assert telemetry.metrics.registry.get_sample_value("clarion_scheduler_moved_total", {"job": "step"}) == 1


async def test_what_lanes_hold_goes_back_to_the_pump_when_they_go_on(
    replica: Replica, database: Database, bus: JetStreamBus, app: App, telemetry: Telemetry
) -> None:
    free, stopped = await held(database.pool, app, 3), await held(database.pool, app, 2)
    lane_id = await database.pool.fetchval(
        "SELECT lane_id FROM ledger.delivery_work WHERE delivery_id = $1", stopped[0]
    )
    await stops.stop(database.pool, lane_id, app.app_id, StopReason.OPERATOR, "", None)

    await replica.jobs.due()
    before = await resting(database.pool, free), await resting(database.pool, stopped)
    await stops.resume(database.pool, lane_id)
    await replica.jobs.due()
    await replica.jobs.pump()

    assert before == (3, 0)
    assert sorted(await taken(bus, DISPATCH, 5)) == sorted(free + stopped)
    assert moved(telemetry, "held") == 5


async def test_without_the_bus_every_lane_gives_its_rows_back(
    database: Database, app: App, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit_bus, "FIRST_CONNECTION", timedelta(milliseconds=50))
    monkeypatch.setattr(kit_bus, "PUBLISH_TIMEOUT", timedelta(milliseconds=200))
    retries = await waiting_for_retry(database.pool, app, 2)
    retries += await waiting_for_retry(database.pool, app, 2, channel=Channel.EMAIL)
    due = await accepted(database.pool, app, 2, deliver_at=datetime.now(UTC) + timedelta(milliseconds=1))
    await database.pool.execute("SELECT pg_sleep(0.01)")
    async with JetStreamBus.connect("nats://127.0.0.1:1", "test", Subjects("nowhere"), telemetry) as nowhere:
        jobs = replica_of(database.pool, nowhere, telemetry).jobs

        for _ in range(2):
            with pytest.raises(BusUnavailable):
                await jobs.due()

    assert await resting(database.pool, retries + due) == 6
    assert moved(telemetry, "retry") == moved(telemetry, "schedule") == 0


# ---------------------------------------------------------------- reconciling


async def test_backlog_that_is_still_on_the_bus_is_not_enqueued_again(
    replica: Replica, database: Database, bus: JetStreamBus, app: App, telemetry: Telemetry
) -> None:
    await accepted(database.pool, app, 250)
    await planned(database.pool, app, 120)
    await waiting_for_retry(database.pool, app, 5)
    await replica.jobs.pump()
    await replica.jobs.due()
    before = await messages(bus, PLAN, DISPATCH, RETRY)
    impatient = replica_of(database.pool, bus, telemetry, lost_after=timedelta(0))

    for _ in range(3):
        await impatient.jobs.reconcile()

    assert await messages(bus, PLAN, DISPATCH, RETRY) == before == [3, 2, 1]


async def test_what_the_bus_lost_is_enqueued_again(
    replica: Replica,
    database: Database,
    bus: JetStreamBus,
    subjects: Subjects,
    jetstream: JetStreamContext,
    app: App,
    telemetry: Telemetry,
) -> None:
    notifications = await accepted(database.pool, app, 3)
    deliveries = await planned(database.pool, app, 2)
    await replica.jobs.pump()
    for stream in (Stream.PLAN, Stream.DISPATCH):
        await jetstream.purge_stream(subjects.stream_name(stream))

    await replica.jobs.reconcile()
    too_early = await messages(bus, PLAN, DISPATCH)
    await replica_of(database.pool, bus, telemetry, lost_after=timedelta(0)).jobs.reconcile()

    assert too_early == [0, 0]
    assert sorted(await taken(bus, PLAN, 3)) == sorted(notifications)
    assert sorted(await taken(bus, DISPATCH, 2)) == sorted(deliveries)
    assert moved(telemetry, "lost") == 5


async def test_frozen_workers_and_passed_deadlines_are_found(
    replica: Replica, database: Database, app: App, telemetry: Telemetry
) -> None:
    frozen = await planned(database.pool, app, 2, enqueue=True)
    late = await planned(database.pool, app, 1)
    await database.pool.execute(
        """UPDATE ledger.delivery_work SET state = 3, lease_until = now() - interval '1 second', attempt = 1,
           enqueued_at = now() - interval '1 minute' WHERE delivery_id = ANY ($1)""",
        frozen,
    )
    await database.pool.execute(
        "UPDATE ledger.delivery_work SET expire_at = now() - interval '1 second' WHERE delivery_id = ANY ($1)", late
    )

    await replica.jobs.reconcile()

    assert await resting(database.pool, frozen) == 2
    assert (moved(telemetry, "lease"), moved(telemetry, "expired")) == (2, 1)


# ---------------------------------------------------------------- topology


async def test_rows_of_a_deleted_stream_rest_again_and_flow_through_the_new_one(
    replica: Replica, database: Database, bus: JetStreamBus, subjects: Subjects, jetstream: JetStreamContext, app: App
) -> None:
    ids = await accepted(database.pool, app, 120)
    untouched = await planned(database.pool, app, 2)
    await replica.jobs.pump()
    await replica.jobs.topology()
    await jetstream.delete_stream(subjects.stream_name(Stream.PLAN))

    await replica.jobs.topology()
    gone = await resting(database.pool, ids)
    await replica.runway.refresh()
    await replica.jobs.pump()

    assert gone == 120
    assert sorted(await taken(bus, PLAN, 120)) == sorted(ids)
    assert await resting(database.pool, untouched) == 0
    assert await messages(bus, DISPATCH) == [1]


async def test_stream_that_only_grows_is_left_alone(
    replica: Replica, database: Database, app: App, telemetry: Telemetry
) -> None:
    ids = await accepted(database.pool, app, 10)
    await replica.jobs.topology()
    await replica.jobs.pump()

    await replica.jobs.topology()

    assert await resting(database.pool, ids) == 0
    assert moved(telemetry, "restart") == 0


async def test_only_one_replica_watches_for_loss(
    replica: Replica, database: Database, bus: JetStreamBus, app: App, telemetry: Telemetry
) -> None:
    """Two could write down what they saw in the wrong order, and the younger look would seem a loss."""
    ids = await accepted(database.pool, app, 10)
    await replica.jobs.topology()
    await replica.jobs.pump()
    await database.pool.execute("UPDATE ledger.stream_seen SET last_seq = 1000000")

    await replica_of(database.pool, bus, telemetry).jobs.topology()
    others = await resting(database.pool, ids)
    await replica.jobs.topology()

    assert others == 0
    assert await resting(database.pool, ids) == 10


async def test_deleted_consumer_is_made_again(
    replica: Replica, bus: JetStreamBus, subjects: Subjects, jetstream: JetStreamContext
) -> None:
    await jetstream.delete_consumer(subjects.stream_name(Stream.DISPATCH), DISPATCH.name)
    with pytest.raises(BusUnavailable):
        await bus.depth(DISPATCH)

    await replica.jobs.topology()

    assert await messages(bus, DISPATCH) == [0]


# ---------------------------------------------------------------- replicas


async def test_partitions_are_kept_by_the_lease_holder_alone(
    replica: Replica, database: Database, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    other = replica_of(database.pool, bus, telemetry)
    last_day = datetime.now(UTC).date() + timedelta(days=14)
    table = f"ledger.attempt_{last_day:%Y%m%d}"

    async def exists() -> bool:
        return bool(await database.pool.fetchval("SELECT to_regclass($1) IS NOT NULL", table))

    await replica.jobs.partitions()
    await database.pool.execute(f"DROP TABLE {table}")
    await other.jobs.partitions()
    made_by_other = await exists()
    await replica.jobs.partitions()

    assert not made_by_other
    assert await exists()


async def test_partitions_past_their_time_are_dropped_by_the_lease_holder_alone(
    replica: Replica, database: Database, bus: JetStreamBus, telemetry: Telemetry
) -> None:
    gone = await past_partitions(database.pool, 100)
    await replica.jobs.prune()
    dropped = [not await exists(database.pool, name) for name in gone]
    counted = moved(telemetry, "prune")
    again = await past_partitions(database.pool, 101)

    await replica_of(database.pool, bus, telemetry).jobs.prune()

    assert dropped == [True] * len(gone)
    assert counted == len(gone) + 1  # and the event ids of that time
    assert [await exists(database.pool, name) for name in again] == [True] * len(again)
    await replica.jobs.prune()
    assert [await exists(database.pool, name) for name in again] == [False] * len(again)


async def test_partition_that_something_in_flight_needs_is_kept_and_named(
    replica: Replica, database: Database, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await past_partitions(database.pool, 100)
    [id_] = await accepted(database.pool, app, 1)
    old = await database.pool.fetchval(
        "SELECT ledger.uuid_floor(date_trunc('day', now(), 'UTC') - interval '100 days')"
    )
    await database.pool.execute("UPDATE ledger.plan_work SET notification_id = $2 WHERE notification_id = $1", id_, old)

    await replica.jobs.prune()

    assert [await exists(database.pool, name) for name in kept] == [True] * len(kept)
    assert f"{kept[0]} is kept for notification {old}" in caplog.messages
    await database.pool.execute("DELETE FROM ledger.plan_work")
    await replica.jobs.prune()
    assert [await exists(database.pool, name) for name in kept] == [False] * len(kept)


async def test_rows_without_a_day_of_their_own_are_an_error(
    replica: Replica, database: Database, app: App, caplog: pytest.LogCaptureFixture
) -> None:
    [id_] = await accepted(database.pool, app, 1)
    await replica.jobs.prune()
    assert caplog.messages == []
    await database.pool.execute("UPDATE ledger.event SET at = '2020-01-01' WHERE notification_id = $1", id_)

    await replica.jobs.prune()
    await database.pool.execute("DELETE FROM ledger.event WHERE notification_id = $1", id_)

    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.getMessage().startswith("rows lie in DEFAULT partitions")


async def test_replicas_at_once_move_every_row_once(
    replica: Replica, database: Database, bus: JetStreamBus, app: App, telemetry: Telemetry
) -> None:
    replicas = [replica, *(replica_of(database.pool, bus, telemetry) for _ in range(2))]
    ids = await accepted(database.pool, app, 500)
    retries = await waiting_for_retry(database.pool, app, 60)
    due = await accepted(database.pool, app, 60, deliver_at=datetime.now(UTC) + timedelta(milliseconds=1))
    for one in replicas:
        await one.runway.refresh()

    async with asyncio.TaskGroup() as group:
        for one in replicas:
            for job in (one.jobs.pump, one.jobs.due, one.jobs.reconcile, one.jobs.pump, one.jobs.due):
                group.create_task(job())
    await replica.jobs.pump()
    await replica.jobs.due()

    assert sorted(await taken(bus, PLAN, 560)) == sorted(ids + due)
    assert sorted(await taken(bus, RETRY, 60)) == sorted(retries)
    stored = await database.pool.fetch("SELECT id FROM ledger.notification WHERE id = ANY ($1)", due)
    assert len(stored) == 60
    assert await messages(bus, PLAN, RETRY, Lane(Stream.PLAN, Priority.BULK)) == [0, 0, 0]
