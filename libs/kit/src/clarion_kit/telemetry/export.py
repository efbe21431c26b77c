"""Spans on their way to a collector: a bounded queue, and a count of what no collector took.

A collector that is away, slow or broken costs a daemon at most this queue: recording a span never waits, and what finds the
queue full is dropped. The batches themselves are the SDK's; its own queue drops silently, so it is kept from ever being full.
"""

import threading
from collections.abc import Callable, Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

QUEUE = 8_192
"""Most spans of a daemon that wait or are being sent: about 12 MB."""
EVERY_MILLIS = 1_000

Dropped = Callable[[str, int], None]
"""Told why spans were dropped ("queue_full", "not_taken") and how many; called from any thread."""


def count_nothing(cause: str, spans: int) -> None:
    """For whoever does not count drops."""


class BoundedExport(SpanProcessor):
    """Hands spans to `exporter` in a thread of its own, at most `queue` of them at a time."""

    def __init__(self, exporter: SpanExporter, dropped: Dropped = count_nothing, *, queue: int = QUEUE) -> None:
        self._queue = queue
        self._dropped = dropped
        self._waiting = 0
        self._lock = threading.Lock()
        self._batches = BatchSpanProcessor(
            _Reporting(exporter, self._handed_over),
            max_queue_size=queue + 1,
            max_export_batch_size=min(512, queue),
            schedule_delay_millis=EVERY_MILLIS,
        )

    @property
    def waiting(self) -> int:
        """Spans that wait or are being sent."""
        return self._waiting

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing to do before a span has ended."""

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            full = self._waiting >= self._queue
            self._waiting += not full
        if full:
            self._dropped("queue_full", 1)
        else:
            self._batches.on_end(span)

    def shutdown(self) -> None:
        self._batches.shutdown()  # type: ignore[no-untyped-call]  # the SDK forgot

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._batches.force_flush(timeout_millis)

    def _handed_over(self, spans: int, *, taken: bool) -> None:
        with self._lock:
            self._waiting -= spans
        if not taken:
            self._dropped("not_taken", spans)


class _Reporting(SpanExporter):
    """An exporter that tells what became of its batches."""

    def __init__(self, exporter: SpanExporter, handed_over: Callable[..., None]) -> None:
        self._exporter = exporter
        self._handed_over = handed_over

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._handed_over(len(spans), taken=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
