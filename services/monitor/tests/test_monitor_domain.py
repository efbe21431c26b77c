"""Limits, crossings and the jobs, on fakes of the sources."""

import logging
from collections.abc import Mapping
from datetime import timedelta

import pytest

from clarion_kit.clock import SystemClock
from clarion_kit.errors import Unavailable
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.names import Metric
from clarion_kit.vocabulary import Channel
from clarion_monitor.domain import (
    STATES,
    Backlog,
    Findings,
    Limits,
    Queue,
    Reading,
    Thresholds,
    backlog_readings,
    every_state,
)
from clarion_monitor.gauges import Gauges
from clarion_monitor.watch import Watch

LIMITS = Limits(timedelta(seconds=60), timedelta(seconds=300), dead_letters=0)
SECOND = timedelta(seconds=1)


class Away(Unavailable):
    pass


class FakeBus:
    def __init__(self) -> None:
        self.found: list[Queue] = []
        self.away = False

    async def queues(self) -> list[Queue]:
        if self.away:
            raise Away
        return self.found


class FakeLedger:
    def __init__(self) -> None:
        self.rows: list[Backlog] = []
        self.letters: dict[Channel, int] = {}
        self.findings = Findings({}, 0)
        self.away = False

    async def backlog(self) -> list[Backlog]:
        if self.away:
            raise Away
        return self.rows

    async def dead_letters(self) -> Mapping[Channel, int]:
        return self.letters

    async def audit(self, window: timedelta) -> Findings:
        if self.away:
            raise Away
        return self.findings


class Mesh:
    def __init__(self) -> None:
        self.bus, self.ledger, self.metrics = FakeBus(), FakeLedger(), Metrics()
        self.watch = Watch(self.bus, self.ledger, Gauges(self.metrics, SystemClock()), LIMITS)

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
    mesh.bus.found = [Queue("plan-urgent", 4, 1, SECOND)]
    mesh.ledger.rows = [Backlog("plan", "ready", 7, SECOND)]
    mesh.ledger.findings = Findings({"check": 1}, 2)
    await mesh.watch.look_at_bus()
    await mesh.watch.look_at_backlog()
    await mesh.watch.audit(SECOND)
    last_look = mesh.gauge(names.LAST_LOOK, "bus")

    mesh.bus.away = mesh.ledger.away = True
    for look in (mesh.watch.look_at_bus(), mesh.watch.look_at_backlog(), mesh.watch.audit(SECOND)):
        with pytest.raises(Away):
            await look

    assert mesh.gauge(names.QUEUE_DEPTH, "plan-urgent") is None
    assert mesh.gauge(names.BACKLOG, "plan", "ready") is None
    assert mesh.gauge(names.INVARIANT, "check") is None
    assert mesh.gauge(names.LAST_LOOK, "bus") == last_look


async def test_warning_names_what_is_past_which_limit(mesh: Mesh, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "clarion_monitor")
    mesh.bus.found = [Queue("dispatch-sms-urgent", 1, 0, timedelta(seconds=61))]
    await mesh.watch.look_at_bus()
    await mesh.watch.look_at_bus()
    mesh.bus.found = [Queue("dispatch-sms-urgent", 0, 0, timedelta(0))]
    await mesh.watch.look_at_bus()

    told = [(record.levelname, vars(record)["subject"], vars(record)["limit"]) for record in caplog.records]
    subject = "queue dispatch-sms-urgent oldest seconds"
    assert told == [("WARNING", subject, 60.0), ("INFO", subject, 60.0)]


async def test_any_finding_of_the_audit_is_a_warning(mesh: Mesh, caplog: pytest.LogCaptureFixture) -> None:
    mesh.ledger.findings = Findings({"fine": 0, "sent_without_attempt": 1}, 1)

    await mesh.watch.audit(SECOND)

    assert [vars(record)["subject"] for record in caplog.records] == [
        "ledger sent_without_attempt",
        "ledger stuck rows",
    ]
