"""Sends over one bidirectional stream that outlives its connections."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from datetime import timedelta

import grpc

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client import _trace
from clarion_client._results import SendOutcome, outcome
from clarion_client._status import from_aio_error, out_of_time
from clarion_client._token import Token
from clarion_client._trace import TraceContext
from clarion_client.aio.bulk import each
from clarion_client.aio.core import AsyncCore, call_metadata, cut_off
from clarion_client.aio.window import Window
from clarion_client.calls.notifications import SEND_STREAM
from clarion_client.errors import ClarionError, Unavailable
from clarion_client.notification import NotificationLike, notification_proto
from clarion_client.retry import Attempts

MAX_UNANSWERED = 1_000
"""The server's own limit (NotificationService.SendStream)."""

_Call = grpc.aio.StreamStreamCall[pb.SendStreamRequest, pb.SendStreamResponse]


async def send_stream(
    core: AsyncCore,
    notifications: Iterable[NotificationLike] | AsyncIterable[NotificationLike],
    timeout: timedelta,
    max_unanswered: int,
) -> AsyncGenerator[SendOutcome, None]:
    """One outcome per notification, in order; the source is read only while fewer than `max_unanswered` are open.

    A lost connection is opened again and everything unanswered is sent again, within the retry policy; each answer
    starts the policy anew. `timeout` bounds each answer, and each outage as a whole.
    """
    if not 1 <= max_unanswered <= MAX_UNANSWERED:
        raise ValueError(f"max_unanswered must be 1 to {MAX_UNANSWERED}")
    window = Window(max_unanswered)
    pump = asyncio.create_task(_pump(notifications, window), name="clarion stream source")
    outage: Attempts | None = None
    try:
        while True:
            attempts = outage or core.attempts(timeout, idempotent=SEND_STREAM.idempotent)
            token = await core.token(attempts)
            connection = _Connection(core, window, token, _trace.current())
            try:
                while (item := await window.oldest()) is not None:
                    result = await connection.answer(timeout)
                    await window.answered()
                    outage = None
                    yield outcome(item.event_id, result, connection.trace)
            except ClarionError as error:
                outage = outage or core.attempts(timeout, idempotent=SEND_STREAM.idempotent)
                await core.before_retry(outage, error, token)
                continue
            finally:
                await connection.close()
            # The source's own error, now that all it gave before is answered.
            await pump
            return
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)


async def _pump(notifications: Iterable[NotificationLike] | AsyncIterable[NotificationLike], window: Window) -> None:
    try:
        async for notification in each(notifications):
            await window.put(notification_proto(notification))
    finally:
        await window.end()


class _Connection:
    """One stream to the server; owns the task that writes to it."""

    def __init__(self, core: AsyncCore, window: Window, token: Token, trace: TraceContext | None) -> None:
        self.trace = trace
        self._core = core
        self._window = window
        window.rewind()
        multi = core.channel.stream_stream(
            SEND_STREAM.path,
            request_serializer=SEND_STREAM.serialize,
            response_deserializer=SEND_STREAM.deserialize,
        )
        self._call: _Call = multi(metadata=call_metadata(token, trace))
        self._writer = asyncio.create_task(self._write(), name="clarion stream writer")

    async def answer(self, timeout: timedelta) -> pb.SendResult:
        """The next answer. Raises ClarionError."""
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                response = await self._call.read()
        except TimeoutError:
            raise out_of_time("an answer of the stream") from None
        except grpc.aio.AioRpcError as error:
            raise _broken_or_refused(error, self.trace) from error
        except asyncio.CancelledError:
            if self._core.was_cut():
                raise cut_off() from None
            raise
        if isinstance(response, pb.SendStreamResponse):
            return response.result
        raise Unavailable("the server ended the stream before its last answer", code=grpc.StatusCode.UNAVAILABLE)

    async def close(self) -> None:
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        self._call.cancel()

    async def _write(self) -> None:
        try:
            while (item := await self._window.next_to_write()) is not None:
                await self._call.write(pb.SendStreamRequest(notification=item))
            await self._call.done_writing()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            # The stream has ended; why, the reader is told.
            return


def _broken_or_refused(error: grpc.aio.AioRpcError, trace: TraceContext | None) -> ClarionError:
    """grpc.aio calls a stream INTERNAL when a write fails before it has read why the server ended it (seen with 1.85).
    Clarion's own INTERNAL has a reason; anything else is a broken stream, and opening it again is safe."""
    failure = from_aio_error(error, trace.sampled_trace_id if trace else "")
    if failure.code is not grpc.StatusCode.INTERNAL or failure.reason:
        return failure
    return Unavailable(f"the stream broke: {failure.message}", code=grpc.StatusCode.UNAVAILABLE)
