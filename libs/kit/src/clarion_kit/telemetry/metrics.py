"""Prometheus metrics of one daemon, made from the registry of names."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from clarion_kit.settings import split_listen
from clarion_kit.telemetry.names import Metric


class Metrics:
    """Makes each instrument once and serves them all; closing stops the endpoint."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, metric: Metric) -> Counter:
        made = self._made.get(metric.name)
        if made is None:
            made = Counter(metric.name, metric.help, metric.labels, registry=self.registry)
            self._made[metric.name] = made
        if not isinstance(made, Counter):
            raise TypeError(f"{metric.name} is not a counter")
        return made

    def gauge(self, metric: Metric) -> Gauge:
        made = self._made.get(metric.name)
        if made is None:
            made = Gauge(metric.name, metric.help, metric.labels, registry=self.registry)
            self._made[metric.name] = made
        if not isinstance(made, Gauge):
            raise TypeError(f"{metric.name} is not a gauge")
        return made

    def histogram(self, metric: Metric) -> Histogram:
        made = self._made.get(metric.name)
        if made is None:
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
