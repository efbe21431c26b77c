"""A service of plain bytes whose handlers do what the request says: echo, refuse, break, wait."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import grpc
from google.protobuf.message import DecodeError

from clarion_kit.bus import BusUnavailable
from clarion_kit.errors import DomainError, ErrorReason, FieldFault, invalid_fields
from clarion_kit.rpc.caller import current_caller
from clarion_kit.rpc.interceptor import Context

SERVICE = "test.v1.Echo"
KINDS = ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream")


def parsed(request: bytes) -> bytes:
    """As a generated parser does."""
    if request == b"garbled":
        raise DecodeError("the parser's own words")
    return request


class Echo(grpc.GenericRpcHandler):
    """`b"caller"` answers who calls; `b"garbled"` is no message; `b"wait"` waits until `release` is set."""

    def __init__(self, service: str = SERVICE) -> None:
        self.release = asyncio.Event()
        self.waiting = asyncio.Event()
        self.ended = asyncio.Event()
        self._handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            f"/{service}/UnaryUnary": grpc.unary_unary_rpc_method_handler(self._unary_unary, parsed),
            f"/{service}/UnaryStream": grpc.unary_stream_rpc_method_handler(self._unary_stream, parsed),
            f"/{service}/StreamUnary": grpc.stream_unary_rpc_method_handler(self._stream_unary, parsed),
            f"/{service}/StreamStream": grpc.stream_stream_rpc_method_handler(self._stream_stream, parsed),
        }

    def add_to(self, server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((self,))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return self._handlers.get(handler_call_details.method)

    async def _answer(self, request: bytes) -> bytes:
        match request:
            case b"refuse":
                raise DomainError(ErrorReason.NAME_TAKEN, "there is one", metadata={"name": "shop"})
            case b"unknown":
                raise DomainError(ErrorReason.UNAUTHENTICATED, "not authenticated")
            case b"fields":
                raise invalid_fields([FieldFault("a.b", "required"), FieldFault("c", "is odd")])
            case b"break":
                raise KeyError("token 4711")
            case b"away":
                raise BusUnavailable("ids of somebody")
            case b"caller":
                caller = current_caller()
                return f"{caller.daemon} {caller.app_id} {caller.key} {' '.join(sorted(caller.scopes))}".encode()
            case b"wait":
                self.waiting.set()
                try:
                    await self.release.wait()
                finally:
                    self.ended.set()
        return request

    async def _unary_unary(self, request: bytes, context: Context) -> bytes:
        return await self._answer(request)

    async def _unary_stream(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        yield b"first"
        yield await self._answer(request)

    async def _stream_unary(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        answers = [await self._answer(request) async for request in requests]
        return b",".join(answers)

    async def _stream_stream(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            yield await self._answer(request)


async def ask(
    channel: grpc.aio.Channel,
    kind: str,
    request: bytes,
    *,
    service: str = SERVICE,
    timeout: float = 10,
    metadata: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """Call a method of any kind with one message; gives its last answer. Raises AioRpcError."""
    path = f"/{service}/{kind}"
    make = cast(
        Callable[[str], Callable[..., grpc.aio.UnaryUnaryCall[bytes, bytes]]],
        {
            "UnaryUnary": channel.unary_unary,
            "UnaryStream": channel.unary_stream,
            "StreamUnary": channel.stream_unary,
            "StreamStream": channel.stream_stream,
        }[kind],
    )
    message: object = iter([request]) if kind.startswith("Stream") else request
    call = make(path)(message, timeout=timeout, metadata=metadata)
    if kind.endswith("Unary"):
        return await call
    last = b""
    async for answer in cast(AsyncIterator[bytes], call):
        last = answer
    return last
