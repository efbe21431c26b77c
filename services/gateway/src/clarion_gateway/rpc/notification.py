"""NotificationService."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1.notification_service_pb2_grpc import NotificationServiceServicer
from clarion.notification.v1.state_pb2 import GateTrail
from clarion_gateway.explainer import Explainer
from clarion_gateway.intake import Intake
from clarion_gateway.rpc.paging import page_size, page_token, parse_page_token
from clarion_kit.errors import DomainError, ErrorReason, FieldFault, Unavailable, invalid_fields, unavailable
from clarion_kit.rpc.caller import Caller, current_caller
from clarion_kit.rpc.interceptor import Authenticator
from clarion_kit.sealing import recipient_reference
from clarion_kit.validate import Faults, moment
from clarion_kit.vocabulary import NotificationState
from clarion_ledger import cancelling, reading, scheduling
from clarion_ledger.accept import Accepted
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool
from clarion_ledger.ids import floor_of

MAX_ITEMS = 1_000
STREAM_WINDOW = 1_000
STREAM_GATHER = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SEND_STREAM = "/clarion.notification.v1.NotificationService/SendStream"


class NotificationRpc(NotificationServiceServicer):
    """Accepts, shows, explains and cancels notifications of the caller's app."""

    def __init__(
        self, intake: Intake, explainer: Explainer, pool: Pool, config: ConfigCache, door: Authenticator
    ) -> None:
        self._intake = intake
        self._explainer = explainer
        self._pool = pool
        self._config = config
        self._door = door

    async def Send(
        self, request: pb.SendRequest, context: grpc.aio.ServicerContext[pb.SendRequest, pb.SendResponse]
    ) -> pb.SendResponse:
        [result] = await self._intake.take(current_caller(), [request.notification])
        if isinstance(result, DomainError):
            raise result
        return _sent(result)

    async def SendBatch(
        self, request: pb.SendBatchRequest, context: grpc.aio.ServicerContext[pb.SendBatchRequest, pb.SendBatchResponse]
    ) -> pb.SendBatchResponse:
        count = len(request.notifications)
        if not 1 <= count <= MAX_ITEMS:
            raise invalid_fields([FieldFault("notifications", f"1 to {MAX_ITEMS} items are required, not {count}")])
        results = await self._intake.take(current_caller(), request.notifications)
        return pb.SendBatchResponse(results=[_result(result) for result in results])

    async def SendStream(
        self,
        request_iterator: AsyncIterator[pb.SendStreamRequest],
        context: grpc.aio.ServicerContext[pb.SendStreamRequest, pb.SendStreamResponse],
    ) -> AsyncIterator[pb.SendStreamResponse]:
        arrived: asyncio.Queue[pb.SendStreamRequest | None] = asyncio.Queue(STREAM_WINDOW)

        async def read() -> None:
            async for request in request_iterator:
                await arrived.put(request)
            await arrived.put(None)

        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        reader = asyncio.create_task(read())
        try:
            ended = False
            while not ended:
                gathered, ended = await _gather(arrived, reader)
                # A stream may outlive its token, and its key.
                caller = self._door.authenticate(_SEND_STREAM, metadata, frozenset())
                for result in await self._take_streamed(caller, [request.notification for request in gathered]):
                    yield pb.SendStreamResponse(result=_result(result))
            await reader
        finally:
            reader.cancel()

    async def Get(
        self, request: pb.GetRequest, context: grpc.aio.ServicerContext[pb.GetRequest, pb.GetResponse]
    ) -> pb.GetResponse:
        app_id = current_caller().app_id
        faults = Faults()
        match request.WhichOneof("key"):
            case "notification_id":
                found: UUID | None = _uuid("notification_id", request.notification_id)
                metadata = {"notification_id": str(found)}
            case "event_id":
                faults.text("event_id", request.event_id, max_bytes=128)
                faults.raise_if_any()
                found = await reading.find_by_event(self._pool, app_id, request.event_id)
                metadata = {"event_id": request.event_id}
            case _:
                raise invalid_fields([FieldFault("key", "notification_id or event_id is required")])
        whole = await reading.whole(self._pool, app_id, found) if found is not None else None
        if whole is None:
            raise DomainError(ErrorReason.NOTIFICATION_NOT_FOUND, "no such notification", metadata=metadata)
        return pb.GetResponse(
            notification=self._view(whole.notification),
            deliveries=[_delivery(delivery) for delivery in whole.deliveries],
            timeline=[_entry(event) for event in whole.timeline],
        )

    async def List(
        self, request: pb.ListRequest, context: grpc.aio.ServicerContext[pb.ListRequest, pb.ListResponse]
    ) -> pb.ListResponse:
        app_id = current_caller().app_id
        size = page_size(request.page_size)
        faults = Faults()
        category_id = None
        if request.category:
            faults.name("category", request.category)
            faults.raise_if_any()
            category = self._config.snapshot.categories.get((app_id, request.category))
            if category is None:
                raise DomainError(
                    ErrorReason.CATEGORY_NOT_FOUND, "no such category", metadata={"category": request.category}
                )
            category_id = category.category_id
        before = parse_page_token(request.page_token)
        if request.HasField("until"):
            before = min(before, _floor(faults, "until", request.until))
        since = _floor(faults, "since", request.since) if request.HasField("since") else UUID(int=0)
        faults.raise_if_any()
        recipient = recipient_reference(app_id, request.recipient_id) if request.recipient_id else None
        rows = await reading.page(
            self._pool,
            app_id,
            size=size + 1,
            before=before,
            since=since,
            category_id=category_id,
            recipient_ref=UUID(bytes=recipient) if recipient else None,
        )
        page = rows[:size]
        more = len(rows) > size
        token = page_token(page[-1].notification_id) if more else ""
        return pb.ListResponse(notifications=[self._view(row) for row in page], next_page_token=token)

    async def Cancel(
        self, request: pb.CancelRequest, context: grpc.aio.ServicerContext[pb.CancelRequest, pb.CancelResponse]
    ) -> pb.CancelResponse:
        notification_id = _uuid("notification_id", request.notification_id)
        done = await cancelling.cancel(self._pool, current_caller().app_id, notification_id)
        if done is None:
            raise _not_found(notification_id)
        if not done.cancelled and done.unaffected and done.state is NotificationState.DONE:
            raise DomainError(
                ErrorReason.NOT_CANCELLABLE, "nothing is in flight any more", metadata={"state": done.state.name}
            )
        return pb.CancelResponse(
            state=done.state,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
            cancelled_deliveries=done.cancelled,
            unaffected_deliveries=done.unaffected,
        )

    async def Reschedule(
        self,
        request: pb.RescheduleRequest,
        context: grpc.aio.ServicerContext[pb.RescheduleRequest, pb.RescheduleResponse],
    ) -> pb.RescheduleResponse:
        app_id = current_caller().app_id
        notification_id = _uuid("notification_id", request.notification_id)
        deliver_at, expire_at = _new_times(request, datetime.now(UTC))
        moved = await scheduling.reschedule(self._pool, app_id, notification_id, deliver_at, expire_at)
        if moved is None:
            whole = await reading.whole(self._pool, app_id, notification_id)
            if whole is None:
                raise _not_found(notification_id)
            raise DomainError(
                ErrorReason.NOT_SCHEDULED,
                "the notification does not wait for its time any more",
                metadata={"state": whole.notification.state.name},
            )
        return pb.RescheduleResponse(deliver_at=_timestamp(moved.deliver_at), expire_at=_timestamp(moved.expire_at))

    async def Explain(
        self, request: pb.ExplainRequest, context: grpc.aio.ServicerContext[pb.ExplainRequest, pb.ExplainResponse]
    ) -> pb.ExplainResponse:
        caller = current_caller()
        match request.WhichOneof("of"):
            case "notification":
                await self._intake.check(caller, request.notification)
                return await self._explainer.dry_run(caller.app_id, request.notification)
            case "notification_id":
                notification_id = _uuid("notification_id", request.notification_id)
                return await self._explainer.afterwards(caller.app_id, notification_id)
            case _:
                raise invalid_fields([FieldFault("of", "a notification or a notification_id is required")])

    async def _take_streamed(
        self, caller: Caller, notifications: list[pb.Notification]
    ) -> "list[Accepted | DomainError]":
        if not notifications:
            return []
        try:
            return await self._intake.take(caller, notifications)
        except Unavailable as away:
            return [unavailable(away.dependency)] * len(notifications)
        except DomainError as refused:
            return [refused] * len(notifications)

    def _view(self, row: reading.NotificationRow) -> pb.NotificationView:
        category = self._config.snapshot.categories_by_id.get(row.category_id)
        return pb.NotificationView(
            notification_id=str(row.notification_id),
            event_id=row.event_id,
            state=row.state,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
            category=category.name if category else "",
            priority=row.priority,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
            accepted_at=_timestamp(row.accepted_at),
            deliver_at=_timestamp(row.deliver_at),
            expire_at=_timestamp(row.expire_at),
            trace_id=row.traceparent[3:35],
            recipient_count=row.recipient_count,
            broadcast_id=str(row.broadcast_id) if row.broadcast_id else "",
            test=row.test,
        )


async def _gather(
    arrived: "asyncio.Queue[pb.SendStreamRequest | None]", reader: "asyncio.Task[None]"
) -> tuple[list[pb.SendStreamRequest], bool]:
    """What has come by now, at least one unless the stream ended, and whether it did."""
    first = asyncio.create_task(arrived.get())
    try:
        await asyncio.wait((first, reader), return_when=asyncio.FIRST_COMPLETED)
        if not first.done() and arrived.empty():
            await reader  # raises what the stream broke with
            return [], True
        gathered: list[pb.SendStreamRequest] = []
        request = await first
    finally:
        first.cancel()
    while request is not None:
        gathered.append(request)
        if len(gathered) >= STREAM_GATHER or arrived.empty():
            return gathered, False
        request = arrived.get_nowait()
    return gathered, True


def _new_times(request: pb.RescheduleRequest, now: datetime) -> tuple[datetime, datetime | None]:
    """Raises INVALID_FIELD, EXPIRY_IN_PAST."""
    faults = Faults()
    deliver_at = now
    if faults.require("deliver_at", request.HasField("deliver_at"), "required"):
        deliver_at = moment(faults, "deliver_at", request.deliver_at) or now
        faults.require("deliver_at", deliver_at <= now + scheduling.MAX_AHEAD, "more than 366 days ahead")
    expire_at = moment(faults, "expire_at", request.expire_at) if request.HasField("expire_at") else None
    faults.raise_if_any()
    # Its deadline moves as far as it does, so one that is moved into the past must not take it along.
    deliver_at = max(deliver_at, now)
    if expire_at is not None and expire_at <= deliver_at:
        fault = "must be later than now and deliver_at"
        raise DomainError(ErrorReason.EXPIRY_IN_PAST, f"expire_at {fault}", fields=[FieldFault("expire_at", fault)])
    return deliver_at, expire_at


def _not_found(notification_id: UUID) -> DomainError:
    return DomainError(
        ErrorReason.NOTIFICATION_NOT_FOUND,
        "no such notification",
        metadata={"notification_id": str(notification_id)},
    )


def _sent(accepted: Accepted) -> pb.SendResponse:
    return pb.SendResponse(notification_id=str(accepted.notification_id), duplicate=not accepted.fresh)


def _result(result: Accepted | DomainError) -> pb.SendResult:
    if isinstance(result, DomainError):
        return pb.SendResult(error=result.to_status())
    return pb.SendResult(accepted=_sent(result))


def _delivery(row: reading.DeliveryRow) -> pb.Delivery:
    return pb.Delivery(
        delivery_id=str(row.delivery_id),
        recipient_ref=str(row.recipient_ref),
        channel=row.channel,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
        state=row.state,  # type: ignore[arg-type]
        reason=row.reason or 0,  # type: ignore[arg-type]
        receipt=row.receipt or 0,  # type: ignore[arg-type]
        provider=row.lane,
        provider_message_id=row.provider_message_id,
        attempts=row.attempts,
        ambiguous=row.ambiguous,
        gates=GateTrail.FromString(row.gates) if row.gates else None,
        planned_at=_timestamp(row.planned_at),
        terminal_at=_timestamp(row.terminal_at),
    )


def _entry(event: reading.EventRow) -> pb.TimelineEntry:
    return pb.TimelineEntry(
        at=_timestamp(event.at),
        kind=event.kind,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
        delivery_id=str(event.delivery_id) if event.delivery_id else "",
        state=event.state or 0,  # type: ignore[arg-type]
        reason=event.reason or 0,  # type: ignore[arg-type]
        provider=event.lane,
        code=event.code,
        attempt=event.attempt,
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def _floor(faults: Faults, field: str, stamp: Timestamp) -> UUID:
    """The least id of a moment; before 1970 there is none lower."""
    at = moment(faults, field, stamp)
    return floor_of(max(0, int(at.timestamp() * 1_000))) if at is not None else UUID(int=0)


def _uuid(field: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise invalid_fields([FieldFault(field, "not a UUID")]) from None
