"""A gateway with its peers, and clients of it, for the tests beside this file."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Protocol, TypeVar
from uuid import uuid4

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2

from clarion.app.v1.app_service_pb2_grpc import AppServiceStub
from clarion.auditlog.v1.audit_log_service_pb2_grpc import AuditLogServiceStub
from clarion.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from clarion.budget.v1.budget_service_pb2_grpc import BudgetServiceStub
from clarion.category.v1.category_service_pb2_grpc import CategoryServiceStub
from clarion.deadletter.v1.dead_letter_service_pb2_grpc import DeadLetterServiceStub
from clarion.internal.ratelimit.v1 import rate_limit_service_pb2 as rate_limit
from clarion.internal.ratelimit.v1 import rate_limit_service_pb2_grpc as rate_limit_grpc
from clarion.internal.template.v1 import template_service_pb2 as internal_template
from clarion.internal.template.v1 import template_service_pb2_grpc as internal_template_grpc
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1.notification_service_pb2_grpc import NotificationServiceStub
from clarion.preference.v1.preference_service_pb2_grpc import PreferenceServiceStub
from clarion.provider.v1.provider_service_pb2_grpc import ProviderServiceStub
from clarion.routing.v1.routing_service_pb2_grpc import RoutingServiceStub
from clarion.template.v1 import template_service_pb2 as template
from clarion.template.v1 import template_service_pb2_grpc as template_grpc
from clarion.types.v1.content_pb2 import Content, PushContent
from clarion.webhook.v1.webhook_service_pb2_grpc import WebhookServiceStub
from clarion_gateway.app import build
from clarion_gateway.settings import Settings
from clarion_gateway.tokens import TokenIssuer
from clarion_kit import daemon
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.keyfiles import TokenKeys
from clarion_kit.sealing import KeyWrapper
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing
from clarion_ledger import admin
from clarion_ledger.db import Pool
from clarion_local.ports import PortLease

NOBODY = "127.0.0.1:1"
"""A port that nobody serves."""
EVERYTHING = ("send:*", "recipient:write", "template:write", "status:read", "deadletter:redrive", "admin")
Call = Awaitable[object]
RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


# ---------------------------------------------------------------- the gateway


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway and what its tests look at."""

    target: str
    channel: grpc.aio.Channel
    telemetry: Telemetry
    pool: Pool
    kek: KeyWrapper
    token_keys: TokenKeys

    def commits(self) -> float:
        """Grouped commits so far."""
        return self.telemetry.metrics.registry.get_sample_value("clarion_accept_commit_seconds_count") or 0.0

    async def app(self, *scopes: str) -> "Client":
        """A client of a new app; all scopes unless some are named."""
        row = await admin.create_app(self.pool, self.kek, f"app-{uuid4().hex[:12]}")
        issuer = TokenIssuer(self.token_keys, timedelta(minutes=5))
        token = issuer.issue(row.app_id, f"key-{row.app_id}", frozenset(scopes or EVERYTHING))
        return Client(self, row.app_id, row.name, token.text)

    def token_for(self, app_id: int, app_key: str) -> str:
        """A good token of a key, with every scope."""
        return TokenIssuer(self.token_keys, timedelta(minutes=5)).issue(app_id, app_key, frozenset(EVERYTHING)).text

    def anonymous(self) -> "Client":
        """A client without a token."""
        return Client(self, 0, "", "")


@asynccontextmanager
async def running(
    env: Mapping[str, str],
    pool: Pool,
    kek: KeyWrapper,
    token_keys: TokenKeys,
    credentials: grpc.ChannelCredentials | None = None,
) -> AsyncIterator[Gateway]:
    """The daemon as it is started, ready, with a channel to it."""
    with PortLease() as lease:
        port = lease.hand_over()
    target = f"127.0.0.1:{port}"
    telemetry = Telemetry(Tracing("test", 0.0, None), Metrics())
    stopping = asyncio.Event()
    listening = {**env, "CLARION_GRPC_LISTEN": target}
    serving = asyncio.create_task(
        daemon.run("gateway", Settings, build, env=listening, stopping=stopping, telemetry=telemetry)
    )
    try:
        opened = grpc.aio.secure_channel(target, credentials) if credentials else grpc.aio.insecure_channel(target)
        async with opened as channel:
            await ready(channel)
            gateway = Gateway(target, channel, telemetry, pool, kek, token_keys)
            # Its first look at the bus and at the configuration.
            await eventually(lambda: runs_straight(gateway))
            yield gateway
    finally:
        stopping.set()
        async with asyncio.timeout(20):
            await serving


async def ready(channel: grpc.aio.Channel) -> None:
    watch = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )(health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True)
    async for answer in watch:
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return
    raise AssertionError("the gateway never got ready")


async def runs_straight(gateway: Gateway) -> bool:
    """Whether a new notification goes to the bus at once."""
    client = await gateway.app()
    sent = await client.send(notification())
    return not await gateway.pool.fetchval(
        "SELECT ready_since IS NOT NULL FROM ledger.plan_work WHERE notification_id = $1", sent.notification_id
    )


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """For what tells nobody when it comes true: the state of a server."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.02)


# ---------------------------------------------------------------- its clients


class Client:
    """The services as one app sees them."""

    def __init__(self, gateway: Gateway, app_id: int, app: str, token: str) -> None:
        self.gateway = gateway
        self.app_id = app_id
        self.app = app
        self.auth = (("authorization", f"Bearer {token}"),) if token else ()
        channel = gateway.channel
        self.notifications = NotificationServiceStub(channel)
        self.tokens = AuthServiceStub(channel)
        self.apps = AppServiceStub(channel)
        self.audit_log = AuditLogServiceStub(channel)
        self.categories = CategoryServiceStub(channel)
        self.providers = ProviderServiceStub(channel)
        self.routing = RoutingServiceStub(channel)
        self.budgets = BudgetServiceStub(channel)
        self.webhooks = WebhookServiceStub(channel)
        self.dead_letters = DeadLetterServiceStub(channel)
        self.templates = template_grpc.TemplateServiceStub(channel)
        self.preferences = PreferenceServiceStub(channel)

    async def send(self, item: pb.Notification) -> pb.SendResponse:
        return await self.notifications.Send(pb.SendRequest(notification=item), metadata=self.auth, timeout=20)

    async def batch(self, items: Sequence[pb.Notification]) -> list[pb.SendResult]:
        request = pb.SendBatchRequest(notifications=items)
        return list((await self.notifications.SendBatch(request, metadata=self.auth, timeout=20)).results)

    def stream(self) -> "grpc.aio.StreamStreamCall[pb.SendStreamRequest, pb.SendStreamResponse]":
        return self.notifications.SendStream(metadata=self.auth, timeout=20)

    async def get(self, id_: str) -> pb.GetResponse:
        return await self.notifications.Get(pb.GetRequest(notification_id=id_), metadata=self.auth, timeout=10)

    async def stored(self) -> int:
        """Rows that this app has in the ledger, wherever they rest."""
        found = await self.gateway.pool.fetchval(
            """SELECT (SELECT count(*) FROM ledger.notification WHERE app_id = $1)
                    + (SELECT count(*) FROM ledger.schedule WHERE app_id = $1)
                    + (SELECT count(*) FROM ledger.event_key WHERE app_id = $1)
                    + (SELECT count(*) FROM ledger.plan_work WHERE app_id = $1)""",
            self.app_id,
        )
        return int(found)


async def answer(stream: "grpc.aio.StreamStreamCall[pb.SendStreamRequest, pb.SendStreamResponse]") -> pb.SendResult:
    """The next result of a stream."""
    response = await stream.read()
    assert isinstance(response, pb.SendStreamResponse), "the stream has ended"
    return response.result


_numbers = count(1)


def notification(**fields: object) -> pb.Notification:
    """A good one with an event id of its own; `fields` differ."""
    given: dict[str, object] = {
        "event_id": f"event-{next(_numbers)}",
        "recipient_ids": ["anna"],
        "category": "transactional",
        **({} if "template" in fields else {"content": Content(push=PushContent(title="Hello"))}),
        **fields,
    }
    return pb.Notification(**given)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A typed error as it arrived."""

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: dict[str, str]
    fields: list[str]
    retry_after: timedelta | None = None


async def refusal(call: Call) -> Refusal:
    """How a call is refused. Fails if it is answered, or refused without an ErrorInfo."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    packed = dict(refused.value.trailing_metadata() or ()).get("grpc-status-details-bin")
    assert isinstance(packed, bytes), f"no details: {refused.value.code()} {refused.value.details()}"
    return unpacked(status_pb2.Status.FromString(packed))


def unpacked(status: status_pb2.Status) -> Refusal:
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry_info = error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    for detail in status.details[1:]:
        assert detail.Unpack(bad_request) or detail.Unpack(retry_info)
    [code] = [code for code in grpc.StatusCode if code.value[0] == status.code]
    fields = [violation.field for violation in bad_request.field_violations]
    retry_after = retry_info.retry_delay.ToTimedelta() if retry_info.HasField("retry_delay") else None
    return Refusal(code, info.reason, status.message, dict(info.metadata), fields, retry_after)


# ---------------------------------------------------------------- its peers


class Describing(internal_template_grpc.TemplateServiceServicer):
    """The template service as the edge asks it. Unknown names have no published version."""

    def __init__(self) -> None:
        self.templates: dict[str, internal_template.Description] = {}
        self.away = False
        self.defect = False

    async def Describe(
        self,
        request: internal_template.DescribeRequest,
        context: grpc.aio.ServicerContext[internal_template.DescribeRequest, internal_template.DescribeResponse],
    ) -> internal_template.DescribeResponse:
        if self.defect:
            raise RuntimeError("a defect of the peer")
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        unknown = internal_template.Description()
        return internal_template.DescribeResponse(
            templates=[self.templates.get(name, unknown) for name in request.names]
        )


@dataclass(slots=True)
class Seen:
    """A call as it reached the peer."""

    metadata: dict[str, str]
    remaining_seconds: float


class Templates(template_grpc.TemplateServiceServicer):
    """The template service as its clients see it through the gateway."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.hanging = asyncio.Event()
        self.cancelled = asyncio.Event()

    def _note(self, context: grpc.aio.ServicerContext[RequestT, ResponseT]) -> None:
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        self.seen.append(Seen(metadata, context.time_remaining()))

    async def PutTemplate(
        self,
        request: template.PutTemplateRequest,
        context: grpc.aio.ServicerContext[template.PutTemplateRequest, template.PutTemplateResponse],
    ) -> template.PutTemplateResponse:
        self._note(context)
        return template.PutTemplateResponse(version=7, variables=[request.template.name, "größe"])

    async def GetTemplate(
        self,
        request: template.GetTemplateRequest,
        context: grpc.aio.ServicerContext[template.GetTemplateRequest, template.GetTemplateResponse],
    ) -> template.GetTemplateResponse:
        refused = DomainError(ErrorReason.TEMPLATE_NOT_FOUND, "no such template", metadata={"template": request.name})
        details = (("grpc-status-details-bin", refused.to_status().SerializeToString()),)
        await context.abort(grpc.StatusCode.NOT_FOUND, refused.message, details)
        raise AssertionError("abort raises")

    async def ListTemplates(
        self,
        request: template.ListTemplatesRequest,
        context: grpc.aio.ServicerContext[template.ListTemplatesRequest, template.ListTemplatesResponse],
    ) -> template.ListTemplatesResponse:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "bare")
        raise AssertionError("abort raises")

    async def PreviewTemplate(
        self,
        request: template.PreviewTemplateRequest,
        context: grpc.aio.ServicerContext[template.PreviewTemplateRequest, template.PreviewTemplateResponse],
    ) -> template.PreviewTemplateResponse:
        """Never answers."""
        self._note(context)
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        raise AssertionError("never reached")


class Limiting(rate_limit_grpc.RateLimitServiceServicer):
    """The rate limiter: buckets that are never filled again. `away`: it does not answer."""

    WAIT = timedelta(seconds=7)

    def __init__(self) -> None:
        self.taken: dict[tuple[int, str], int] = {}
        self.away = False

    async def Acquire(
        self,
        request: rate_limit.AcquireRequest,
        context: grpc.aio.ServicerContext[rate_limit.AcquireRequest, rate_limit.AcquireResponse],
    ) -> rate_limit.AcquireResponse:
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        response = rate_limit.AcquireResponse()
        for item in request.items:
            [limit] = item.limits
            key = item.app_id, limit.key
            grant = response.grants.add(allowed=self.taken.get(key, 0) < limit.limit)
            if grant.allowed:
                self.taken[key] = self.taken.get(key, 0) + 1
            else:
                grant.retry_after.FromTimedelta(self.WAIT)
        return response


@dataclass(slots=True)
class Peers:
    """The daemons behind a gateway."""

    target: str = NOBODY
    limiting: Limiting = field(default_factory=Limiting)
    describing: Describing = field(default_factory=Describing)
    templates: Templates = field(default_factory=Templates)

    def addresses(self) -> str:
        """For `CLARION_PEERS`: only the template service and the rate limiter are there."""
        away = dict.fromkeys(("preference", "scheduler", "tracker"), NOBODY)
        return json.dumps({**away, "template": self.target, "rate_limiter": self.target})


@asynccontextmanager
async def serving_peers(credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[Peers]:
    peers = Peers()
    server = grpc.aio.server()
    internal_template_grpc.add_TemplateServiceServicer_to_server(peers.describing, server)
    template_grpc.add_TemplateServiceServicer_to_server(peers.templates, server)
    rate_limit_grpc.add_RateLimitServiceServicer_to_server(peers.limiting, server)
    listen = "127.0.0.1:0"
    port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    peers.target = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield peers
    finally:
        await server.stop(0)


# ---------------------------------------------------------------- faults


class Line(Protocol):
    """A connection to a server that a test may cut."""

    port: int

    def cut(self) -> None: ...

    def mend(self) -> None: ...


class _Line:
    def __init__(self, port: int) -> None:
        self.port = 0
        self._server_port = port
        self._whole = True
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """End every connection, and each new one at once."""
        self._whole = False
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self._whole = True

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._open |= {writer, far_writer}
        try:
            await asyncio.gather(_pipe(reader, far_writer), _pipe(far_reader, writer))
        finally:
            self._open -= {writer, far_writer}


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    """A way to a local server that can be cut and mended."""
    line = _Line(port)
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.cut()
