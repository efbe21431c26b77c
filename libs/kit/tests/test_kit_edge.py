"""The server's interceptor through real calls of every kind."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import grpc
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.caller import Caller, current_caller
from clarion_kit.rpc.server import PortInUse, RpcServer
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing

from .echo_service import KINDS, SERVICE, Echo, ask

A = "00-0000000000000000000000000000000a-00000000000000aa-01"
UNSAMPLED = A[:-1] + "0"


class Anyone:
    """Lets everyone in but the client that says it is a stranger."""

    def authenticate(self, method: str, metadata: Mapping[str, str], identities: frozenset[str]) -> Caller:
        if metadata.get("who") == "stranger":
            raise DomainError(ErrorReason.UNAUTHENTICATED, "unauthenticated")
        return Caller("test", app_id=7)


@asynccontextmanager
async def serving(echo: Echo, telemetry: Telemetry) -> AsyncIterator[tuple[RpcServer, grpc.aio.Channel]]:
    server = RpcServer("echo", "127.0.0.1:0", None, Anyone(), telemetry, [echo.add_to])
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield server, channel
    finally:
        await server.stop(timedelta(0))


@asynccontextmanager
async def serving_traced(
    echo: Echo, ratio: float, exporter: InMemorySpanExporter
) -> AsyncIterator[tuple[RpcServer, grpc.aio.Channel]]:
    async with (
        Tracing("test", ratio, exporter) as tracing,
        serving(echo, Telemetry(tracing, Metrics())) as (server, channel),
    ):
        yield server, channel


@pytest_asyncio.fixture
async def echo() -> Echo:
    return Echo()


@pytest_asyncio.fixture
async def channel(echo: Echo, telemetry: Telemetry) -> AsyncIterator[grpc.aio.Channel]:
    async with serving(echo, telemetry) as (_, channel):
        yield channel


async def refusal(
    channel: grpc.aio.Channel,
    kind: str,
    request: bytes,
    *,
    timeout: float = 10,
    metadata: tuple[tuple[str, str], ...] = (),
) -> tuple[grpc.aio.AioRpcError, error_details_pb2.ErrorInfo, list[error_details_pb2.BadRequest]]:
    """The error of a call, its one ErrorInfo and its BadRequests."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel, kind, request, timeout=timeout, metadata=metadata)
    [details] = [
        value
        for key, value in refused.value.trailing_metadata() or ()
        if key == "grpc-status-details-bin" and isinstance(value, bytes)
    ]
    status = status_pb2.Status.FromString(details)
    infos, faults = [], []
    for detail in status.details:
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            infos.append(info)
        elif detail.Unpack(bad_request):
            faults.append(bad_request)
    assert (status.code, status.message) == (refused.value.code().value[0], refused.value.details())
    [info] = infos
    assert info.domain == "clarion"
    return refused.value, info, faults


@pytest.mark.parametrize("kind", KINDS)
async def test_answer_comes_back(channel: grpc.aio.Channel, kind: str) -> None:
    assert await ask(channel, kind, b"hello") == b"hello"


@pytest.mark.parametrize("kind", KINDS)
async def test_handler_knows_its_caller(channel: grpc.aio.Channel, kind: str) -> None:
    assert (await ask(channel, kind, b"caller")).startswith(b"test 7")


async def test_there_is_no_caller_outside_of_a_call() -> None:
    with pytest.raises(LookupError):
        current_caller()


@pytest.mark.parametrize("kind", KINDS)
async def test_refusal_travels_with_one_error_info(channel: grpc.aio.Channel, kind: str) -> None:
    error, info, faults = await refusal(channel, kind, b"refuse")

    assert (error.code(), error.details()) == (grpc.StatusCode.ALREADY_EXISTS, "there is one")
    assert (info.reason, dict(info.metadata)) == ("NAME_TAKEN", {"name": "shop"})
    assert faults == []


@pytest.mark.parametrize("kind", KINDS)
async def test_faulty_fields_travel_as_one_bad_request(channel: grpc.aio.Channel, kind: str) -> None:
    error, info, [faults] = await refusal(channel, kind, b"fields")

    assert (error.code(), info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert [(v.field, v.description) for v in faults.field_violations] == [("a.b", "required"), ("c", "is odd")]


@pytest.mark.parametrize("kind", KINDS)
async def test_defect_is_internal_and_keeps_its_text_to_itself(
    channel: grpc.aio.Channel, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    error, info, _ = await refusal(channel, kind, b"break")

    assert (error.code(), info.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "4711" not in f"{error.details()} {info}"
    assert [record.levelname for record in caplog.records if record.name.startswith("clarion")] == ["ERROR"]


@pytest.mark.parametrize("kind", KINDS)
async def test_dependency_that_is_away_is_unavailable(channel: grpc.aio.Channel, kind: str) -> None:
    error, info, _ = await refusal(channel, kind, b"away")

    assert (error.code(), info.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert dict(info.metadata) == {"dependency": "bus"}


@pytest.mark.parametrize("kind", KINDS)
async def test_stranger_is_refused_before_the_handler(channel: grpc.aio.Channel, kind: str) -> None:
    error, info, _ = await refusal(channel, kind, b"break", metadata=(("who", "stranger"),))

    assert (error.code(), info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


@pytest.mark.parametrize("kind", KINDS)
async def test_request_that_is_no_message_is_refused_and_not_logged(
    channel: grpc.aio.Channel, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    error, info, _ = await refusal(channel, kind, b"garbled")

    assert (error.code(), info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert "the parser's own words" not in f"{error.details()} {info}"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("kind", KINDS)
async def test_stranger_does_not_learn_that_the_request_is_no_message(channel: grpc.aio.Channel, kind: str) -> None:
    error, info, _ = await refusal(channel, kind, b"garbled", metadata=(("who", "stranger"),))

    assert (error.code(), info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")


async def test_deadline_that_cannot_be_kept_is_refused_by_name(
    channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clarion_kit.rpc.interceptor.DEADLINE_MARGIN_SECONDS", 20.0)

    error, info, _ = await refusal(channel, "UnaryUnary", b"hello", timeout=10)

    assert (error.code(), info.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT")
    assert dict(info.metadata) == {"daemon": "echo"}


async def test_unknown_method_is_unimplemented(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(channel, "UnaryUnary", b"", service="test.v1.Other")

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_error_of_a_sampled_call_names_its_trace(echo: Echo) -> None:
    async with serving_traced(echo, 1.0, InMemorySpanExporter()) as (_, channel):
        _, traced, _ = await refusal(channel, "UnaryUnary", b"refuse", metadata=(("traceparent", A),))
        _, untraced, _ = await refusal(channel, "UnaryUnary", b"refuse", metadata=(("traceparent", UNSAMPLED),))
        _, stranger, _ = await refusal(channel, "UnaryUnary", b"unknown", metadata=(("traceparent", A),))

    assert "trace_id" not in stranger.metadata
    assert traced.metadata["trace_id"] == A[3:35]
    assert "trace_id" not in untraced.metadata


@pytest.mark.parametrize(
    ("ratio", "traceparent", "parents"),
    [(0.0, A, [0xAA]), (1.0, A, [0xAA]), (1.0, UNSAMPLED, []), (1.0, None, [None]), (0.0, None, [])],
)
async def test_call_is_recorded_where_it_is_sampled(
    echo: Echo, ratio: float, traceparent: str | None, parents: list[int | None]
) -> None:
    exporter = InMemorySpanExporter()
    async with serving_traced(echo, ratio, exporter) as (_, channel):
        for kind in KINDS:
            await ask(channel, kind, b"hi", metadata=(("traceparent", traceparent),) if traceparent else ())

    spans = exporter.get_finished_spans()
    assert [span.parent.span_id if span.parent else None for span in spans] == parents * 4
    assert {span.name for span in spans} == {f"{SERVICE}/{kind}" for kind in KINDS if parents}


async def test_answered_calls_are_counted_by_status(echo: Echo, telemetry: Telemetry) -> None:
    async with serving(echo, telemetry) as (_, channel):
        await ask(channel, "UnaryUnary", b"hello")
        await refusal(channel, "UnaryUnary", b"refuse")

    counted = {
        code: telemetry.metrics.registry.get_sample_value(
            f"{names.RPC_DURATION.name}_count",
            {"rpc_method": f"/{SERVICE}/UnaryUnary", "rpc_response_status_code": code},
        )
        for code in ("OK", "ALREADY_EXISTS", "INTERNAL")
    }
    assert counted == {"OK": 1.0, "ALREADY_EXISTS": 1.0, "INTERNAL": None}


@pytest.mark.parametrize("kind", KINDS)
async def test_call_that_its_client_gave_up_ends_on_the_server(
    echo: Echo, telemetry: Telemetry, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(echo, telemetry) as (server, channel):
        call = asyncio.create_task(ask(channel, kind, b"wait"))
        await asyncio.wait_for(echo.waiting.wait(), 5)
        assert server._edge.in_flight == 1
        call.cancel()
        await asyncio.wait({call})
        await asyncio.wait_for(echo.ended.wait(), 5)
        await asyncio.wait_for(server._edge.idle.wait(), 5)

    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_stream_that_its_client_left_between_messages_ends_on_the_server(
    echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving_traced(echo, 1.0, InMemorySpanExporter()) as (server, channel):
        stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"/{SERVICE}/StreamStream")
        call = stream(timeout=10)
        await call.write(b"hello")
        assert await call.read() == b"hello"
        call.cancel()
        await asyncio.wait_for(server._edge.idle.wait(), 5)

    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_health_tells_readiness_and_liveness_apart(echo: Echo, telemetry: Telemetry) -> None:
    serving_, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    async with serving(echo, telemetry) as (server, channel):
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # set in its constructor

        async def health() -> list[int]:
            requests = [health_pb2.HealthCheckRequest(service=name) for name in ("", "live")]
            return [(await check(request, timeout=5)).status for request in requests]

        started = await health()
        await server.set_ready(True)
        ready = await health()
        await server.set_ready(False)

        assert (started, ready, await health()) == (
            [not_serving, serving_],
            [serving_, serving_],
            [not_serving, serving_],
        )


async def test_port_that_is_taken_is_told(telemetry: Telemetry, echo: Echo) -> None:
    async with serving(echo, telemetry) as (server, _):
        with pytest.raises(PortInUse):
            RpcServer("echo", f"127.0.0.1:{server.port}", None, Anyone(), telemetry, [])
