"""A gateway for the client's tests: the real contract over real TLS, with answers that a test scripts."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Never

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from clarion.app.v1 import app_service_pb2, app_service_pb2_grpc
from clarion.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1 import notification_service_pb2_grpc
from clarion.recipient.v1 import recipient_service_pb2, recipient_service_pb2_grpc
from clarion_local.authority import Authority

Context = grpc.aio.ServicerContext[Message, Message]
Step = Callable[[Context], Awaitable[None]]
"""What happens to one call before it is answered."""

APP_KEY = "ck_test"
APP_SECRET = "cs_canary_3f9d2c71"


def status(
    code: grpc.StatusCode,
    message: str,
    *,
    reason: str = "",
    domain: str = "clarion",
    metadata: dict[str, str] | None = None,
    faults: Sequence[tuple[str, str]] = (),
) -> status_pb2.Status:
    details = [error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=metadata or {})] if reason else []
    made = status_pb2.Status(code=code.value[0], message=message, details=[packed(info) for info in details])
    if faults:
        bad_request = error_details_pb2.BadRequest()
        for field, description in faults:
            bad_request.field_violations.add(field=field, description=description)
        made.details.append(packed(bad_request))
    return made


def packed(message: Message) -> any_pb2.Any:
    holder = any_pb2.Any()
    holder.Pack(message)
    return holder


def refuse(code: grpc.StatusCode, message: str, details: bytes | None = None) -> Step:
    """A status, with the given bytes as its details."""

    async def step(context: Context) -> None:
        trailing = () if details is None else (("grpc-status-details-bin", details),)
        await context.abort(code, message, trailing)

    return step


def refuse_with(made: status_pb2.Status) -> Step:
    """The wire form of a Clarion error."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    return refuse(codes[made.code], made.message, made.SerializeToString())


UNAVAILABLE = refuse(grpc.StatusCode.UNAVAILABLE, "try again")


class Gateway:
    """What it was asked, and what it is to do. `steps` are taken one per unary call, in order; then calls succeed."""

    def __init__(self) -> None:
        self.steps: deque[Step] = deque()
        self.token_steps: deque[Step] = deque()
        self.token_life = timedelta(minutes=15)
        self.tokens_issued = 0
        self.valid_tokens: set[str] = set()
        self.notifications: list[pb.Notification] = []
        self.batches: list[pb.SendBatchRequest] = []
        self.requests: list[Message] = []
        self.metadata: list[dict[str, str]] = []
        self.before_batch: Callable[[pb.SendBatchRequest], Awaitable[None]] | None = None
        self.item_error: Callable[[pb.Notification], status_pb2.Status | None] = lambda item: None
        self.upserts: list[list[str]] = []
        self.before_upsert: Callable[[list[str]], Awaitable[None]] | None = None
        self.recipient_error: Callable[[str], status_pb2.Status | None] = lambda recipient_id: None
        self.streamed: list[str] = []
        self.stream_cuts: deque[int] = deque()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.received = asyncio.Condition()
        self.target = ""
        self.ca = b""

    async def admit(self, request: Message, context: Context) -> None:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        self.metadata.append(metadata)
        self.requests.append(request)
        async with self.received:
            self.received.notify_all()
        if metadata.get("authorization", "").removeprefix("Bearer ") not in self.valid_tokens:
            await refuse_with(status(grpc.StatusCode.UNAUTHENTICATED, "no", reason="UNAUTHENTICATED"))(context)
        if self.steps:
            await self.steps.popleft()(context)

    async def wait_for_requests(self, count: int) -> None:
        async with self.received:
            await asyncio.wait_for(self.received.wait_for(lambda: len(self.requests) >= count), 5)

    async def wait_for_streamed(self, count: int) -> None:
        async with self.received:
            await asyncio.wait_for(self.received.wait_for(lambda: len(self.streamed) >= count), 5)

    def result(self, item: pb.Notification) -> pb.SendResult:
        error = self.item_error(item)
        if error is not None:
            return pb.SendResult(error=error)
        return pb.SendResult(accepted=pb.SendResponse(notification_id=f"n-{item.event_id}"))


class Auth(auth_service_pb2_grpc.AuthServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def IssueToken(
        self, request: auth_service_pb2.IssueTokenRequest, context: Context
    ) -> auth_service_pb2.IssueTokenResponse:
        gateway = self._gateway
        gateway.tokens_issued += 1
        if gateway.token_steps:
            await gateway.token_steps.popleft()(context)
        if (request.app_key, request.app_secret) != (APP_KEY, APP_SECRET):
            await refuse_with(status(grpc.StatusCode.UNAUTHENTICATED, "no", reason="UNAUTHENTICATED"))(context)
        token = f"token-{gateway.tokens_issued}"
        gateway.valid_tokens.add(token)
        answer = auth_service_pb2.IssueTokenResponse(token=token)
        answer.expires_at.FromDatetime(datetime.now(UTC) + gateway.token_life)
        return answer


class Notifications(notification_service_pb2_grpc.NotificationServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def Send(self, request: pb.SendRequest, context: Context) -> pb.SendResponse:
        self._gateway.notifications.append(request.notification)
        await self._gateway.admit(request, context)
        return self._gateway.result(request.notification).accepted

    async def SendBatch(self, request: pb.SendBatchRequest, context: Context) -> pb.SendBatchResponse:
        await self._gateway.admit(request, context)
        self._gateway.batches.append(request)
        if self._gateway.before_batch is not None:
            await self._gateway.before_batch(request)
        return pb.SendBatchResponse(results=[self._gateway.result(item) for item in request.notifications])

    async def SendStream(
        self, request_iterator: AsyncIterator[pb.SendStreamRequest], context: Context
    ) -> AsyncIterator[pb.SendStreamResponse]:
        gateway = self._gateway
        await gateway.admit(pb.SendStreamRequest(), context)
        answers_before_cut = gateway.stream_cuts.popleft() if gateway.stream_cuts else -1
        taken: asyncio.Queue[pb.Notification | None] = asyncio.Queue()

        async def take() -> None:
            async for request in request_iterator:
                async with gateway.received:
                    gateway.streamed.append(request.notification.event_id)
                    gateway.received.notify_all()
                taken.put_nowait(request.notification)
            taken.put_nowait(None)

        taking = asyncio.create_task(take())
        try:
            while (item := await taken.get()) is not None:
                await gateway.may_answer.wait()
                if answers_before_cut == 0:
                    await UNAVAILABLE(context)
                answers_before_cut -= 1
                yield pb.SendStreamResponse(result=gateway.result(item))
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def Get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:
        await self._gateway.admit(request, context)
        return pb.GetResponse(notification=pb.NotificationView(notification_id=request.notification_id))

    async def List(self, request: pb.ListRequest, context: Context) -> pb.ListResponse:
        await self._gateway.admit(request, context)
        page = int(request.page_token or "0")
        views = [pb.NotificationView(notification_id=f"{page}-{index}") for index in range(request.page_size)]
        return pb.ListResponse(notifications=views, next_page_token=str(page + 1) if page < 2 else "")

    async def Cancel(self, request: pb.CancelRequest, context: Context) -> pb.CancelResponse:
        await self._gateway.admit(request, context)
        return pb.CancelResponse(cancelled_deliveries=1)

    async def Explain(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def Reschedule(self, request: Message, context: Context) -> Never:
        await unscripted(context)


class Apps(app_service_pb2_grpc.AppServiceServicer):
    """Only what is not idempotent."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def CreateApp(
        self, request: app_service_pb2.CreateAppRequest, context: Context
    ) -> app_service_pb2.CreateAppResponse:
        await self._gateway.admit(request, context)
        return app_service_pb2.CreateAppResponse(app=app_service_pb2.App(name=request.name))

    async def ListApps(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def CreateKey(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def ListKeys(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def RevokeKey(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def UpdateApp(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def UpdateKey(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def RotateKey(self, request: Message, context: Context) -> Never:
        await unscripted(context)


class Recipients(recipient_service_pb2_grpc.RecipientServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def UpsertRecipients(
        self, request: recipient_service_pb2.UpsertRecipientsRequest, context: Context
    ) -> recipient_service_pb2.UpsertRecipientsResponse:
        gateway = self._gateway
        await gateway.admit(request, context)
        ids = [recipient.recipient_id for recipient in request.recipients]
        if gateway.before_upsert is not None:
            await gateway.before_upsert(ids)
        gateway.upserts.append(ids)
        response = recipient_service_pb2.UpsertRecipientsResponse()
        for id_ in ids:
            error = gateway.recipient_error(id_)
            stored = recipient_service_pb2.UpsertRecipientResponse(created=True, address_ids=[id_])
            response.results.add(error=error, stored=None if error is not None else stored)
        return response

    async def UpsertRecipient(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def GetRecipient(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def RegisterAddress(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def RemoveAddress(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def MergeRecipients(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def EraseRecipient(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def ExportRecipient(self, request: Message, context: Context) -> Never:
        await unscripted(context)

    async def ImportRecipients(self, request_iterator: object, context: Context) -> Never:
        await unscripted(context)


async def unscripted(context: Context) -> Never:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Gateway]:
    """A gateway on a free port of loopback, with TLS of an authority of its own in `folder`."""
    gateway = Gateway()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 8 << 20)])
    auth_service_pb2_grpc.add_AuthServiceServicer_to_server(Auth(gateway), server)
    notification_service_pb2_grpc.add_NotificationServiceServicer_to_server(Notifications(gateway), server)
    app_service_pb2_grpc.add_AppServiceServicer_to_server(Apps(gateway), server)
    recipient_service_pb2_grpc.add_RecipientServiceServicer_to_server(Recipients(gateway), server)
    authority = Authority.create(folder)
    files = authority.issue("gateway")
    credentials = grpc.ssl_server_credentials([(files.key.read_bytes(), files.cert.read_bytes())])
    gateway.target = f"localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    gateway.ca = authority.ca.read_bytes()
    await server.start()
    try:
        yield gateway
    finally:
        await server.stop(None)
