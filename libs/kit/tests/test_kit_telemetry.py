"""Logs are JSON lines with trace ids; metrics are served while they are wanted."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from pydantic import SecretStr

from clarion_kit.telemetry import logs, names
from clarion_kit.telemetry.metrics import Metrics, exemplar
from clarion_kit.telemetry.tracing import Tracing

A = "00-0000000000000000000000000000000a-00000000000000aa-01"


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.to_stream("planner", "INFO", stream)
    yield stream
    root.handlers[:], root.level = handlers, level


def lines(output: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_line_says_when_who_and_what(output: io.StringIO) -> None:
    logging.getLogger("clarion_kit.bus").warning("lost %d of %s", 3, "plan-bulk", extra={"away": ["bus"]})
    logging.getLogger("quiet").debug("nothing")

    [line] = lines(output)
    assert str(line.pop("time")).endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "daemon": "planner",
        "logger": "clarion_kit.bus",
        "message": "lost 3 of plan-bulk",
        "away": ["bus"],
    }


async def test_line_within_a_span_has_its_trace(output: io.StringIO) -> None:
    async with Tracing("test", 1.0, InMemorySpanExporter()) as tracing:
        with tracing.span("work", SpanKind.INTERNAL, A):
            logging.getLogger("work").info("inside")
        logging.getLogger("work").info("outside")

    inside, outside = lines(output)
    assert inside["trace_id"] == A[3:35]
    assert "trace_id" not in outside


def test_error_is_one_line_and_secrets_stay_hidden(output: io.StringIO) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("work").exception("failed with %s", SecretStr("hunter2"), extra={"key": SecretStr("hunter2")})

    [line] = lines(output)
    assert "ValueError: first\nsecond" in str(line["error"])
    assert "hunter2" not in output.getvalue()


async def scrape(port: int, accept: str = "*/*") -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.0\r\nAccept: %s\r\n\r\n" % accept.encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    return answer.decode()


async def test_metrics_are_served_until_they_are_closed() -> None:
    metrics = Metrics()
    metrics.counter(names.ACCEPTED).labels("urgent").inc(3)
    metrics.gauge(names.RPC_IN_FLIGHT).set(2)
    metrics.histogram(names.ACCEPT_BATCH).observe(0.02)

    async with metrics.serve("127.0.0.1:0") as port:
        answer = await scrape(port)

    assert 'clarion_accepted_total{priority="urgent"} 3.0' in answer
    assert "clarion_rpc_in_flight 2.0" in answer
    assert 'clarion_accept_commit_seconds_bucket{le="0.025"} 1.0' in answer
    with pytest.raises(ConnectionRefusedError):
        await scrape(port)


async def test_who_takes_openmetrics_gets_the_trace_behind_an_observation() -> None:
    metrics = Metrics()
    metrics.histogram(names.DELIVERY_AGE).labels("sms", "urgent").observe(0.02, exemplar(A))

    async with metrics.serve("127.0.0.1:0") as port:
        modern, plain = await scrape(port, "application/openmetrics-text; version=1.0.0"), await scrape(port)

    [line] = [line for line in modern.splitlines() if "#" in line and 'le="0.025"' in line]
    assert '# {span_id="00000000000000aa",trace_id="0000000000000000000000000000000a"} 0.02' in line
    assert "trace_id" not in plain


@pytest.mark.parametrize("unsampled", [None, "", A[:-1] + "0"])
def test_what_is_not_sampled_has_no_exemplar(unsampled: str | None) -> None:
    assert exemplar(unsampled) is None


async def test_process_is_seen_and_no_series_says_only_when_another_began() -> None:
    metrics = Metrics()
    metrics.counter(names.ACCEPTED).labels("urgent").inc()
    metrics.histogram(names.ACCEPT_BATCH).observe(0.02)

    async with metrics.serve("127.0.0.1:0") as port:
        answers = await scrape(port) + await scrape(port, "application/openmetrics-text")

    assert "process_resident_memory_bytes" in answers
    assert "_created" not in answers


def test_each_instrument_is_made_once() -> None:
    metrics = Metrics()

    assert metrics.counter(names.ACCEPTED) is metrics.counter(names.ACCEPTED)


@pytest.mark.parametrize("made_before", [False, True])
def test_metric_is_only_what_its_registry_says(made_before: bool) -> None:
    metrics = Metrics()
    if made_before:
        metrics.counter(names.ACCEPTED)
        metrics.gauge(names.RPC_IN_FLIGHT)

    with pytest.raises(TypeError, match="not a gauge"):
        metrics.gauge(names.ACCEPTED)
    with pytest.raises(TypeError, match="not a histogram"):
        metrics.histogram(names.ACCEPTED)
    with pytest.raises(TypeError, match="not a counter"):
        metrics.counter(names.RPC_IN_FLIGHT)


def test_two_daemons_in_one_process_count_apart() -> None:
    first, second = Metrics(), Metrics()
    first.counter(names.ACCEPTED).labels("bulk").inc()

    value = second.registry.get_sample_value("clarion_accepted_total", {"priority": "bulk"})

    assert value is None


def test_names_are_unique_and_their_units_are_in_them() -> None:
    registered = [value for value in vars(names).values() if isinstance(value, names.Metric)]

    assert len({metric.name for metric in registered}) == len(registered)
    for metric in registered:
        assert metric.help.endswith("."), metric.name
        assert not metric.buckets or metric.name.endswith("_seconds"), metric.name
