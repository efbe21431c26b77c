"""Spans of calls, rows and batches, as an exporter sees them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags

from clarion_kit.telemetry import tracing as tracing_module
from clarion_kit.telemetry.tracing import (
    Tracing,
    attempt_span,
    current_trace_id,
    current_traceparent,
    format_traceparent,
    parse_traceparent,
    sampled,
)

A = "00-0000000000000000000000000000000a-00000000000000aa-01"
B = "00-0000000000000000000000000000000b-00000000000000bb-01"
C = "00-0000000000000000000000000000000c-00000000000000cc-01"
UNSAMPLED = "00-0000000000000000000000000000000d-00000000000000dd-00"


@pytest_asyncio.fixture
async def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest_asyncio.fixture
async def tracing(exporter: InMemorySpanExporter) -> AsyncIterator[Tracing]:
    async with Tracing("test", 1.0, exporter) as made:
        yield made


async def finished(tracing: Tracing, exporter: InMemorySpanExporter) -> tuple[ReadableSpan, ...]:
    """Everything recorded; nothing can be recorded afterwards."""
    await tracing.__aexit__(None, None, None)
    return exporter.get_finished_spans()


def trace_id(traceparent: str) -> int:
    context = parse_traceparent(traceparent)
    assert context is not None
    return context.trace_id


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def parent_id(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


# ---------------------------------------------------------------- traceparent


@given(st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.integers(0, 255))
def test_traceparent_comes_back_as_it_was(trace: int, span: int, flags: int) -> None:
    formatted = format_traceparent(SpanContext(trace, span, True, TraceFlags(flags & 1)))
    parsed = parse_traceparent(formatted)

    assert len(formatted) == 55
    assert parsed is not None
    assert (parsed.trace_id, parsed.span_id, parsed.trace_flags) == (trace, span, flags & 1)
    assert sampled(formatted) == bool(flags & 1)


@given(st.text(max_size=70) | st.text("0123456789abcdef-", min_size=50, max_size=60))
def test_any_text_is_parsed_without_error(value: str) -> None:
    parsed = parse_traceparent(value)

    assert parsed is None or parsed.is_valid
    sampled(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        A[:-1],
        "ff" + A[2:],
        A.upper(),
        A.replace("-", "_"),
        A[:3] + "0" * 32 + A[35:],
        A[:36] + "0" * 16 + A[52:],
        A[:3] + "0x" + A[5:],
        A[:3] + "+" + A[4:],
        A + "-more",
        A + "\n",
    ],
)
def test_malformed_traceparent_is_ignored(value: str | None) -> None:
    assert parse_traceparent(value) is None


def test_traceparent_of_a_later_version_may_be_longer() -> None:
    parsed = parse_traceparent("01" + A[2:] + "-more")

    assert parsed is not None
    assert parsed.trace_id == 10


# ---------------------------------------------------------------- single spans


async def test_span_continues_a_sampled_trace(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with tracing.span("outer", SpanKind.SERVER, A), tracing.span("inner", SpanKind.CLIENT):
        onward = current_traceparent()

    inner, outer = await finished(tracing, exporter)
    assert {context_of(span).trace_id for span in (inner, outer)} == {trace_id(A)}
    assert (parent_id(outer), parent_id(inner)) == (0xAA, context_of(outer).span_id)
    assert onward == format_traceparent(context_of(inner))
    assert outer.resource.attributes["service.name"] == "test"


@pytest.mark.parametrize("parent", [None, "", UNSAMPLED, "garbage"])
async def test_unsampled_work_records_nothing(
    tracing: Tracing, exporter: InMemorySpanExporter, parent: str | None
) -> None:
    with tracing.span("outer", SpanKind.SERVER, parent) as span:
        onward = current_traceparent()

    assert (span, onward) == (None, "")
    assert await finished(tracing, exporter) == ()


async def test_error_marks_its_span_without_its_text(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), tracing.span("work", SpanKind.INTERNAL, A):
        raise ValueError("secret")

    [span] = await finished(tracing, exporter)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError")
    assert "secret" not in span.to_json()


async def test_recorded_span_covers_the_time_it_is_given(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    tracing.record("send", SpanKind.CLIENT, A, 1_000, {"clarion.outcome": "RETRY"}, error="RETRY", link=B)
    tracing.record("send", SpanKind.CLIENT, "garbage", 1_000)

    [span] = await finished(tracing, exporter)
    assert (span.start_time, span.status.description) == (1_000, "RETRY")
    assert [link.context.trace_id for link in span.links] == [trace_id(B)]


async def test_root_starts_a_trace_of_its_own(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with tracing.span("outer", SpanKind.SERVER, A), tracing.root("job", SpanKind.INTERNAL):
        pass

    job, outer = await finished(tracing, exporter)
    assert job.parent is None
    assert context_of(job).trace_id != context_of(outer).trace_id


# ---------------------------------------------------------------- batches


async def test_batch_belongs_to_its_first_sampled_member_and_the_others_get_twins(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    with tracing.batch("plan", SpanKind.CONSUMER, [UNSAMPLED, A, None, B, "", C, B], link=C) as spans:
        inside = current_traceparent()

    by_trace = {context_of(span).trace_id: span for span in await finished(tracing, exporter)}
    first, *twins = (by_trace[trace_id(member)] for member in (A, B, C))
    assert len(by_trace) == 3
    assert [parent_id(span) for span in (first, *twins)] == [0xAA, 0xBB, 0xCC]
    assert {(span.name, span.start_time) for span in by_trace.values()} == {("plan", first.start_time)}
    assert inside == spans.onward(A) == format_traceparent(context_of(first))
    assert [spans.onward(member) for member in (B, C)] == [format_traceparent(context_of(twin)) for twin in twins]
    assert [spans.onward(member) for member in (UNSAMPLED, None, "")] == ["", "", ""]


async def test_batch_and_its_twins_are_linked_both_ways(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with tracing.batch("plan", SpanKind.CONSUMER, [A, B], link=C):
        pass

    by_trace = {context_of(span).trace_id: span for span in await finished(tracing, exporter)}
    first, twin = by_trace[trace_id(A)], by_trace[trace_id(B)]
    assert [link.context.trace_id for link in first.links] == [trace_id(C), trace_id(B)]
    assert [link.context.span_id for link in twin.links] == [context_of(first).span_id]


async def test_three_sampled_among_five_hundred_are_three_spans(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    members: list[str | None] = [UNSAMPLED, None] * 250
    members[17], members[200], members[499] = A, B, C

    with tracing.batch("plan", SpanKind.CONSUMER, members):
        pass

    assert len(await finished(tracing, exporter)) == 3


async def test_batch_without_a_sampled_member_records_nothing(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with tracing.batch("plan", SpanKind.CONSUMER, [UNSAMPLED, None, ""], link=A) as spans:
        assert spans.onward(UNSAMPLED) == ""
        assert current_traceparent() == ""

    assert await finished(tracing, exporter) == ()


async def test_failed_batch_ends_all_its_spans(tracing: Tracing, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(KeyError), tracing.batch("plan", SpanKind.CONSUMER, [A, B]):
        raise KeyError

    assert len(await finished(tracing, exporter)) == 2


# ---------------------------------------------------------------- closing and drawing lots


def test_without_an_exporter_nothing_is_sampled() -> None:
    assert not Tracing("test", 1.0, None).decide()


async def test_ratio_decides_for_calls_without_a_context(exporter: InMemorySpanExporter) -> None:
    async with Tracing("test", 1.0, exporter) as always, Tracing("test", 0.0, InMemorySpanExporter()) as never:
        assert always.decide()
        assert not never.decide()


class Stuck(SpanExporter):
    """A collector that does not answer until it is given up."""

    def __init__(self) -> None:
        self.given_up = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def export(self, spans: object) -> SpanExportResult:
        asyncio.run_coroutine_threadsafe(self.given_up.wait(), self._loop).result()
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self._loop.call_soon_threadsafe(self.given_up.set)


async def test_collector_that_does_not_answer_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module, "FLUSH_TIMEOUT", timedelta(milliseconds=50))
    collector = Stuck()
    async with asyncio.timeout(5), Tracing("test", 1.0, collector) as tracing:
        with tracing.root("work", SpanKind.INTERNAL):
            pass

    assert collector.given_up.is_set()


# ---------------------------------------------------------------- attempts


@given(st.uuids(), st.integers(1, 32_767), st.integers(1, 32_767))
def test_attempt_is_the_same_span_for_everybody_and_no_other(delivery_id: UUID, attempt: int, other: int) -> None:
    span = attempt_span(A, delivery_id, attempt)

    assert parse_traceparent(span) is not None
    assert span == attempt_span(A.replace("aa-01", "bb-01"), delivery_id, attempt)
    assert (span == attempt_span(A, delivery_id, other)) is (attempt == other)
    assert trace_id(span) == trace_id(A)


@pytest.mark.parametrize("traceparent", ["", UNSAMPLED, "nonsense"])
def test_attempt_in_no_sampled_trace_is_no_span(traceparent: str) -> None:
    assert attempt_span(traceparent, UUID(int=1), 1) == ""


async def test_span_that_is_decided_has_its_id_and_the_next_one_another(
    tracing: Tracing, exporter: InMemorySpanExporter
) -> None:
    first, second = (attempt_span(A, UUID(int=1), attempt) for attempt in (1, 2))

    tracing.record("send", SpanKind.CLIENT, A, 1, itself=first)
    tracing.record("send", SpanKind.CLIENT, A, 1, itself=second, link=first)
    tracing.record("send", SpanKind.CLIENT, A, 1)

    spans = await finished(tracing, exporter)
    contexts = [format_traceparent(context_of(span)) for span in spans]
    assert contexts[:2] == [first, second]
    assert contexts[2] not in (first, second)
    assert [format_traceparent(link.context) for link in spans[1].links] == [first]


async def test_trace_id_is_known_inside_a_sampled_span_only(tracing: Tracing) -> None:
    with tracing.span("call", SpanKind.SERVER, A):
        inside = current_trace_id()

    assert inside == A[3:35]
    assert current_trace_id() == ""
