"""What holds for all methods that this daemon answers itself: request limits of the contract (`max_request_bytes`), and
from where and how often a key may call, and how many streams it holds open."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import cast

import grpc
from google.protobuf.message import Message

from clarion_gateway.admission import Admission
from clarion_gateway.forward import too_large
from clarion_gateway.open_streams import OpenStreams
from clarion_kit import mesh
from clarion_kit.rpc.interceptor import Context, MethodHandler
from clarion_kit.rpc.server import AddServicer


class Bounded(grpc.GenericRpcHandler):
    """Some servicers whose methods refuse a larger request with TOO_LARGE, and keys that may not call."""

    def __init__(self, admission: Admission, sending: OpenStreams, *services: AddServicer) -> None:
        self._admission = admission
        self._sending = sending
        registered = _Registered()
        for add in services:
            add(cast(grpc.aio.Server, registered))
        self._handlers = registered.handlers
        self._methods = mesh.public_methods()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "MethodHandler | None":
        for handlers in self._handlers:
            handler = cast("MethodHandler | None", handlers.service(handler_call_details))
            if handler is not None:
                limit_bytes = self._methods[handler_call_details.method].max_request_bytes
                return _bounded(handler, limit_bytes, self._admission, self._sending)
        return None

    def add_to(self, server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((self,))


class _Registered:
    """Stands in for a server while servicers register themselves."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """The same handlers once more, for servers that know their methods beforehand."""


def _bounded(handler: MethodHandler, limit_bytes: int, admission: Admission, sending: OpenStreams) -> MethodHandler:
    if handler.unary_unary is not None:
        answer = cast(Callable[[object, Context], Awaitable[object]], handler.unary_unary)

        async def unary(request: object, context: Context) -> object:
            await admission.admit(context)
            return await answer(_checked(request, limit_bytes), context)

        return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)

    answer_stream = cast(Callable[[AsyncIterator[object], Context], AsyncIterator[object]], handler.stream_stream)

    async def stream(requests: AsyncIterator[object], context: Context) -> AsyncIterator[object]:
        await admission.admit(context)

        async def admitted() -> AsyncIterator[object]:
            async for request in requests:
                admission.check_network(context)
                yield _checked(request, limit_bytes)

        with sending.one():
            async for response in answer_stream(admitted(), context):
                yield response

    return grpc.stream_stream_rpc_method_handler(stream, handler.request_deserializer, handler.response_serializer)


def _checked(request: object, limit_bytes: int) -> object:
    if cast(Message, request).ByteSize() > limit_bytes:
        raise too_large(limit_bytes)
    return request
