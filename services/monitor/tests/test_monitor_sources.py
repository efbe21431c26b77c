"""Gauges over a real NATS and a real Postgres with seeded rows, with no more rights than the daemon's role has."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2

from clarion_kit import daemon
from clarion_kit.bus import JetStreamBus
from clarion_kit.clock import SystemClock
from clarion_kit.subjects import Lane, Stream, Subjects, all_lanes
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.names import Metric
from clarion_kit.vocabulary import Channel, Priority
from clarion_ledger.db import Pool, pool
from clarion_local.ports import PortLease
from clarion_monitor.adapters.bus import BusQueues
from clarion_monitor.adapters.ledger import LedgerView
from clarion_monitor.app import build
from clarion_monitor.domain import Limits
from clarion_monitor.gauges import Gauges
from clarion_monitor.settings import Settings
from clarion_monitor.watch import Watch
from clarion_testkit.plugin import App, Database

LIMITS = Limits(timedelta(seconds=60), timedelta(seconds=300), dead_letters=0)
SMS_URGENT = Lane(Stream.DISPATCH, Priority.URGENT, Channel.SMS)
WINDOW = timedelta(minutes=10)


class Shown:
    """A watch over real sources, and what its gauges show."""

    def __init__(self, ledger: LedgerView, bus: JetStreamBus) -> None:
        self._metrics = Metrics()
        clock = SystemClock()
        self.watch = Watch(BusQueues(bus, clock), ledger, Gauges(self._metrics, clock), LIMITS)

    def value(self, metric: Metric, *labels: str) -> float:
        found: float | None = self._metrics.registry.get_sample_value(
            metric.name, dict(zip(metric.labels, labels, strict=True))
        )
        assert found is not None, f"{metric.name}{labels} is not shown"
        return found


@pytest.fixture
async def monitor_pool(database: Database) -> AsyncIterator[Pool]:
    async with pool(f"{database.url}?role=clarion_monitor", size=2, application="test") as connections:
        yield connections


@pytest.fixture
def shown(monitor_pool: Pool, bus: JetStreamBus) -> Shown:
    return Shown(LedgerView(monitor_pool), bus)


async def test_every_lane_has_depth_pending_and_age(bus: JetStreamBus, shown: Shown) -> None:
    await bus.publish(SMS_URGENT, [uuid4().bytes for _ in range(250)])

    await shown.watch.look_at_bus()

    assert shown.value(names.QUEUE_DEPTH, SMS_URGENT.name) == 3
    assert 0 < shown.value(names.QUEUE_AGE, SMS_URGENT.name) < 60
    for lane in all_lanes():
        assert shown.value(names.QUEUE_PENDING, lane.name) == 0
        if lane != SMS_URGENT:
            assert shown.value(names.QUEUE_DEPTH, lane.name) == shown.value(names.QUEUE_AGE, lane.name) == 0
    assert shown.value(names.LAST_LOOK, "bus") > 0


async def test_backlog_shows_rows_and_the_age_of_the_oldest(database: Database, app: App, shown: Shown) -> None:
    await _plan_work(database, app, ready_seconds=90)
    await _plan_work(database, app, ready_seconds=30)
    await _delivery_work(database, app, state=4, planned_seconds=1_000)
    await _inbound(database, app, due_seconds=20)
    await _inbound(database, app, due_seconds=-60)

    await shown.watch.look_at_backlog()

    rows = {
        place: shown.value(names.BACKLOG, *place)
        for place in (("plan", "ready"), ("plan", "enqueued"), ("dispatch", "retry_wait"), ("receipts", "due"))
    }
    assert list(rows.values()) == [2, 0, 1, 1]
    assert 90 <= shown.value(names.BACKLOG_AGE, "plan", "ready") < 120
    assert 1_000 <= shown.value(names.BACKLOG_AGE, "dispatch", "retry_wait") < 1_030
    assert 20 <= shown.value(names.BACKLOG_AGE, "receipts", "due") < 50


async def test_dead_letters_count_until_they_are_redriven(database: Database, app: App, shown: Shown) -> None:
    redriven = [None, None, uuid4()]
    for redriven_as in redriven:
        await database.pool.execute(
            "INSERT INTO ledger.dead_letter "
            "(delivery_id, notification_id, redriven_as, app_id, channel, reason, attempts, last_code) "
            "VALUES ($1, $2, $3, $4, 4, 80, 3, '')",
            uuid4(),
            uuid4(),
            redriven_as,
            app.app_id,
        )

    await shown.watch.look_at_backlog()

    assert shown.value(names.DEAD_LETTERS, "sms") == 2
    assert shown.value(names.DEAD_LETTERS, "ios") == 0


async def test_audit_of_a_sound_ledger_shows_zeros(shown: Shown) -> None:
    await shown.watch.audit(WINDOW)

    assert shown.value(names.INVARIANT, "delivery_in_flight_without_work") == 0
    assert shown.value(names.STUCK) == 0


async def test_audit_shows_a_seeded_corruption(database: Database, app: App, shown: Shown) -> None:
    await database.pool.execute(
        "INSERT INTO ledger.delivery "
        "(id, notification_id, recipient_ref, app_id, category_id, channel, priority, state) "
        "SELECT uuidv7(), uuidv7(), uuidv7(), $1, 1, 4, 2, 2 FROM generate_series(1, 3)",
        app.app_id,
    )

    await shown.watch.audit(WINDOW)

    assert shown.value(names.INVARIANT, "delivery_in_flight_without_work") == 3


async def test_overdue_rows_are_stuck(database: Database, app: App, shown: Shown) -> None:
    await _plan_work(database, app, ready_seconds=3_600)

    await shown.watch.audit(WINDOW)

    assert shown.value(names.STUCK) == 1


async def test_monitor_may_not_write_nor_read_what_came_in(monitor_pool: Pool) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await monitor_pool.execute("DELETE FROM ledger.delivery_work")
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await monitor_pool.fetch("SELECT body FROM tracking.inbound")


async def test_daemon_gets_ready_and_stops(
    database: Database, bus: JetStreamBus, nats_url: str, subjects: Subjects
) -> None:
    with PortLease() as rpc:
        env = {
            "CLARION_DATABASE_URL": f"{database.url}?role=clarion_monitor",
            "CLARION_NATS_URL": nats_url,
            "CLARION_SUBJECT_PREFIX": subjects.stream_name(Stream.PLAN).removesuffix("-PLAN"),
            "CLARION_INSECURE": "1",
            "CLARION_GRPC_LISTEN": f"127.0.0.1:{rpc.hand_over()}",
        }
    stopping = asyncio.Event()
    running = asyncio.create_task(daemon.run("monitor", Settings, build, env=env, stopping=stopping))

    await _ready(f"127.0.0.1:{rpc.port}")
    stopping.set()

    async with asyncio.timeout(10):
        await running


async def _plan_work(database: Database, app: App, *, ready_seconds: int) -> None:
    await database.pool.execute(
        "INSERT INTO ledger.plan_work (notification_id, app_id, priority, ready_since) "
        "VALUES (uuidv7(), $1, 2, now() - $2 * interval '1 second')",
        app.app_id,
        ready_seconds,
    )


async def _delivery_work(database: Database, app: App, *, state: int, planned_seconds: int) -> None:
    await database.pool.execute(
        "INSERT INTO ledger.delivery_work (delivery_id, notification_id, recipient_ref, app_id, lane_id, channel, "
        "priority, state, max_attempts, at_most_once, expire_at, due_at, planned_at) VALUES "
        "($1, $1, $1, $2, 1, 4, 2, $3, 3, false, now(), now(), now() - $4 * interval '1 second')",
        UUID(int=1),
        app.app_id,
        state,
        planned_seconds,
    )


async def _inbound(database: Database, app: App, *, due_seconds: int) -> None:
    await database.pool.execute(
        "INSERT INTO tracking.inbound (app_id, lane_id, provider, kind, body, next_at) "
        "VALUES ($1, 1, 'smpp', 'smpp.deliver_sm', '', now() - $2 * interval '1 second')",
        app.app_id,
        due_seconds,
    )


async def _ready(target: str) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True)
        async for answer in watch:
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
    raise AssertionError("the daemon never got ready")
