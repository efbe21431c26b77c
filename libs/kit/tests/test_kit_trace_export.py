"""A collector that is away, silent or broken costs a bounded queue and a count, never a wait."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from clarion_kit.settings import Common, load
from clarion_kit.telemetry import names
from clarion_kit.telemetry import tracing as tracing_module
from clarion_kit.telemetry.export import BoundedExport
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing

SAMPLED = "00-0000000000000000000000000000000a-00000000000000aa-01"
SOON = 10.0


class Drops:
    """Counts what was dropped, by cause."""

    def __init__(self) -> None:
        self.by_cause: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self, cause: str, spans: int) -> None:
        with self._lock:
            self.by_cause[cause] = self.by_cause.get(cause, 0) + spans


class Gate(SpanExporter):
    """Takes nothing until it is opened."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.open = threading.Event()
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        assert self.open.wait(SOON)
        self.taken += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.open.set()


class Broken(SpanExporter):
    """Fails in both ways an exporter can."""

    def __init__(self, *, raises: bool) -> None:
        self._raises = raises

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._raises:
            raise OSError("broken")
        return SpanExportResult.FAILURE


def spans(export: BoundedExport, count: int) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export)
    tracer = provider.get_tracer("test")
    for _ in range(count):
        tracer.start_span("one").end()


def test_full_queue_drops_and_counts_and_nobody_waits() -> None:
    gate, drops = Gate(), Drops()
    export = BoundedExport(gate, drops, queue=20)

    spans(export, 50)  # the exporter holds whatever it took meanwhile: that counts as waiting too
    waiting = export.waiting
    gate.open.set()
    export.shutdown()

    assert waiting == 20
    assert drops.by_cause == {"queue_full": 30}
    assert (gate.taken, export.waiting) == (20, 0)


@pytest.mark.parametrize("raises", [False, True])
def test_what_the_collector_does_not_take_is_counted_and_makes_room(
    raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    drops = Drops()
    export = BoundedExport(Broken(raises=raises), drops, queue=20)

    spans(export, 7)
    export.shutdown()

    assert drops.by_cause == {"not_taken": 7}
    assert export.waiting == 0
    assert ("broken" in caplog.text) is raises


@pytest.fixture
def quick_farewell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module, "FLUSH_TIMEOUT", timedelta(milliseconds=200))


@asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[str]:
    """A TCP server that answers every connection with the same bytes, or never."""
    quiet = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is not None:
            writer.write(answer)
        await quiet.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as started:
        yield f"http://127.0.0.1:{started.sockets[0].getsockname()[1]}"
        quiet.set()


@pytest.mark.parametrize("answer", [None, b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(range(256)) * 8])
@pytest.mark.usefixtures("quick_farewell")
async def test_collector_that_hangs_or_talks_garbage_loses_spans_and_nothing_else(answer: bytes | None) -> None:
    drops = Drops()
    async with server(answer) as endpoint:
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=20)
        async with asyncio.timeout(SOON), Tracing("test", 1.0, exporter, dropped=drops) as tracing:
            for _ in range(9_000):
                with tracing.root("call", SpanKind.SERVER):
                    pass

    assert sum(drops.by_cause.values()) == 9_000
    assert drops.by_cause["queue_full"] == 9_000 - 8_192


@pytest.mark.usefixtures("quick_farewell")
async def test_daemon_counts_spans_that_nobody_took() -> None:
    async with server(None) as endpoint:
        telemetry = Telemetry.for_daemon(
            "tracker", load(Common, {"CLARION_INSECURE": "1", "CLARION_OTLP_ENDPOINT": endpoint})
        )
        async with telemetry.tracing as tracing:
            with tracing.span("call", SpanKind.SERVER, SAMPLED):
                pass

    assert telemetry.metrics.registry.get_sample_value(names.EXPORT_DROPPED.name, {"cause": "not_taken"}) == 1
    assert tracing.exports


async def test_collector_that_comes_back_gets_what_follows() -> None:
    class Collector(trace_service_pb2_grpc.TraceServiceServicer):
        def __init__(self) -> None:
            self.got = asyncio.Event()

        async def Export(self, request: object, context: object) -> object:
            self.got.set()
            return trace_service_pb2.ExportTraceServiceResponse()

    collector = Collector()
    started = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, started)  # type: ignore[no-untyped-call]
    port = started.add_insecure_port("127.0.0.1:0")
    drops = Drops()
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}", insecure=True, timeout=5)
    try:
        async with Tracing("test", 1.0, exporter, dropped=drops) as tracing:
            with tracing.root("before", SpanKind.SERVER):
                pass
            await started.start()
            async with asyncio.timeout(SOON):
                await collector.got.wait()
    finally:
        await started.stop(1.0)

    assert drops.by_cause == {}
