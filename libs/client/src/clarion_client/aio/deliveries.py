"""`client.deliveries`: a stream of changes that outlives its connections."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from datetime import timedelta

import grpc

from clarion.notification.v1 import notification_service_pb2, state_pb2
from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion_client._resuming import OUTAGE, SILENCE, as_lost, ended_empty, read_too_slowly
from clarion_client._status import from_aio_error, out_of_time
from clarion_client._token import Token
from clarion_client.aio.core import AsyncCore, call_metadata, cut_off
from clarion_client.calls.deliveries import WATCH, watch_request
from clarion_client.enums import Channel
from clarion_client.errors import ClarionError

_Call = grpc.aio.UnaryStreamCall[pb.WatchDeliveriesRequest, pb.WatchDeliveriesResponse]


class AsyncDeliveries:
    """`client.deliveries`"""

    def __init__(self, core: AsyncCore) -> None:
        self._core = core

    def watch(
        self,
        cursor: str = "",
        *,
        channels: Iterable[Channel] = (),
        kinds: Iterable["notification_service_pb2.EventKind.ValueType"] = (),
        states: Iterable["state_pb2.DeliveryState.ValueType"] = (),
        categories: Iterable[str] = (),
        notification_ids: Iterable[str] = (),
        recipient_id: str = "",
        outage: timedelta = OUTAGE,
    ) -> "AsyncWatch":
        """Changes from `cursor` on (empty: from now), without end: `async for change in client.deliveries.watch(): …`.

        Nothing is left out and nothing comes twice, also when connections, gateways and trackers come and go; after
        `outage` without any answer the last error is raised. Keep `change.cursor`, or the watch's `cursor`, with what you
        made of it. Iterating raises InvalidArgument (INVALID_FIELD, CATEGORY_NOT_FOUND, CURSOR_INVALID),
        FailedPrecondition (CURSOR_EXPIRED: begin anew without one), PermissionDenied, Unauthenticated, Unavailable.
        """
        request = watch_request(cursor, channels, kinds, states, categories, notification_ids, recipient_id)
        return AsyncWatch(self._core, request, outage)

    async def cursor(self) -> str:
        """Now: a watch from this cursor on tells what happens after this call. Raises as a watch does."""
        async with aclosing(self.watch().answers()) as answers:
            return (await anext(answers)).cursor


class AsyncWatch:
    """Changes as they come. Iterate it once; close the iterator (`contextlib.aclosing`) if you stop early."""

    def __init__(self, core: AsyncCore, request: pb.WatchDeliveriesRequest, outage: timedelta) -> None:
        self._core = core
        self._request = request
        self._outage = outage

    @property
    def cursor(self) -> str:
        """Everything up to here was taken: the change before the one in hand, or later where nothing else passed the
        filter. Empty before the first answer."""
        return self._request.cursor

    async def __aiter__(self) -> AsyncGenerator[pb.WatchDeliveriesResponse, None]:
        async with aclosing(self.answers()) as answers:
            async for answer in answers:
                if answer.HasField("entry"):
                    yield answer

    async def answers(self) -> AsyncGenerator[pb.WatchDeliveriesResponse, None]:
        """Every answer, also those that hold nothing but a fresh cursor: the first one does."""
        attempts = self._core.patience(self._outage)
        while True:
            token: Token | None = None
            call: _Call | None = None
            answered = False
            try:
                token = await self._core.token(attempts)
                call = self._open(token)
                while (response := await self._read(call)) is not None:
                    answered = True
                    yield response
                    self._request.cursor = response.cursor
                if not answered:
                    raise ended_empty()
            except ClarionError as error:
                if answered:
                    attempts = self._core.patience(self._outage)
                if not read_too_slowly(error):
                    await self._core.before_retry(attempts, as_lost(error), token)
            else:
                attempts = self._core.patience(self._outage)
            finally:
                if call is not None:
                    call.cancel()

    def _open(self, token: Token) -> _Call:
        multi = self._core.channel.unary_stream(
            WATCH.path, request_serializer=WATCH.serialize, response_deserializer=WATCH.deserialize
        )
        opened: _Call = multi(self._request, metadata=call_metadata(token, None))
        return opened

    async def _read(self, call: _Call) -> pb.WatchDeliveriesResponse | None:
        """The next answer; None: the server ended the stream. Raises ClarionError."""
        try:
            async with asyncio.timeout(SILENCE.total_seconds()):
                response = await call.read()
        except TimeoutError:
            raise out_of_time("a sign of life") from None
        except grpc.aio.AioRpcError as error:
            raise from_aio_error(error, "") from error
        except asyncio.CancelledError:
            if self._core.was_cut():
                raise cut_off() from None
            raise
        return response if isinstance(response, pb.WatchDeliveriesResponse) else None
