"""Gauges over a real NATS and a real Postgres with seeded rows, with no more rights than the daemon's role has."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2
from nats.js.api import DiscardPolicy

from clarion_kit import daemon
from clarion_kit.bus import Batch, BusUnavailable, JetStreamBus, Verdict
from clarion_kit.clock import SystemClock
from clarion_kit.subjects import Lane, Stream, Subjects, all_lanes
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.names import Metric
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, Priority, StopReason
from clarion_ledger.db import Pool, pool
from clarion_local.ports import PortLease
from clarion_local.servers.nats import NatsOptions, NatsServer
from clarion_monitor.adapters.accounts import AccountsView
from clarion_monitor.adapters.bus import BusView
from clarion_monitor.adapters.ledger import LedgerView
from clarion_monitor.app import build
from clarion_monitor.causes import Account, Failures
from clarion_monitor.domain import Limits
from clarion_monitor.gauges import Gauges
from clarion_monitor.ports import BusRefuses
from clarion_monitor.settings import Settings
from clarion_monitor.stalls import Fault, Stall
from clarion_monitor.watch import Watch
from clarion_testkit.plugin import App, Database

from .monitor_samples import FakeAccounts, FakeIncidents

LIMITS = Limits(timedelta(seconds=60), timedelta(seconds=300), dead_letters=0)
SMS_URGENT = Lane(Stream.DISPATCH, Priority.URGENT, Channel.SMS)
WINDOW = timedelta(minutes=10)


class Shown:
    """A watch over real sources, and what its gauges show."""

    def __init__(self, ledger: LedgerView, bus: JetStreamBus, subjects: Subjects) -> None:
        self._metrics = Metrics()
        clock = SystemClock()
        gauges = Gauges(self._metrics, clock)
        view = BusView(bus, subjects, clock)
        self.watch = Watch(view, ledger, FakeAccounts(), FakeIncidents(), gauges, LIMITS, clock)

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
def shown(monitor_pool: Pool, bus: JetStreamBus, subjects: Subjects) -> Shown:
    return Shown(LedgerView(monitor_pool), bus, subjects)


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
    assert 90 <= shown.value(names.OUTBOX_AGE) < 120
    assert shown.value(names.APP_BACKLOG, "shop") == 3
    assert 1_000 <= shown.value(names.APP_BACKLOG_AGE, "shop") < 1_030


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
    await shown.watch.audit()

    assert shown.value(names.INVARIANT, "delivery_in_flight_without_work") == 0


async def test_audit_shows_a_corruption_of_what_events_touch(database: Database, app: App, shown: Shown) -> None:
    await database.pool.execute(
        "WITH d AS (INSERT INTO ledger.delivery "
        "(id, notification_id, recipient_ref, app_id, category_id, channel, priority, state) "
        "SELECT uuidv7(), uuidv7(), uuidv7(), $1, 1, 4, 2, 2 FROM generate_series(1, 3) RETURNING *) "
        "INSERT INTO ledger.event (notification_id, delivery_id, app_id, kind) "
        "SELECT notification_id, id, app_id, 4 FROM d",
        app.app_id,
    )

    await shown.watch.audit()

    assert shown.value(names.INVARIANT, "delivery_in_flight_without_work") == 3


async def test_overdue_rows_are_stuck(database: Database, app: App, shown: Shown) -> None:
    await _plan_work(database, app, ready_seconds=3_600)

    await shown.watch.audit()

    assert shown.value(names.STUCK, "shop", "plan ready") == 1


async def test_failures_are_counted_by_account_and_code(database: Database, app: App, monitor_pool: Pool) -> None:
    lane_id = await _lane(database, app)
    await _failed(database, app, lane_id, 25, code="503")
    await _failed(database, app, lane_id, 3, code="503", kind=5, state=25, reason=80)
    await _failed(database, app, lane_id, 2, code=None, kind=5, state=25, reason=81)
    await _failed(database, app, lane_id, 9, code="410", kind=5, state=21, reason=41)
    await _failed(database, app, lane_id, 9, code=None, kind=5, state=20)
    await _failed(database, app, lane_id, 9, code="503", seconds_ago=400)

    found = await LedgerView(monitor_pool).failures(timedelta(minutes=5))

    account = Account(app.app_id, lane_id, Channel.SMS)
    assert found == [Failures(account, "503", 28, 3), Failures(account, "poison", 2, 2)]


async def test_stops_are_those_that_no_person_wanted(database: Database, app: App, monitor_pool: Pool) -> None:
    stopped, wanted = [await _lane(database, app) for _ in range(2)]
    for lane_id, reason in ((stopped, StopReason.BREAKER), (wanted, StopReason.OPERATOR)):
        await database.pool.execute(
            "INSERT INTO ledger.lane_stop (lane_id, app_id, reason, detail, since) "
            "VALUES ($1, $2, $3, '', now() - interval '20 seconds')",
            lane_id,
            app.app_id,
            reason,
        )

    [stop] = await LedgerView(monitor_pool).stops()

    assert (stop.account, stop.reason) == (Account(app.app_id, stopped, Channel.SMS), StopReason.BREAKER)
    assert 20 <= stop.age.total_seconds() < 50


async def test_webhooks_off_are_those_that_no_owner_switched_off(
    database: Database, app: App, monitor_pool: Pool
) -> None:
    broken, gone, working, unwanted = [
        await _webhook(database, app, name, enabled=name != "unwanted")
        for name in ("broken", "gone", "working", "unwanted")
    ]
    await database.pool.execute(
        "UPDATE ledger.webhook_progress SET disabled_at = now() - interval '20 seconds' - webhook_id * interval '1 second', "
        "disabled_reason = CASE webhook_id WHEN $1 THEN 'gone' ELSE 'failing' END WHERE webhook_id <> $2",
        gone,
        working,
    )

    found = await LedgerView(monitor_pool).webhooks_off()

    assert [(one.webhook_id, one.name, one.reason) for one in found] == [
        (broken, "broken", "failing"),
        (gone, "gone", "gone"),
    ]
    assert {one.app_id for one in found} == {app.app_id}
    assert all(20 <= one.age.total_seconds() < 80 for one in found)
    assert unwanted not in {one.webhook_id for one in found}


async def test_answers_are_counted_by_account(database: Database, app: App, monitor_pool: Pool) -> None:
    lane_id = await _lane(database, app)
    for count, kind, state, reason in (
        (7, 5, 20, None),
        (6, 4, 4, None),
        (5, 5, 25, 80),
        (4, 5, 21, 42),
        (3, 5, 21, 41),
        (2, 5, 21, 40),
        (1, 6, 20, None),
        (1, 10, 6, None),
    ):
        await _failed(database, app, lane_id, count, code=None, kind=kind, state=state, reason=reason)
    await _failed(database, app, lane_id, 9, code=None, kind=5, state=20, seconds_ago=700)

    look = await AccountsView(monitor_pool).look(WINDOW)

    [answers] = look.answers
    assert (answers.account, answers.app) == (Account(app.app_id, lane_id, Channel.SMS), "shop")
    assert (answers.good, answers.failed, answers.dead) == (7 + 2, 6 + 5 + 4, 3)


async def test_accounts_in_trouble_come_first_and_deleted_ones_not(
    database: Database, app: App, monitor_pool: Pool
) -> None:
    works, stopped, deleted = [await _lane(database, app) for _ in range(3)]
    await database.pool.execute(
        "INSERT INTO ledger.lane_stop (lane_id, app_id, reason, detail) VALUES ($1, $2, 2, '')", stopped, app.app_id
    )
    await database.pool.execute("UPDATE ledger.lane SET deleted_at = now() WHERE lane_id = $1", deleted)
    await database.pool.execute(
        "INSERT INTO ledger.lane_quality (lane_id, country, delivered, undelivered, median_seconds, factor) "
        "VALUES ($1, 'KR', 4, 6, 9, 40), ($2, 'KR', 4, 6, 9, 1)",
        works,
        deleted,
    )

    look = await AccountsView(monitor_pool).look(WINDOW)

    assert [(one.app, one.channel, one.provider, one.state) for one in look.states] == [
        ("shop", Channel.SMS, "smpp", "breaker"),
        ("shop", Channel.SMS, "smpp", "works"),
    ]
    assert [(one.account.lane_id, one.country, one.factor) for one in look.quality] == [(works, "KR", 40)]


async def test_alert_comes_within_a_minute_with_the_default_settings(
    database: Database, app: App, bus: JetStreamBus, nats_url: str, subjects: Subjects
) -> None:
    hook = Hook()
    server = await asyncio.start_server(hook.serve, "127.0.0.1", 0)
    env = {
        "CLARION_DATABASE_URL": f"{database.url}?role=clarion_monitor",
        "CLARION_NATS_URL": nats_url,
        "CLARION_SUBJECT_PREFIX": subjects.stream_name(Stream.PLAN).removesuffix("-PLAN"),
        "CLARION_INSECURE": "1",
        "CLARION_ALERT_WEBHOOK_URL": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook",
    }
    lane_id = await _lane(database, app)
    stopping = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(daemon.run("monitor", Settings, build, env=env, stopping=stopping))
        await _failed(database, app, lane_id, 30, code=None, kind=5, state=21, reason=41)
        told = await hook.told.get()
        stopping.set()
    server.close()
    await hook.close()

    assert (told["incident"], told["value"]) == (f"token-deaths/lane {lane_id} dead addresses", 30)


async def test_paused_consumer_goes_on_after_one_look(bus: JetStreamBus, subjects: Subjects, shown: Shown) -> None:
    taken: asyncio.Queue[Batch] = asyncio.Queue()
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await bus._jetstream.pause_consumer(subjects.stream_name(Stream.DISPATCH), SMS_URGENT.name, until)

    async with _reading(bus, SMS_URGENT, taken):
        await bus.publish(SMS_URGENT, [uuid4().bytes])
        await shown.watch.look_at_bus()
        batch = await asyncio.wait_for(taken.get(), 10)

    assert len(batch.ids) == 1
    assert shown.value(names.CONSUMERS_HEALED, SMS_URGENT.name, "paused") == 1


async def test_stalled_consumer_is_made_anew_under_its_readers(bus: JetStreamBus, subjects: Subjects) -> None:
    view = BusView(bus, subjects, SystemClock())
    taken: asyncio.Queue[Batch] = asyncio.Queue()

    async with _reading(bus, SMS_URGENT, taken):
        await bus.publish(SMS_URGENT, [uuid4().bytes])
        await asyncio.wait_for(taken.get(), 10)
        await view.heal(Stall(SMS_URGENT, Fault.STALLED, timedelta(seconds=15)))
        await bus.publish(SMS_URGENT, [uuid4().bytes])
        await asyncio.wait_for(taken.get(), 10)

    look = await view.look()
    assert not [consumer for consumer in look.consumers if consumer.missing]


async def test_deleted_consumer_is_missing_in_the_look(bus: JetStreamBus, subjects: Subjects) -> None:
    await bus._jetstream.delete_consumer(subjects.stream_name(Stream.DISPATCH), SMS_URGENT.name)

    look = await BusView(bus, subjects, SystemClock()).look()

    assert [consumer.lane for consumer in look.consumers if consumer.missing] == [SMS_URGENT]


async def test_missing_stream_is_told_by_its_name(bus: JetStreamBus, subjects: Subjects) -> None:
    await bus._jetstream.delete_stream(subjects.stream_name(Stream.RETRY))

    look = await BusView(bus, subjects, SystemClock()).look()

    assert [stream.name for stream in look.streams if stream.created is None] == ["RETRY"]


async def test_server_whose_disk_is_full_refuses(tmp_path: Path, telemetry: Telemetry, subjects: Subjects) -> None:
    server = NatsServer(tmp_path, options=NatsOptions(max_file_store_bytes=2 << 30))
    await server.start()
    try:
        async with JetStreamBus.connect(server.url(), "test", subjects, telemetry) as bus:
            await bus.ensure_topology()
            await _forbid_writing(bus, subjects)
            with pytest.raises(BusRefuses):
                await BusView(bus, subjects, SystemClock()).look()
    finally:
        await server.stop(timedelta(seconds=5))


async def test_bus_that_is_away_does_not_refuse(telemetry: Telemetry, subjects: Subjects) -> None:
    async with JetStreamBus.connect("nats://127.0.0.1:1", "test", subjects, telemetry) as bus:
        with pytest.raises(BusUnavailable):
            await BusView(bus, subjects, SystemClock()).look()


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


async def test_ten_thousand_failures_of_one_cause_are_one_alert_of_two_monitors(
    database: Database, app: App, bus: JetStreamBus, nats_url: str, subjects: Subjects
) -> None:
    hook = Hook()
    server = await asyncio.start_server(hook.serve, "127.0.0.1", 0)
    env = {
        "CLARION_DATABASE_URL": f"{database.url}?role=clarion_monitor",
        "CLARION_NATS_URL": nats_url,
        "CLARION_SUBJECT_PREFIX": subjects.stream_name(Stream.PLAN).removesuffix("-PLAN"),
        "CLARION_INSECURE": "1",
        "CLARION_LOOK_SECONDS": "0.1",
        "CLARION_RECOVER_SECONDS": "0",
        "CLARION_WARN_ERROR_SHARE": "1",
        "CLARION_RUNBOOK_URL": "https://wiki.example/runbook",
        "CLARION_ALERT_WEBHOOK_URL": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook",
    }
    lane_id = await _lane(database, app)
    stopping = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(daemon.run("monitor", Settings, build, env=env, stopping=stopping))
        told = []
        for _ in range(2):
            await _failed(database, app, lane_id, 1, code=None, kind=5, state=20)
            await _failed(database, app, lane_id, 10_000, code="503")
            told.append(await hook.told.get())
            await database.pool.execute("DELETE FROM ledger.event")
            told.append(await hook.told.get())
        stopping.set()
    server.close()
    await hook.close()

    assert [message["status"] for message in told] == ["alert", "resolved"] * 2
    assert {message["incident"] for message in told} == {f"failures/failures {lane_id} 503"}
    assert (told[0]["app"], told[0]["runbook"]) == ("shop", "https://wiki.example/runbook#failures")
    assert hook.told.empty()


class Hook:
    """Takes every message."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._writers: list[asyncio.StreamWriter] = []

    async def close(self) -> None:
        """End every connection; what is left open would be found by the garbage collector amid another test."""
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                self.told.put_nowait(json.loads(await reader.readexactly(length)))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()


@asynccontextmanager
async def _reading(bus: JetStreamBus, lane: Lane, taken: asyncio.Queue[Batch]) -> AsyncIterator[None]:
    async def take(batch: Batch) -> Verdict:
        taken.put_nowait(batch)
        return Verdict.ACK

    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(bus.consume(lane, take, stopping, max_messages=4))
        try:
            yield
        finally:
            stopping.set()


async def _lane(database: Database, app: App) -> int:
    lane_id: int = await database.pool.fetchval(
        "INSERT INTO ledger.lane (app_id, name, kind, channel, settings) VALUES ($1, $2, 'smpp', 4, '') RETURNING lane_id",
        app.app_id,
        uuid4().hex,
    )
    return lane_id


async def _webhook(database: Database, app: App, name: str, *, enabled: bool) -> int:
    webhook_id: int = await database.pool.fetchval(
        "INSERT INTO ledger.webhook (app_id, enabled, kinds, channels, categories, name, url, secret) "
        "VALUES ($1, $2, '{}', '{}', '{}', $3, '', '') RETURNING webhook_id",
        app.app_id,
        enabled,
        name,
    )
    await database.pool.execute(
        "INSERT INTO ledger.webhook_progress (webhook_id, app_id) VALUES ($1, $2)", webhook_id, app.app_id
    )
    return webhook_id


async def _failed(
    database: Database,
    app: App,
    lane_id: int,
    count: int,
    *,
    code: str | None,
    kind: int = 4,
    state: int = 4,
    reason: int | None = None,
    seconds_ago: int = 0,
) -> None:
    await database.pool.execute(
        "INSERT INTO ledger.event (at, notification_id, delivery_id, app_id, lane_id, kind, state, reason, attempt, code) "
        "SELECT now() - $1 * interval '1 second', uuidv7(), uuidv7(), $2, $3, $4, $5, $6, 1, $7 FROM generate_series(1, $8)",
        seconds_ago,
        app.app_id,
        lane_id,
        kind,
        state,
        reason,
        code,
        count,
    )


async def _forbid_writing(bus: JetStreamBus, subjects: Subjects) -> None:
    """As a full disk does: the stream of events takes nothing more."""
    name = subjects.stream_name(Stream.EVENTS)
    info = await bus._jetstream.stream_info(name)
    info.config.max_bytes = 1
    info.config.discard = DiscardPolicy.NEW
    await bus._jetstream.update_stream(info.config)


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
