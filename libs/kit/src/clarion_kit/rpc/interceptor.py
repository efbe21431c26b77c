"""The one server interceptor: authenticate, keep the deadline, trace, answer errors, count.

One interceptor instead of five: each costs a wrapped coroutine per call.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Never, Protocol, TypeAlias, cast

import grpc
from opentelemetry.trace import SpanKind

from clarion_kit.errors import DomainError, ErrorReason, Unavailable, status_code, unavailable
from clarion_kit.rpc.caller import Caller, calling_as
from clarion_kit.rpc.readable import readable, readable_stream, tolerant
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import exemplar
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import current_traceparent, sampled
from clarion_kit.tls import SPIFFE_PREFIX

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[object, object]
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[object, object]"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
OPEN_METHODS = ("/grpc.health.", "/grpc.reflection.")
DEADLINE_MARGIN_SECONDS = 0.005


class Authenticator(Protocol):
    """Decides who calls. Raises DomainError UNAUTHENTICATED, SCOPE_MISSING or CALLER_REFUSED."""

    def authenticate(self, method: str, metadata: Mapping[str, str], identities: frozenset[str]) -> Caller:
        """`identities`: daemon names of the peer's certificate, empty without mTLS."""
        ...


class Edge(grpc.aio.ServerInterceptor):
    """Wraps every handler of a server. `in_flight` counts calls that are being answered."""

    def __init__(self, daemon: str, authenticator: Authenticator, telemetry: Telemetry) -> None:
        self._daemon = daemon
        self._authenticator = authenticator
        self._tracing = telemetry.tracing
        self._duration = telemetry.metrics.histogram(names.RPC_DURATION)
        self._wrapped: dict[str, MethodHandler] = {}
        self.in_flight = 0
        telemetry.metrics.gauge(names.RPC_IN_FLIGHT).set_function(lambda: self.in_flight)
        self.idle = asyncio.Event()
        self.idle.set()

    async def intercept_service(  # type: ignore[override]  # the stub types handlers by one request type only
        self,
        continuation: Callable[[grpc.HandlerCallDetails], "Awaitable[MethodHandler | None]"],
        details: grpc.HandlerCallDetails,
    ) -> "MethodHandler | None":
        method = details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(details)
            if handler is None or method.startswith(OPEN_METHODS):
                return handler
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    @asynccontextmanager
    async def _answering(self, method: str, context: Context) -> AsyncIterator[None]:
        started = time.monotonic()
        self.in_flight += 1
        self.idle.clear()
        code = grpc.StatusCode.OK
        trace_id = traceparent = ""
        try:
            metadata = _metadata(context)
            caller = self._authenticator.authenticate(method, metadata, _identities(context))
            remaining: float | None = context.time_remaining()  # None without a deadline, whatever the stub says
            if remaining is not None and remaining < DEADLINE_MARGIN_SECONDS:
                raise DomainError(
                    ErrorReason.DEADLINE_TOO_SHORT,
                    f"{self._daemon} cannot answer in the time left",
                    metadata={"daemon": self._daemon},
                )
            with calling_as(caller), self._span(method, metadata):
                traceparent = current_traceparent()
                trace_id = traceparent[3:35]
                yield
        except DomainError as refused:
            code = status_code(refused.reason)
            await self._abort(context, refused, trace_id)
        except Unavailable as away:
            code = grpc.StatusCode.UNAVAILABLE
            await self._abort(context, unavailable(away.dependency), trace_id)
        except grpc.aio.AbortError:
            code = grpc.StatusCode.UNKNOWN
            raise
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except Exception as defect:
            code = grpc.StatusCode.INTERNAL
            log.exception("defect in %s", method)
            await self._abort(context, _internal(defect), trace_id)
        finally:
            duration = self._duration.labels(method, code.name)
            duration.observe(time.monotonic() - started, exemplar(traceparent))
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()

    def _span(self, method: str, metadata: Mapping[str, str]) -> AbstractContextManager[object]:
        traceparent = metadata.get("traceparent")
        attributes = {names.Attr.RPC_SYSTEM: "grpc", names.Attr.RPC_METHOD: method[1:]}
        if traceparent is not None:
            if not sampled(traceparent):
                return nullcontext()
            return self._tracing.span(method[1:], SpanKind.SERVER, traceparent, attributes)
        if self._tracing.decide():
            return self._tracing.root(method[1:], SpanKind.SERVER, attributes)
        return nullcontext()

    async def _abort(self, context: Context, refused: DomainError, trace_id: str) -> Never:
        # Strangers get one and the same answer.
        if trace_id and refused.reason is not ErrorReason.UNAUTHENTICATED:
            refused.metadata.setdefault("trace_id", trace_id)
        status = refused.to_status()
        await context.abort(
            status_code(refused.reason), refused.message, ((STATUS_DETAILS_KEY, status.SerializeToString()),)
        )

    def _wrap(self, method: str, handler: MethodHandler) -> MethodHandler:
        deserialize = tolerant(handler.request_deserializer)

        def checked(request: object) -> object:
            if handler.request_streaming:
                return readable_stream(cast(AsyncIterator[object], request))
            return readable(request)

        if handler.response_streaming:
            answer_stream = cast(
                Callable[[object, Context], AsyncIterator[object]], handler.stream_stream or handler.unary_stream
            )

            async def stream(request: object, context: Context) -> AsyncIterator[object]:
                async with self._answering(method, context):
                    async for message in answer_stream(checked(request), context):
                        yield message

            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(stream, deserialize, handler.response_serializer)

        answer = cast(Callable[[object, Context], Awaitable[object]], handler.stream_unary or handler.unary_unary)

        async def unary(request: object, context: Context) -> object:
            async with self._answering(method, context):
                return await answer(checked(request), context)
            raise AssertionError("an answering context never swallows an error")

        make_unary = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make_unary(unary, deserialize, handler.response_serializer)


def _metadata(context: Context) -> dict[str, str]:
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _identities(context: Context) -> frozenset[str]:
    """Daemon names in the peer's certificate: its SPIFFE URIs under the mesh's trust domain."""
    found = context.peer_identities()
    if found is None:
        return frozenset()
    names_ = (identity.decode("ascii", "replace") for identity in found)
    return frozenset(name.removeprefix(SPIFFE_PREFIX) for name in names_ if name.startswith(SPIFFE_PREFIX))


def _internal(defect: Exception) -> DomainError:
    return DomainError(ErrorReason.INTERNAL, "a defect of ours", metadata={"error_type": type(defect).__name__})
