"""Everything a daemon needs to be seen, in one object."""

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExporter

from clarion_kit.settings import Common
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.tracing import Tracing

EXPORT_TIMEOUT_SECONDS = 5


class Telemetry:
    """Tracing and metrics of one daemon; `tracing` is closed by whoever made this."""

    def __init__(self, tracing: Tracing, metrics: Metrics) -> None:
        self.tracing = tracing
        self.metrics = metrics

    @classmethod
    def for_daemon(cls, name: str, settings: Common) -> "Telemetry":
        """As the settings say: no collector, no spans."""
        exporter: SpanExporter | None = None
        if settings.otlp_endpoint:
            exporter = OTLPSpanExporter(
                endpoint=settings.otlp_endpoint,
                insecure=settings.otlp_endpoint.startswith("http://"),
                timeout=EXPORT_TIMEOUT_SECONDS,
            )
        metrics = Metrics()
        dropped = metrics.counter(names.EXPORT_DROPPED)

        def count(cause: str, spans: int) -> None:
            dropped.labels(cause).inc(spans)

        service = f"clarion-{name.replace('_', '-')}"
        return cls(Tracing(service, settings.trace_ratio, exporter, dropped=count), metrics)
