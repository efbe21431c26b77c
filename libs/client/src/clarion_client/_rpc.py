"""RPCs described once, called two ways: awaited on an `AsyncService`, direct on a `SyncService`.

A description is a method of a plain class that builds the request from friendly arguments; `Service.rpc` turns it into
a descriptor. What the gateway's rules say of the method (may it be repeated, does it need a token, how large may it be)
is read from the contract's own options.
"""

import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, cast, overload

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message

from clarion.options.v1 import options_pb2
from clarion_client.errors import ResourceExhausted
from clarion_client.reasons import ErrorReason

RequestT = TypeVar("RequestT", bound=Message)
ResponseT = TypeVar("ResponseT", bound=Message)
SelfT = TypeVar("SelfT")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Method(Generic[RequestT, ResponseT]):
    """One RPC of the contract. `path` is "/package.Service/Method"."""

    path: str
    serialize: Callable[[RequestT], bytes]
    deserialize: Callable[[bytes], ResponseT]
    idempotent: bool
    needs_token: bool
    max_request_bytes: int

    def check_size(self, request: RequestT) -> None:
        """Raises ResourceExhausted (TOO_LARGE) for what the server would refuse anyhow, before it is sent."""
        size = request.ByteSize()
        if size > self.max_request_bytes:
            raise ResourceExhausted(
                f"the request has {size} bytes, at most {self.max_request_bytes} are taken",
                code=grpc.StatusCode.RESOURCE_EXHAUSTED,
                reason=ErrorReason.TOO_LARGE,
                metadata={"limit_bytes": str(self.max_request_bytes)},
            )


class AsyncCaller(Protocol):
    """Runs unary RPCs with token, deadline and retries."""

    async def call(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT: ...


class SyncCaller(Protocol):
    """Runs unary RPCs with token, deadline and retries, blocking."""

    def call(self, method: Method[RequestT, ResponseT], request: RequestT) -> ResponseT: ...


class AsyncService:
    """Its RPCs are awaited."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller


class SyncService:
    """Its RPCs block."""

    def __init__(self, caller: SyncCaller) -> None:
        self._caller = caller


class Rpc(Generic[P, RequestT, ResponseT]):
    """A description of an RPC as a class attribute; its arguments are those of the function that builds the request."""

    def __init__(self, method: Method[RequestT, ResponseT], build: Callable[..., RequestT]) -> None:
        self.method = method
        self._build = build
        functools.update_wrapper(cast(Callable[..., RequestT], self), build)

    @overload
    def __get__(self, service: None, owner: type) -> Self: ...
    @overload
    def __get__(self, service: AsyncService, owner: type) -> Callable[P, Coroutine[None, None, ResponseT]]: ...
    @overload
    def __get__(self, service: SyncService, owner: type) -> Callable[P, ResponseT]: ...
    def __get__(
        self, service: AsyncService | SyncService | None, owner: type
    ) -> Self | Callable[P, Coroutine[None, None, ResponseT]] | Callable[P, ResponseT]:
        if service is None:
            return self
        build = functools.partial(self._build, service)
        if isinstance(service, AsyncService):
            return self._awaited(service._caller, build)
        return self._blocking(service._caller, build)

    def _awaited(
        self, caller: AsyncCaller, build: Callable[..., RequestT]
    ) -> Callable[P, Coroutine[None, None, ResponseT]]:
        @functools.wraps(self._build)
        async def call(*args: P.args, **kwargs: P.kwargs) -> ResponseT:
            return await caller.call(self.method, build(*args, **kwargs))

        return call

    def _blocking(self, caller: SyncCaller, build: Callable[..., RequestT]) -> Callable[P, ResponseT]:
        @functools.wraps(self._build)
        def call(*args: P.args, **kwargs: P.kwargs) -> ResponseT:
            return caller.call(self.method, build(*args, **kwargs))

        return call


class ServiceContract:
    """One service of the contract."""

    def __init__(self, file: FileDescriptor, name: str) -> None:
        self._service = file.services_by_name[name]

    def method(self, name: str, request: type[RequestT], response: type[ResponseT]) -> Method[RequestT, ResponseT]:
        """The RPC `name`. Raises KeyError where the contract has none, TypeError where its messages are others."""
        described = self._service.methods_by_name[name]
        if described.input_type is not request.DESCRIPTOR or described.output_type is not response.DESCRIPTOR:
            raise TypeError(f"{described.full_name} does not take {request.__name__} and give {response.__name__}")
        rule = described.GetOptions().Extensions[options_pb2.rule]
        return Method(
            path=f"/{self._service.full_name}/{name}",
            serialize=request.SerializeToString,
            deserialize=response.FromString,
            idempotent=rule.idempotent,
            needs_token=rule.required_scope != "none",
            max_request_bytes=rule.max_request_bytes,
        )

    def rpc(
        self, name: str, request: type[RequestT], response: type[ResponseT]
    ) -> Callable[[Callable[Concatenate[SelfT, P], RequestT]], Rpc[P, RequestT, ResponseT]]:
        """Makes the decorated request builder callable as the RPC `name`."""
        method = self.method(name, request, response)

        def describe(build: Callable[Concatenate[SelfT, P], RequestT]) -> Rpc[P, RequestT, ResponseT]:
            return Rpc(method, build)

        return describe
