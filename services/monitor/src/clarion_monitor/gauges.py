"""The monitor's gauges. What could not be read is forgotten: an old figure would look like a good one."""

import math
from collections.abc import Iterable, Mapping, Sequence

from clarion_kit.clock import Clock
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.vocabulary import Channel
from clarion_monitor.accounts import AccountsLook
from clarion_monitor.domain import AppBacklog, Backlog, Findings, Kind, Queue, outbox_age
from clarion_monitor.stalls import Stall


class Gauges:
    """Sets each figure, and when its source was last read."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._clock = clock
        self._depth = metrics.gauge(names.QUEUE_DEPTH)
        self._pending = metrics.gauge(names.QUEUE_PENDING)
        self._queue_age = metrics.gauge(names.QUEUE_AGE)
        self._rows = metrics.gauge(names.BACKLOG)
        self._rows_age = metrics.gauge(names.BACKLOG_AGE)
        self._outbox = metrics.gauge(names.OUTBOX_AGE)
        self._app_rows = metrics.gauge(names.APP_BACKLOG)
        self._app_age = metrics.gauge(names.APP_BACKLOG_AGE)
        self._account_state = metrics.gauge(names.ACCOUNT_STATE)
        self._answers = metrics.gauge(names.ACCOUNT_ANSWERS)
        self._quality = metrics.gauge(names.LANE_QUALITY)
        self._dead_letters = metrics.gauge(names.DEAD_LETTERS)
        self._unaccounted = metrics.gauge(names.INVARIANT)
        self._stuck = metrics.gauge(names.STUCK)
        self._last_look = metrics.gauge(names.LAST_LOOK)
        self._incidents = metrics.gauge(names.INCIDENTS)
        self._healed = metrics.counter(names.CONSUMERS_HEALED)

    def show_queues(self, queues: Iterable[Queue]) -> None:
        for queue in queues:
            self._depth.labels(queue.lane).set(queue.waiting)
            self._pending.labels(queue.lane).set(queue.pending)
            self._queue_age.labels(queue.lane).set(queue.age.total_seconds())
        self._looked("bus")

    def show_backlog(
        self, backlogs: Sequence[Backlog], by_app: Iterable[AppBacklog], dead_letters: Mapping[Channel, int]
    ) -> None:
        for backlog in backlogs:
            self._rows.labels(backlog.stage, backlog.state).set(backlog.rows)
            self._rows_age.labels(backlog.stage, backlog.state).set(backlog.age.total_seconds())
        for channel, count in dead_letters.items():
            self._dead_letters.labels(channel.slug).set(count)
        self._outbox.set(outbox_age(backlogs).total_seconds())
        for gauge in (self._app_rows, self._app_age):
            gauge.clear()
        for app in by_app:
            self._app_rows.labels(app.app).set(app.rows)
            self._app_age.labels(app.app).set(app.age.total_seconds())
        self._looked("ledger")

    def show_accounts(self, look: AccountsLook) -> None:
        self.forget_accounts()
        for account in look.states:
            labels = (account.app, account.name, account.channel.slug, account.provider, account.state)
            self._account_state.labels(*labels).set(1)
        for one in look.answers:
            for answer, count in (("good", one.good), ("failed", one.failed), ("dead", one.dead)):
                self._answers.labels(one.app, one.name, answer).set(count)
        for quality in look.quality:
            self._quality.labels(quality.app, quality.name, quality.country).set(quality.factor / 100)
        self._looked("accounts")

    def show_audit(self, findings: Findings) -> None:
        for name, count in findings.checks.items():
            self._unaccounted.labels(name).set(count)
        self._stuck.clear()
        for (app, stage), rows in findings.stuck.items():
            self._stuck.labels(app, stage).set(rows)
        self._looked("audit")

    def show_incidents(self, by_kind: Mapping[Kind, int]) -> None:
        for kind in Kind:
            self._incidents.labels(kind).set(by_kind.get(kind, 0))

    def count_healed(self, stall: Stall) -> None:
        self._healed.labels(stall.lane.name, stall.fault).inc()

    def forget_queues(self) -> None:
        for gauge in (self._depth, self._pending, self._queue_age):
            gauge.clear()

    def forget_backlog(self) -> None:
        for gauge in (self._rows, self._rows_age, self._dead_letters, self._app_rows, self._app_age):
            gauge.clear()
        self._outbox.set(math.nan)

    def forget_accounts(self) -> None:
        for gauge in (self._account_state, self._answers, self._quality):
            gauge.clear()

    def forget_audit(self) -> None:
        self._unaccounted.clear()
        self._stuck.clear()

    def _looked(self, source: str) -> None:
        self._last_look.labels(source).set(self._clock.now().timestamp())
