"""What the engine counts of its channel."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from clarion_channels.engine.lanes import Lane
from clarion_channels.errortable import UNLISTED_PREFIX
from clarion_channels.outcome import Outcome, Result
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics, exemplar
from clarion_kit.vocabulary import Channel, DeliveryState
from clarion_ledger.app_labels import AppLabels
from clarion_ledger.dispatching import Claimed
from clarion_ledger.ids import timestamp_ms


class Meters:
    """One for each engine."""

    def __init__(self, channel: Channel, metrics: Metrics, apps: AppLabels) -> None:
        self._channel = channel.slug
        self._apps = apps
        self._attempts = metrics.counter(names.ATTEMPTS)
        self._calls = metrics.histogram(names.PROVIDER_CALL)
        self._retries = metrics.counter(names.RETRIES)
        self._dead = metrics.counter(names.DEAD_ADDRESSES)
        self._unknown = metrics.counter(names.UNKNOWN_CODES)
        self._terminal = metrics.counter(names.TERMINAL)
        self._by_app = metrics.counter(names.TERMINAL_BY_APP)
        self._age = metrics.histogram(names.DELIVERY_AGE)
        self._dispatch_age = metrics.histogram(names.DISPATCH_AGE)
        self._in_flight = metrics.gauge(names.LANE_IN_FLIGHT)
        self._stopped = metrics.gauge(names.LANE_STOPPED)
        self._limits = metrics.gauge(names.LANE_LIMIT)

    def answered(self, kind: str, result: Result, state: DeliveryState, seconds: float, context: str) -> None:
        """A provider's answer after `seconds`, and what became of the delivery; `context` is its sampled traceparent."""
        outcome = result.outcome.name.lower()
        self._attempts.labels(self._channel, kind, outcome).inc()
        self._calls.labels(self._channel, kind).observe(seconds, exemplar(context))
        if state is DeliveryState.RETRY_WAIT:
            self._retries.labels(self._channel, kind, outcome).inc()
        if result.outcome is Outcome.DEAD:
            self._dead.labels(self._channel, kind, "opted_out" if result.opted_out else "dead").inc()
        if result.code.startswith(UNLISTED_PREFIX):
            self._unknown.labels(kind).inc()

    def ended(self, claimed: Claimed, state: DeliveryState, now: datetime) -> None:
        """A delivery whose terminal state is recorded."""
        slug = state.name.lower()
        self._terminal.labels(self._channel, slug).inc()
        self._by_app.labels(self._apps.of(claimed.app_id), self._channel, slug).inc()
        if state is not DeliveryState.SENT:
            return
        trace = exemplar(claimed.traceparent)
        labels = (self._channel, claimed.priority.slug)
        accepted_ms = timestamp_ms(claimed.notification_id)
        self._age.labels(*labels).observe(max(0.0, now.timestamp() - accepted_ms / 1_000), trace)
        # What was deferred or waited for a window is late by intention: it would hide what is late by itself.
        if not claimed.gates_due:
            self._dispatch_age.labels(*labels).observe(max(0.0, (now - claimed.planned_at).total_seconds()), trace)

    def show(self, lanes: Iterable[Lane]) -> None:
        """How the lanes stand now."""
        open_now, limits, stopped = Counter[str](), Counter[str](), Counter[str]()
        for lane in lanes:
            open_now[lane.config.kind] += lane.in_flight
            limits[lane.config.kind] += lane.protection.limit
            stopped[lane.config.kind] += int(lane.stop is not None)
        for gauge, counts in ((self._in_flight, open_now), (self._limits, limits), (self._stopped, stopped)):
            for kind, count in counts.items():
                gauge.labels(self._channel, kind).set(count)
