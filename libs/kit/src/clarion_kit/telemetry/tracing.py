"""Spans with W3C context in gRPC metadata, ledger rows and NATS headers.

A recorded span costs 83 µs of CPU, so nothing is recorded for what is not sampled: a call or a row without a sampled
traceparent makes no span at all. Batches follow one rule (decisions: traces with batches): the batch's span belongs to
the trace of its first sampled member; every other sampled member gets a twin of the same interval in its own trace,
linked both ways.
"""

import asyncio
import hashlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import time_ns
from types import TracebackType
from uuid import UUID

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from clarion_kit.telemetry.export import BoundedExport, Dropped, count_nothing

Attributes = Mapping[str, str | int | float | bool]

# Version 00 ends after the flags, a later one may go on; ff is no version.
_TRACEPARENT = re.compile(r"(?!ff)(?!00.{54})[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
FLUSH_TIMEOUT = timedelta(seconds=3)
"""How long a closing daemon tries to hand its last spans to a collector."""


def parse_traceparent(value: str | None) -> SpanContext | None:
    """The context of a `traceparent` header (W3C Trace Context level 1), None if malformed."""
    match = _TRACEPARENT.fullmatch(value) if value is not None else None
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    context = SpanContext(trace_id, span_id, True, TraceFlags(flags & TraceFlags.SAMPLED))
    return context if context.is_valid else None


def format_traceparent(context: SpanContext) -> str:
    """The `traceparent` header of a context."""
    return (
        f"00-{trace.format_trace_id(context.trace_id)}-{trace.format_span_id(context.span_id)}"
        f"-{context.trace_flags:02x}"
    )


def sampled(value: str | None) -> bool:
    """Whether a traceparent asks for recording; a look at its last hex digit, nothing parsed."""
    return value is not None and len(value) >= 55 and value[54] in "13579bdf"


def current_traceparent() -> str:
    """The sampled span this task runs in, as a header; empty where there is none."""
    context = trace.get_current_span().get_span_context()
    return format_traceparent(context) if context.is_valid and context.trace_flags & TraceFlags.SAMPLED else ""


def current_trace_id() -> str:
    """The id of the sampled trace this task runs in, 32 hexadecimal digits; empty where there is none."""
    return current_traceparent()[3:35]


def attempt_span(traceparent: str, delivery_id: UUID, attempt: int) -> str:
    """The context of a delivery's attempt in the trace of `traceparent`; empty where that is not sampled.

    Its span id follows from delivery and attempt, so that a retry, and a receipt days later, links to it although nobody
    stored it.
    """
    context = parse_traceparent(traceparent)
    if context is None or not context.trace_flags & TraceFlags.SAMPLED:
        return ""
    digest = hashlib.blake2b(delivery_id.bytes + attempt.to_bytes(4), digest_size=8, person=b"clarion attempt").digest()
    span_id = int.from_bytes(digest) or 1
    return format_traceparent(SpanContext(context.trace_id, span_id, True, context.trace_flags))


class _Ids(RandomIdGenerator):
    """Random ids, but for a span whose id was decided by whoever starts it."""

    decided = 0

    def generate_span_id(self) -> int:
        decided, self.decided = self.decided, 0
        return decided or super().generate_span_id()


@dataclass(slots=True)
class BatchSpans:
    """What a batch span gives its members: the traceparent to hand on, empty for the unsampled."""

    contexts: dict[str, str]

    def onward(self, traceparent: str | None) -> str:
        """The traceparent that continues a member's trace after this batch."""
        return self.contexts.get(traceparent, "") if traceparent else ""


class Tracing:
    """One daemon's tracer; closing flushes within its own limit."""

    def __init__(
        self,
        service: str,
        ratio: float,
        exporter: SpanExporter | None,
        resource: Attributes | None = None,
        *,
        dropped: Dropped = count_nothing,
    ):
        self._ids = _Ids()
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service, **(resource or {})}),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        self._exporter = exporter
        if exporter is not None:
            self._provider.add_span_processor(BoundedExport(exporter, dropped))
        self._tracer = self._provider.get_tracer("clarion")
        self._ratio = ratio if exporter is not None else 0.0

    async def __aenter__(self) -> "Tracing":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace_: TracebackType | None
    ) -> None:
        closing = asyncio.create_task(asyncio.to_thread(self._provider.shutdown))
        await asyncio.wait({closing}, timeout=FLUSH_TIMEOUT.total_seconds())
        if not closing.done() and self._exporter is not None:
            # The SDK would try for half a minute; a closed exporter refuses at once what is still queued.
            self._exporter.shutdown()
        await closing

    @property
    def exports(self) -> bool:
        """Whether spans go anywhere: without a collector none is worth a look-up."""
        return self._exporter is not None

    def decide(self) -> bool:
        """Whether a call that brought no context is sampled."""
        return self._ratio > 0 and random.random() < self._ratio

    @contextmanager
    def span(
        self, name: str, kind: SpanKind, parent: str | None = None, attributes: Attributes | None = None
    ) -> Iterator[Span | None]:
        """A span under `parent` (or the current one), or nothing at all where neither is sampled."""
        parent_context = parse_traceparent(parent) if parent else trace.get_current_span().get_span_context()
        if parent_context is None or not parent_context.trace_flags & TraceFlags.SAMPLED:
            yield None
            return
        with self._start(name, kind, parent_context, attributes) as span:
            yield span

    @contextmanager
    def root(self, name: str, kind: SpanKind, attributes: Attributes | None = None) -> Iterator[Span]:
        """A recorded span that starts a trace of its own."""
        with self._start(name, kind, None, attributes) as span:
            yield span

    @contextmanager
    def batch(
        self,
        name: str,
        kind: SpanKind,
        members: Sequence[str | None],
        attributes: Attributes | None = None,
        link: str | None = None,
    ) -> Iterator[BatchSpans]:
        """One span for a batch, twins for its other sampled members. `link`: a further context, e.g. the message's."""
        parents = list(dict.fromkeys(member for member in members if member and sampled(member)))
        spans = BatchSpans({})
        if not parents:
            yield spans
            return
        start = time_ns()
        links = [Link(context)] if (context := parse_traceparent(link)) is not None else []
        with self._start(name, kind, parse_traceparent(parents[0]), attributes, links, start) as first:
            twins = [
                self._tracer.start_span(
                    name,
                    context=_under(parse_traceparent(parent)),
                    kind=kind,
                    attributes=attributes,
                    links=[Link(first.get_span_context())],
                    start_time=start,
                )
                for parent in parents[1:]
            ]
            for parent, span in zip(parents, [first, *twins], strict=True):
                spans.contexts[parent] = format_traceparent(span.get_span_context())
            for twin in twins:
                first.add_link(twin.get_span_context())
            try:
                yield spans
            finally:
                end = time_ns()
                for twin in twins:
                    twin.end(end)

    def record(
        self,
        name: str,
        kind: SpanKind,
        parent: str,
        start_ns: int,
        attributes: Attributes | None = None,
        error: str | None = None,
        link: str | None = None,
        itself: str | None = None,
    ) -> None:
        """A span from `start_ns` (Unix ns) to now under a sampled parent, for work that is not one call's frame. `itself`:
        the context it is to have, where others may link to it (`attempt_span`)."""
        context = parse_traceparent(parent)
        if context is None:
            return
        links = [Link(linked)] if (linked := parse_traceparent(link)) is not None else []
        decided = parse_traceparent(itself)
        # Asked for within the call below, in this thread.
        self._ids.decided = decided.span_id if decided is not None else 0
        span = self._tracer.start_span(
            name, context=_under(context), kind=kind, attributes=attributes, links=links, start_time=start_ns
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end()

    @contextmanager
    def _start(
        self,
        name: str,
        kind: SpanKind,
        parent: SpanContext | None,
        attributes: Attributes | None,
        links: Sequence[Link] = (),
        start_ns: int | None = None,
    ) -> Iterator[Span]:
        span = self._tracer.start_span(
            name, context=_under(parent), kind=kind, attributes=attributes, links=links, start_time=start_ns
        )
        token = otel_context.attach(trace.set_span_in_context(span))
        try:
            yield span
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            otel_context.detach(token)
            span.end()


def _under(parent: SpanContext | None) -> otel_context.Context:
    if parent is None:
        return otel_context.Context()
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), otel_context.Context())
