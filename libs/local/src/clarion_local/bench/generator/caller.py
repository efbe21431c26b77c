"""Calls of NotificationService with requests that were serialised before, on the bare gRPC stack: the least a client can cost."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import grpc

from clarion.auth.v1 import auth_service_pb2 as auth
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_local.bench.generator.jobs import Target

_SERVICE = "/clarion.notification.v1.NotificationService"
_CALL_SECONDS = 30.0
_UNANSWERED_STREAM_ITEMS = 1_000


class _Unary(Protocol):
    """A call whose messages are bytes on both sides."""

    def __call__(
        self, request: bytes, *, timeout: float, metadata: tuple[tuple[str, str], ...]
    ) -> Awaitable[bytes]: ...


class Caller:
    """One channel to the gateway. Counts what was refused (items, by reason) and what failed (calls, by status)."""

    def __init__(self, channel: grpc.aio.Channel, target: Target) -> None:
        self._target = target
        self._send: _Unary = channel.unary_unary(f"{_SERVICE}/Send")
        self._batch: _Unary = channel.unary_unary(f"{_SERVICE}/SendBatch")
        self._stream: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(f"{_SERVICE}/SendStream")
        self._issue: _Unary = channel.unary_unary("/clarion.auth.v1.AuthService/IssueToken")
        self._metadata: tuple[tuple[str, str], ...] = ()
        self.refused: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    @staticmethod
    @asynccontextmanager
    async def open(target: Target) -> AsyncIterator["Caller"]:
        """Connected and with a token on entry. Raises grpc.aio.AioRpcError, OSError."""
        credentials = _credentials(target)
        options = (("grpc.max_receive_message_length", 16 << 20),)
        async with grpc.aio.secure_channel(target.endpoint, credentials, options) as channel:
            caller = Caller(channel, target)
            await caller.renew()
            yield caller

    async def renew(self) -> None:
        """A new token, which lives longer than any job takes. Raises grpc.aio.AioRpcError."""
        request = auth.IssueTokenRequest(app_key=self._target.app_key, app_secret=self._target.app_secret)
        answer = await self._issue(request.SerializeToString(), timeout=_CALL_SECONDS, metadata=())
        token = auth.IssueTokenResponse.FromString(answer).token
        self._metadata = (("authorization", f"Bearer {token}"),)

    def reset(self) -> None:
        """Count from zero."""
        self.refused.clear()
        self.failed.clear()

    async def single(self, request: bytes) -> int:
        """1 if it was taken, else 0."""
        try:
            await self._send(request, timeout=_CALL_SECONDS, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            self.failed[error.code().name] += 1
            return 0
        return 1

    async def batch(self, request: bytes) -> int:
        """How many of its items were taken."""
        try:
            answer = await self._batch(request, timeout=_CALL_SECONDS, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            self.failed[error.code().name] += 1
            return 0
        return self._taken(pb.SendBatchResponse.FromString(answer).results)

    async def stream(self, requests: Iterable[bytes]) -> int:
        """Hand in over one stream, as fast as answers come; how many were taken."""
        taken = 0
        room = asyncio.Semaphore(_UNANSWERED_STREAM_ITEMS)
        call = self._stream(timeout=_CALL_SECONDS * 10, metadata=self._metadata)

        async def write() -> None:
            for request in requests:
                await room.acquire()
                await call.write(request)
            await call.done_writing()

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(write())
                while isinstance(answer := await call.read(), bytes):
                    room.release()
                    taken += self._taken([pb.SendStreamResponse.FromString(answer).result])
        except* grpc.aio.AioRpcError as errors:
            self.failed[str(errors.exceptions[0])[:60]] += 1
        return taken

    def _taken(self, results: Iterable[pb.SendResult]) -> int:
        taken = 0
        for result in results:
            if result.WhichOneof("result") == "accepted":
                taken += 1
            else:
                self.refused[result.error.message[:80]] += 1
        return taken


def _credentials(target: Target) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(Path(target.ca_file).read_bytes())


def milliseconds_since(moment: float) -> float:
    """Of the monotonic clock."""
    return (time.monotonic() - moment) * 1_000.0
