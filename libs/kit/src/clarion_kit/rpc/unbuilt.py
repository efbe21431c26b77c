"""Services that stand in the contract and are not built yet: served, and honest about it."""

from collections.abc import AsyncIterator, Callable

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.interceptor import Context


def not_built(method: str) -> DomainError:
    """NOT_BUILT for "package.Service/Method"."""
    return DomainError(ErrorReason.NOT_BUILT, f"{method} is not built yet", metadata={"method": method})


class Unbuilt(grpc.GenericRpcHandler):
    """Answers every method of some services with NOT_BUILT."""

    def __init__(self, *services: ServiceDescriptor) -> None:
        self._paths = frozenset(
            f"/{service.full_name}/{method.name}" for service in services for method in service.methods
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        method = handler_call_details.method
        return grpc.stream_stream_rpc_method_handler(_refuser(method[1:])) if method in self._paths else None

    def add_to(self, server: grpc.aio.Server) -> None:
        server.add_generic_rpc_handlers((self,))


def _refuser(method: str) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]:
    async def refuse(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for _ in requests:
            raise not_built(method)
        yield b""  # a handler of streams is a generator

    return refuse
