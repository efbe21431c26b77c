"""Forwarding of the other daemons' public services, as bytes: the gateway knows their names and limits, not their messages.

Passes deadline, cancellation, status and its details, and an allow-list of metadata; what starts with `clarion-` from a
client is dropped and set anew from the token.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

import grpc

from clarion_gateway.admission import Admission
from clarion_gateway.open_streams import OpenStreams
from clarion_kit import mesh
from clarion_kit.errors import DomainError, ErrorReason, unavailable
from clarion_kit.mesh import Method
from clarion_kit.rpc.caller import current_caller
from clarion_kit.rpc.client import UNSAMPLED, Peer
from clarion_kit.rpc.interceptor import STATUS_DETAILS_KEY, Context
from clarion_kit.telemetry.tracing import current_traceparent

DEFAULT_TIMEOUT_SECONDS = 30.0
DEFAULT_STREAM_TIMEOUT_SECONDS = 300.0
"""For streams of requests, which may be long."""
DEFAULT_WATCH_SECONDS = 900.0
"""For streams of answers; the daemon behind ends them earlier."""
DEADLINE_MARGIN_SECONDS = 0.05
_PASSED_ON = frozenset({"accept-language", "baggage", "tracestate"})


class Forwarder(grpc.GenericRpcHandler):
    """Handles every public method that another daemon serves."""

    def __init__(
        self, peers: Mapping[str, Peer], admission: Admission, streams: OpenStreams, sending: OpenStreams
    ) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {}
        for path, method in mesh.public_methods().items():
            if method.served_by != mesh.GATEWAY:
                self._handlers[path] = _handler(method, peers[method.served_by], admission, streams, sending)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return self._handlers.get(handler_call_details.method)

    def add_to(self, server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((self,))


def _handler(
    method: Method, peer: Peer, admission: Admission, streams: OpenStreams, sending: OpenStreams
) -> "grpc.RpcMethodHandler[bytes, bytes]":
    if method.client_streaming:
        return _stream_handler(method, peer, admission, sending)
    call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = peer.channel.unary_stream(method.path)

    async def forward(request: bytes, context: Context) -> AsyncGenerator[bytes, None]:
        await admission.admit(context)
        if len(request) > method.max_request_bytes:
            raise too_large(method.max_request_bytes)
        remaining: float | None = context.time_remaining()
        longest = DEFAULT_WATCH_SECONDS if method.server_streaming else DEFAULT_TIMEOUT_SECONDS
        timeout = longest if remaining is None else max(0.0, remaining - DEADLINE_MARGIN_SECONDS)
        outgoing = call(request, timeout=timeout, metadata=_metadata(context))
        try:
            async for response in outgoing:
                yield response
        except grpc.aio.AioRpcError as error:
            await _pass_on(error, peer, context)
        finally:
            outgoing.cancel()

    if method.server_streaming:

        async def watched(request: bytes, context: Context) -> AsyncIterator[bytes]:
            with streams.one():
                async with aclosing(forward(request, context)) as responses:
                    async for response in responses:
                        streams.check(method.path, context)
                        yield response

        return grpc.unary_stream_rpc_method_handler(watched)

    return grpc.unary_stream_rpc_method_handler(forward)


def _stream_handler(
    method: Method, peer: Peer, admission: Admission, sending: OpenStreams
) -> "grpc.RpcMethodHandler[bytes, bytes]":
    """Requests one by one, as the daemon takes them: none is read ahead, and each has the method's limit."""
    call: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = peer.channel.stream_stream(method.path)

    async def forward(requests: AsyncIterator[bytes], context: Context) -> AsyncGenerator[bytes, None]:
        await admission.admit(context)
        oversize = False

        async def checked() -> AsyncIterator[bytes]:
            nonlocal oversize
            async for request in requests:
                admission.check_network(context)
                if len(request) > method.max_request_bytes:
                    oversize = True
                    outgoing.cancel()
                    return
                yield request

        remaining: float | None = context.time_remaining()
        timeout = DEFAULT_STREAM_TIMEOUT_SECONDS if remaining is None else max(0.0, remaining - DEADLINE_MARGIN_SECONDS)
        outgoing = call(checked(), timeout=timeout, metadata=_metadata(context))
        try:
            async for response in outgoing:
                yield response
        except asyncio.CancelledError:
            if oversize:
                raise too_large(method.max_request_bytes) from None
            raise
        except grpc.aio.AioRpcError as error:
            await _pass_on(error, peer, context)
        finally:
            outgoing.cancel()

    async def counted(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        with sending.one():
            async with aclosing(forward(requests, context)) as responses:
                async for response in responses:
                    yield response

    return grpc.stream_stream_rpc_method_handler(counted)


def too_large(limit_bytes: int) -> DomainError:
    return DomainError(
        ErrorReason.TOO_LARGE, f"larger than {limit_bytes} bytes", metadata={"limit_bytes": str(limit_bytes)}
    )


def _metadata(context: Context) -> tuple[tuple[str, str], ...]:
    passed = tuple(
        (key, value)
        for key, value in context.invocation_metadata() or ()
        if key in _PASSED_ON and isinstance(value, str)
    )
    return (*passed, *current_caller().metadata(), ("traceparent", current_traceparent() or UNSAMPLED))


async def _pass_on(error: grpc.aio.AioRpcError, peer: Peer, context: Context) -> None:
    details = next((value for key, value in error.trailing_metadata() or () if key == STATUS_DETAILS_KEY), None)
    if details is not None:
        await context.abort(error.code(), error.details() or "", ((STATUS_DETAILS_KEY, details),))
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        raise unavailable(peer.daemon) from error
    await context.abort(error.code(), error.details() or "")
