"""Prometheus metrics of one daemon, made from the registry of names.

Who scrapes with `Accept: application/openmetrics-text` also gets exemplars: the trace behind an observation.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server
from prometheus_client import Metric as Family

from clarion_kit.settings import split_listen
from clarion_kit.telemetry.names import Metric, MetricKind
from clarion_kit.telemetry.tracing import sampled


def exemplar(traceparent: str | None) -> dict[str, str] | None:
    """Trace and span of a sampled `traceparent`, as `Histogram.observe` and `Counter.inc` take them; else None."""
    if traceparent is None or not sampled(traceparent):
        return None
    return {"trace_id": traceparent[3:35], "span_id": traceparent[36:52]}


class _Registry(CollectorRegistry):
    """Without the `_created` series that the library makes beside every counter and histogram: nobody asks for them."""

    def collect(self) -> Iterator[Family]:
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class Metrics:
    """Makes each instrument once and serves them all; closing stops the endpoint."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = _Registry()
        ProcessCollector(registry=self.registry)
        self._made: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, metric: Metric) -> Counter:
        """Raises TypeError unless the metric is one."""
        made = self._made.get(metric.name)
        if made is None:
            self._expect(metric, MetricKind.COUNTER)
            made = Counter(metric.name, metric.help, metric.labels, registry=self.registry)
            self._made[metric.name] = made
        if not isinstance(made, Counter):
            raise TypeError(f"{metric.name} is not a counter")
        return made

    def gauge(self, metric: Metric) -> Gauge:
        """Raises TypeError unless the metric is one."""
        made = self._made.get(metric.name)
        if made is None:
            self._expect(metric, MetricKind.GAUGE)
            made = Gauge(metric.name, metric.help, metric.labels, registry=self.registry)
            self._made[metric.name] = made
        if not isinstance(made, Gauge):
            raise TypeError(f"{metric.name} is not a gauge")
        return made

    def histogram(self, metric: Metric) -> Histogram:
        """Raises TypeError unless the metric is one."""
        made = self._made.get(metric.name)
        if made is None:
            self._expect(metric, MetricKind.HISTOGRAM)
            made = Histogram(metric.name, metric.help, metric.labels, registry=self.registry, buckets=metric.buckets)
            self._made[metric.name] = made
        if not isinstance(made, Histogram):
            raise TypeError(f"{metric.name} is not a histogram")
        return made

    @asynccontextmanager
    async def serve(self, listen: str) -> AsyncIterator[int]:
        """Serve `GET /metrics` on host:port in a thread of its own while entered; gives the port."""
        host, port = split_listen(listen)
        server, thread = start_http_server(port, host, self.registry)
        try:
            yield server.server_port
        finally:
            await asyncio.to_thread(server.shutdown)
            server.server_close()
            thread.join()

    def _expect(self, metric: Metric, kind: MetricKind) -> None:
        if metric.kind is not kind:
            raise TypeError(f"{metric.name} is not a {kind}")
