"""One span for a batch, one below it for each sampled message, nothing for the others."""

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from clarion_channels.outcome import Outcome, Result
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing, attempt_span, format_traceparent, parse_traceparent
from clarion_testkit.plugin import App, Database

from .engine_samples import answer, bench

FIRST = f"00-{'a' * 32}-{'1' * 16}-01"
SECOND = f"00-{'b' * 32}-{'2' * 16}-01"
UNSAMPLED = f"00-{'c' * 32}-{'3' * 16}-00"


async def spans_of(database: Database, app: App, result: Result) -> tuple[list[ReadableSpan], list[str]]:
    """What one batch of four messages records, and the traceparents its provider saw."""
    exporter = InMemorySpanExporter()
    async with Tracing("test", 0.0, exporter) as tracing, bench(database, app, Telemetry(tracing, Metrics())) as b:
        b.factory.behaviour = answer(result)
        ids = await b.deliveries(await b.lane(), 4, traceparents=[FIRST, SECOND, UNSAMPLED])
        await b.send(ids)
        seen = [message.traceparent for message in b.factory.sent]
    return list(exporter.get_finished_spans()), seen


async def test_each_sampled_message_has_its_send_under_the_process_span_of_its_trace(
    database: Database, app: App
) -> None:
    spans, seen = await spans_of(database, app, Result(Outcome.ACCEPTED))

    assert len(spans) == 4
    assert len(list(filter(None, seen))) == 2
    for traceparent in (FIRST, SECOND):
        parent = parse_traceparent(traceparent)
        assert parent is not None
        process, send = sorted(
            (span for span in spans if span.context and span.context.trace_id == parent.trace_id),
            key=lambda span: span.name,
        )
        assert (process.name, process.kind) == ("process DISPATCH.android", SpanKind.CONSUMER)
        assert (send.name, send.kind) == ("scripted send", SpanKind.CLIENT)
        assert process.parent is not None
        assert process.parent.span_id == parent.span_id
        assert send.parent is not None
        assert process.context is not None
        assert send.parent.span_id == process.context.span_id
        assert send.attributes is not None
        assert send.attributes["clarion.outcome"] == "accepted"
        assert send.status.status_code is StatusCode.UNSET


async def test_send_span_of_a_refused_message_is_an_error_with_its_code(database: Database, app: App) -> None:
    spans, _ = await spans_of(database, app, Result(Outcome.BAD, code="BadDeviceToken"))

    statuses = {span.status.description for span in spans if span.name == "scripted send"}
    assert statuses == {"BadDeviceToken"}


async def test_retry_is_linked_to_the_attempt_before_it(database: Database, app: App) -> None:
    exporter = InMemorySpanExporter()
    async with Tracing("test", 0.0, exporter) as tracing, bench(database, app, Telemetry(tracing, Metrics())) as b:
        b.factory.behaviour = answer(Result(Outcome.RETRY, code="503"))
        [id_] = await b.deliveries(await b.lane(), traceparents=[FIRST])
        for outcome in (Outcome.RETRY, Outcome.ACCEPTED):
            await b.send([id_])
            await b.enqueue_again([id_])
            b.factory.made[0].behaviour = answer(Result(outcome, code="later"))
        await b.send([id_])

    sends = [span for span in exporter.get_finished_spans() if span.name == "scripted send"]
    contexts = [format_traceparent(span.context) for span in sends if span.context]
    assert contexts == [attempt_span(FIRST, id_, attempt) for attempt in (1, 2, 3)]
    assert [[format_traceparent(link.context) for link in span.links] for span in sends] == [
        [],
        [contexts[0]],
        [contexts[1]],
    ]
    assert [span.attributes["clarion.attempt"] for span in sends if span.attributes] == [1, 2, 3]
