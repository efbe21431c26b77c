"""A gRPC channel that follows its certificate files: gRPC reads them once, and they change under a daemon that runs for months.

Calls go to a channel of the newest files; one of older files takes no new calls and closes when its calls have ended.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, Self, TypeVar, cast

import grpc

from clarion_kit.tls import FileWatch, TlsFiles

log = logging.getLogger(__name__)

P = ParamSpec("P")
AnswerT = TypeVar("AnswerT")
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
Serializer = Callable[[RequestT], bytes] | None
Deserializer = Callable[[bytes], ResponseT] | None

LOOK_SECONDS = 1.0
"""How often, at most, a call looks at the files."""
LONGEST_CALL_SECONDS = 600.0
"""How long a replaced channel waits for its calls."""


class RenewingChannel(grpc.aio.Channel):
    """`connect` makes a channel of credentials. Files that cannot be used at the moment change nothing."""

    def __init__(
        self,
        files: TlsFiles,
        connect: Callable[[grpc.ChannelCredentials], grpc.aio.Channel],
        *,
        now: Callable[[], float] = time.monotonic,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._files = files
        self._connect = connect
        self._now = now
        self._look_seconds = look_seconds
        self._watch = FileWatch(files)
        self._channel = connect(files.mesh_channel_credentials())
        self._look_at = now() + look_seconds
        self._closing: dict[asyncio.Task[None], grpc.aio.Channel] = {}
        self._closed = False

    def latest(self) -> grpc.aio.Channel:
        """The channel of the newest files."""
        now = self._now()
        if now >= self._look_at and not self._closed:
            self._look_at = now + self._look_seconds
            if self._watch.changed():
                self._renew()
        return self._channel

    def _renew(self) -> None:
        former, self._channel = self._channel, self._connect(self._files.mesh_channel_credentials())
        log.info("certificates changed: new calls use a new channel")
        closing = asyncio.get_running_loop().create_task(former.close(grace=LONGEST_CALL_SECONDS))
        self._closing[closing] = former
        closing.add_done_callback(lambda ended: self._closing.pop(ended, None))

    def unary_unary(
        self,
        method: str,
        request_serializer: Serializer[RequestT] = None,
        response_deserializer: Deserializer[ResponseT] = None,
        _registered_method: bool = False,
    ) -> "grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]":
        return cast(
            "grpc.aio.UnaryUnaryMultiCallable[RequestT, ResponseT]",
            self._following(lambda c: c.unary_unary(method, request_serializer, response_deserializer)),
        )

    def unary_stream(
        self,
        method: str,
        request_serializer: Serializer[RequestT] = None,
        response_deserializer: Deserializer[ResponseT] = None,
        _registered_method: bool = False,
    ) -> "grpc.aio.UnaryStreamMultiCallable[RequestT, ResponseT]":
        return cast(
            "grpc.aio.UnaryStreamMultiCallable[RequestT, ResponseT]",
            self._following(lambda c: c.unary_stream(method, request_serializer, response_deserializer)),
        )

    def stream_unary(
        self,
        method: str,
        request_serializer: Serializer[RequestT] = None,
        response_deserializer: Deserializer[ResponseT] = None,
        _registered_method: bool = False,
    ) -> "grpc.aio.StreamUnaryMultiCallable[RequestT, ResponseT]":
        return cast(
            "grpc.aio.StreamUnaryMultiCallable[RequestT, ResponseT]",
            self._following(lambda c: c.stream_unary(method, request_serializer, response_deserializer)),
        )

    def stream_stream(
        self,
        method: str,
        request_serializer: Serializer[RequestT] = None,
        response_deserializer: Deserializer[ResponseT] = None,
        _registered_method: bool = False,
    ) -> "grpc.aio.StreamStreamMultiCallable[RequestT, ResponseT]":
        return cast(
            "grpc.aio.StreamStreamMultiCallable[RequestT, ResponseT]",
            self._following(lambda c: c.stream_stream(method, request_serializer, response_deserializer)),
        )

    def _following(self, make: Callable[[grpc.aio.Channel], Callable[P, AnswerT]]) -> Callable[P, AnswerT]:
        """What `make` makes of the newest channel, made anew when that changes."""
        made_of = self._channel
        made = make(made_of)

        def call(*args: P.args, **kwargs: P.kwargs) -> AnswerT:
            nonlocal made_of, made
            channel = self.latest()
            if channel is not made_of:
                made_of, made = channel, make(channel)
            return made(*args, **kwargs)

        return call

    async def close(self, grace: float | None = None) -> None:
        """Close every channel; calls get `grace` seconds."""
        self._closed = True
        await self._channel.close(grace)
        former = dict(self._closing)
        for closing in former:
            closing.cancel()
        await asyncio.gather(*former, return_exceptions=True)
        for channel in former.values():
            await channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self.latest().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self.latest().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.latest().channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        await self.close()
