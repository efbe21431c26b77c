"""Limits, crossings and the jobs, on fakes of the sources."""

import contextlib
import logging
from datetime import UTC, datetime, timedelta

import pytest

from clarion_kit.clock import SystemClock
from clarion_kit.subjects import all_lanes
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.names import Metric
from clarion_kit.vocabulary import Channel, StopReason
from clarion_monitor.accounts import AccountsLook, AccountState, Answers, Quality
from clarion_monitor.causes import Account, Failures, Stopped, StreamState
from clarion_monitor.domain import (
    STATES,
    AppBacklog,
    Backlog,
    Findings,
    Kind,
    Limits,
    Queue,
    Reading,
    Standstills,
    Thresholds,
    backlog_readings,
    every_state,
)
from clarion_monitor.gauges import Gauges
from clarion_monitor.ports import BusRefuses
from clarion_monitor.stalls import Consumer, Fault
from clarion_monitor.watch import Watch

from .monitor_samples import Away, FakeAccounts, FakeBus, FakeIncidents, FakeLedger

LIMITS = Limits(timedelta(seconds=60), timedelta(seconds=300), dead_letters=0)
SECOND = timedelta(seconds=1)


class Mesh:
    def __init__(self) -> None:
        self.bus, self.ledger, self.accounts = FakeBus(), FakeLedger(), FakeAccounts()
        self.incidents, self.metrics = FakeIncidents(), Metrics()
        clock = SystemClock()
        gauges = Gauges(self.metrics, clock)
        self.watch = Watch(self.bus, self.ledger, self.accounts, self.incidents, gauges, LIMITS, clock)

    def passed(self, kind: Kind) -> list[str]:
        """What passed its limit in the last look."""
        return [reading.what for reading in self.incidents.passed[kind]]

    def gauge(self, metric: Metric, *labels: str) -> float | None:
        value: float | None = self.metrics.registry.get_sample_value(
            metric.name, dict(zip(metric.labels, labels, strict=True))
        )
        return value


@pytest.fixture
def mesh() -> Mesh:
    return Mesh()


def test_threshold_warns_once_and_comes_back_once() -> None:
    thresholds = Thresholds()

    crossings = [thresholds.judge([Reading("x", value, 10)]) for value in (10, 11, 50, 11, 10, 9, 12)]

    assert [[one.passed for one in found] for found in crossings] == [[], [True], [], [], [False], [], [True]]


def test_subject_that_is_no_longer_read_came_back() -> None:
    thresholds = Thresholds()
    thresholds.judge([Reading("x", 11, 10)])

    assert [one.passed for one in thresholds.judge([])] == [False]
    assert [one.passed for one in thresholds.judge([Reading("x", 11, 10)])] == [True]


def test_only_rows_that_we_have_to_move_have_a_limit() -> None:
    old = [Backlog(stage, state, 1, timedelta(days=1)) for stage, state in STATES]

    limited = {reading.subject for reading in backlog_readings(old, LIMITS)}

    assert limited == {
        f"backlog {place} oldest seconds"
        for place in (
            "plan ready",
            "plan enqueued",
            "dispatch ready",
            "dispatch enqueued",
            "schedule due",
            "receipts due",
        )
    }


OLDEST = datetime(2030, 1, 1, tzinfo=UTC)
THIRTY = timedelta(seconds=30)


def resting(rows: int, since: datetime = OLDEST, state: str = "ready") -> list[Backlog]:
    return [Backlog("plan", state, rows, SECOND, since)]


def test_rows_none_of_which_moves_for_thirty_seconds_stand_still() -> None:
    standstills = Standstills(THIRTY)

    found = [standstills.judge(resting(5 + look), now=10.0 * look) for look in range(5)]

    assert found == [set(), set(), set(), {("plan", "ready")}, {("plan", "ready")}]


@pytest.mark.parametrize(
    "moves",
    [
        pytest.param(resting(4), id="they became fewer"),
        pytest.param(resting(5, OLDEST + SECOND), id="the oldest went"),
        pytest.param([], id="all went"),
        pytest.param([Backlog("plan", "ready", 0, timedelta(0))], id="none is left"),
    ],
)
def test_rows_that_move_begin_anew(moves: list[Backlog]) -> None:
    standstills = Standstills(THIRTY)
    standstills.judge(resting(5), 0.0)
    standstills.judge(moves, 20.0)

    assert standstills.judge(resting(5), 40.0) == set()


@pytest.mark.parametrize("state", ["enqueued", "leased", "retry_wait", "deferred", "held", "waiting"])
def test_rows_that_wait_for_others_never_stand_still(state: str) -> None:
    standstills = Standstills(THIRTY)
    standstills.judge(resting(5, state=state), 0.0)

    assert standstills.judge(resting(5, state=state), 1_000.0) == set()


def test_standstill_and_age_are_one_incident() -> None:
    rows = [Backlog("plan", "ready", 5, timedelta(seconds=31))]

    [aged], [still] = backlog_readings(rows, LIMITS), backlog_readings(rows, LIMITS, {("plan", "ready")})

    assert (aged.passed, still.passed) == (False, True)
    assert aged.key == still.key
    assert still.what == "rows stand still in the ledger: plan ready"


def test_states_without_rows_are_zero() -> None:
    found = every_state([Backlog("dispatch", "held", 3, SECOND)])

    assert [(one.stage, one.state) for one in found] == list(STATES)
    assert sum(one.rows for one in found) == 3


async def test_gauge_comes_down_when_the_rows_are_gone(mesh: Mesh) -> None:
    mesh.ledger.rows = [Backlog("dispatch", "ready", 7, SECOND)]
    mesh.ledger.letters = {Channel.SMS: 2}
    await mesh.watch.look_at_backlog()
    assert mesh.gauge(names.BACKLOG, "dispatch", "ready") == 7
    assert mesh.gauge(names.DEAD_LETTERS, "sms") == 2

    mesh.ledger.rows, mesh.ledger.letters = [], {}
    await mesh.watch.look_at_backlog()

    assert mesh.gauge(names.BACKLOG, "dispatch", "ready") == 0
    assert mesh.gauge(names.BACKLOG_AGE, "dispatch", "ready") == 0
    assert mesh.gauge(names.DEAD_LETTERS, "sms") == 0


async def test_what_cannot_be_read_is_forgotten(mesh: Mesh) -> None:
    mesh.bus.queues = [Queue("plan-urgent", 4, 1, SECOND)]
    mesh.ledger.rows = [Backlog("plan", "ready", 7, SECOND)]
    mesh.ledger.findings = Findings({"check": 1}, {("7", "sms enqueued"): 2})
    await mesh.watch.look_at_bus()
    await mesh.watch.look_at_backlog()
    mesh.accounts.found = AccountsLook([AccountState("shop", "main", Channel.SMS, "smpp", "works")], [], [])
    await mesh.watch.look_at_accounts()
    await mesh.watch.audit()
    last_look = mesh.gauge(names.LAST_LOOK, "bus")

    mesh.bus.fault, mesh.ledger.away, mesh.accounts.away = Away(), True, True
    watch = mesh.watch
    for look in (watch.look_at_bus(), watch.look_at_backlog(), watch.look_at_accounts(), watch.audit()):
        with pytest.raises(Away):
            await look

    assert mesh.gauge(names.QUEUE_DEPTH, "plan-urgent") is None
    assert mesh.gauge(names.BACKLOG, "plan", "ready") is None
    assert mesh.gauge(names.ACCOUNT_STATE, "shop", "main", "sms", "smpp", "works") is None
    assert mesh.gauge(names.INVARIANT, "check") is None
    assert mesh.gauge(names.LAST_LOOK, "bus") == last_look


async def test_warning_names_what_is_past_which_limit(mesh: Mesh, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "clarion_monitor")
    mesh.bus.queues = [Queue("dispatch-sms-urgent", 1, 0, timedelta(seconds=61))]
    await mesh.watch.look_at_bus()
    await mesh.watch.look_at_bus()
    mesh.bus.queues = [Queue("dispatch-sms-urgent", 0, 0, timedelta(0))]
    await mesh.watch.look_at_bus()

    told = [(record.levelname, vars(record)["subject"], vars(record)["limit"]) for record in caplog.records]
    subject = "queue dispatch-sms-urgent oldest seconds"
    assert told == [("WARNING", subject, 60.0), ("INFO", subject, 60.0)]


async def test_any_finding_of_the_audit_is_a_warning(mesh: Mesh, caplog: pytest.LogCaptureFixture) -> None:
    mesh.ledger.findings = Findings({"fine": 0, "sent_without_attempt": 1}, {("7", "plan ready"): 1})

    await mesh.watch.audit()

    assert [vars(record)["subject"] for record in caplog.records] == [
        "ledger sent_without_attempt",
        "ledger stuck rows",
    ]


async def test_look_at_the_bus_heals_and_tells_consumers(mesh: Mesh) -> None:
    lane, *_ = all_lanes()
    mesh.bus.consumers = [Consumer(lane, paused=True)]
    mesh.bus.streams = [StreamState("PLAN", None)]

    await mesh.watch.look_at_bus()

    assert [(stall.lane, stall.fault) for stall in mesh.bus.healed] == [(lane, Fault.PAUSED)]
    assert mesh.passed(Kind.CONSUMER) == [f"the consumer {lane.name} was paused and is healed"]
    assert mesh.passed(Kind.STREAM) == ["stream PLAN: missing"]
    assert mesh.gauge(names.CONSUMERS_HEALED, lane.name, "paused") == 1


async def test_bus_that_refuses_is_a_stream_error(mesh: Mesh) -> None:
    mesh.bus.fault = BusRefuses("APIError")

    with pytest.raises(BusRefuses):
        await mesh.watch.look_at_bus()

    assert mesh.passed(Kind.STREAM) == ["JetStream stores or answers nothing: APIError"]


async def test_old_rows_are_an_outbox_from_the_bus_s_absence_to_its_return(mesh: Mesh) -> None:
    mesh.ledger.rows = [Backlog("dispatch", "ready", 7, timedelta(seconds=61))]
    looks = []
    for fault in (None, Away(), None):
        mesh.bus.fault = fault
        with contextlib.suppress(Away):
            await mesh.watch.look_at_bus()
        await mesh.watch.look_at_backlog()
        looks.append(mesh.passed(Kind.OUTBOX_AGE))

    assert looks == [[], ["the bus is away and rows wait for it"], []]


async def test_backlog_is_shown_by_app_and_as_an_outbox(mesh: Mesh) -> None:
    mesh.ledger.rows = [Backlog("plan", "ready", 7, 3 * SECOND), Backlog("dispatch", "retry_wait", 1, 9 * SECOND)]
    mesh.ledger.by_app = [AppBacklog("shop", 8, 9 * SECOND)]
    await mesh.watch.look_at_backlog()
    assert mesh.gauge(names.OUTBOX_AGE) == 3
    assert mesh.gauge(names.APP_BACKLOG, "shop") == 8
    assert mesh.gauge(names.APP_BACKLOG_AGE, "shop") == 9

    mesh.ledger.rows, mesh.ledger.by_app = [], []
    await mesh.watch.look_at_backlog()

    assert mesh.gauge(names.OUTBOX_AGE) == 0
    assert mesh.gauge(names.APP_BACKLOG, "shop") is None


async def test_account_is_shown_by_how_it_stands_now(mesh: Mesh) -> None:
    sms = Account(1, 7, Channel.SMS)
    states = [AccountState("shop", "main", Channel.SMS, "smpp", state) for state in ("works", "breaker")]
    for state in states:
        mesh.accounts.found = AccountsLook(
            [state], [Answers(sms, "shop", "main", good=5, dead=1)], [Quality(sms, "shop", "main", "KR", 40)]
        )
        await mesh.watch.look_at_accounts()

    assert mesh.gauge(names.ACCOUNT_STATE, "shop", "main", "sms", "smpp", "works") is None
    assert mesh.gauge(names.ACCOUNT_STATE, "shop", "main", "sms", "smpp", "breaker") == 1
    assert mesh.gauge(names.ACCOUNT_ANSWERS, "shop", "main", "good") == 5
    assert mesh.gauge(names.LANE_QUALITY, "shop", "main", "KR") == 0.4


async def test_look_at_the_accounts_tells_every_kind_of_trouble(mesh: Mesh) -> None:
    sms, ios = Account(1, 7, Channel.SMS), Account(1, 8, Channel.IOS)
    mesh.ledger.stopped = [Stopped(ios, StopReason.DEAD_JUMP, SECOND)]
    mesh.accounts.found = AccountsLook(
        [],
        [Answers(sms, "shop", "main", good=5, failed=5), Answers(ios, "shop", "ios", good=40, dead=40)],
        [Quality(sms, "shop", "main", "KR", 40)],
    )

    await mesh.watch.look_at_accounts()

    assert mesh.passed(Kind.PROVIDER_ERRORS) == ["sms: the provider fails much of what it is given"]
    assert mesh.passed(Kind.TOKEN_DEATHS) == ["ios: so many addresses are dead that the account takes no work"]
    assert mesh.passed(Kind.LANE_QUALITY) == ["sms: the account delivers badly in KR"]
    assert mesh.passed(Kind.LANE_STOPPED) == []


async def test_look_at_the_accounts_tells_failures_and_stops(mesh: Mesh) -> None:
    account = Account(1, 7, Channel.SMS)
    mesh.ledger.causes = [Failures(account, "503", 20, 0), Failures(account, "500", 19, 0)]
    mesh.ledger.stopped = [Stopped(account, StopReason.CREDENTIALS, SECOND)]

    await mesh.watch.look_at_accounts()
    await mesh.watch.look_at_backlog()

    assert mesh.passed(Kind.FAILURES) == ["sms: attempts fail with 503"]
    assert mesh.passed(Kind.LANE_STOPPED) == ["sms: the account takes no work (credentials)"]
    assert mesh.passed(Kind.BREAKER) == []
    assert mesh.gauge(names.INCIDENTS, "failures") == 1


async def test_dead_letters_at_rest_are_a_line_in_the_log_and_no_incident(
    mesh: Mesh, caplog: pytest.LogCaptureFixture
) -> None:
    mesh.ledger.letters = {Channel.SMS: 2}

    await mesh.watch.look_at_backlog()

    assert [vars(record)["subject"] for record in caplog.records] == ["dead letters sms"]
    assert not any(mesh.incidents.passed.values())
