"""Who the gateway vouches for, over real RPCs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from clarion.app.v1 import app_service_pb2 as app_pb
from clarion.app.v1.app_service_pb2_grpc import AppServiceServicer, add_AppServiceServicer_to_server
from clarion.auth.v1 import auth_service_pb2 as auth_pb
from clarion.auth.v1.auth_service_pb2_grpc import AuthServiceServicer, add_AuthServiceServicer_to_server
from clarion_kit.rpc.client import connect
from clarion_kit.settings import Common, load
from clarion_kit.telemetry.provider import Telemetry
from clarion_tracker.adapters.gateway import BELIEVED_SECONDS, MOST_LENGTH, Gateway, GatewayAway
from clarion_tracker.console.session import Session

from .tracker_samples import FixedClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Clock(FixedClock):
    """Moved by a test."""

    seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


class Public(AuthServiceServicer, AppServiceServicer):
    """As much of a gateway as is asked."""

    def __init__(self) -> None:
        self.scopes = ["admin"]
        self.tokens = {"good"}
        self.asked: list[str] = []
        self.code: grpc.StatusCode | None = None

    async def IssueToken(
        self, request: auth_pb.IssueTokenRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> auth_pb.IssueTokenResponse:
        if self.code is not None:
            await context.abort(self.code, "refused")
        if (request.app_key, request.app_secret) != ("key", "secret"):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "not authenticated")
        response = auth_pb.IssueTokenResponse(token="good", scopes=self.scopes)
        response.expires_at.FromDatetime(NOW + timedelta(hours=8))
        return response

    async def ListApps(
        self, request: app_pb.ListAppsRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> app_pb.ListAppsResponse:
        sent = dict(context.invocation_metadata() or ())
        token = str(sent.get("authorization", "")).removeprefix("Bearer ")
        self.asked.append(token)
        if token not in self.tokens:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "scope")
        return app_pb.ListAppsResponse()


@dataclass
class World:
    public: Public
    gateway: Gateway
    clock: Clock
    server: grpc.aio.Server


@pytest.fixture
async def world(telemetry: Telemetry) -> AsyncIterator[World]:
    server, public, clock = grpc.aio.server(options=(("grpc.so_reuseport", 0),)), Public(), Clock(NOW)  # type: ignore[abstract]  # what is not asked is not here
    add_AuthServiceServicer_to_server(public, server)
    add_AppServiceServicer_to_server(public, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    settings = load(Common, {"CLARION_INSECURE": "1", "CLARION_PEERS": f'{{"gateway": "127.0.0.1:{port}"}}'})
    async with connect("gateway", settings, telemetry) as peer:
        yield World(public, Gateway(peer, clock), clock, server)
    await server.stop(None)


def session(token: str = "good") -> Session:
    return Session(token, NOW + timedelta(minutes=15))


async def test_admin_key_gets_a_session_of_fifteen_minutes_at_most(world: World) -> None:
    found = await world.gateway.log_in("key", "secret")

    assert found == Session("good", NOW + MOST_LENGTH)


async def test_key_without_the_scope_gets_none_and_looks_like_a_wrong_one(world: World) -> None:
    world.public.scopes = ["send:*", "status:read"]

    assert await world.gateway.log_in("key", "secret") is None
    assert await world.gateway.log_in("key", "wrong") is None


async def test_token_is_asked_about_once_in_five_seconds(world: World) -> None:
    assert await world.gateway.vouches(session())
    assert await world.gateway.vouches(session())
    world.public.tokens.clear()
    world.clock.seconds += BELIEVED_SECONDS - 0.1
    assert await world.gateway.vouches(session())
    world.clock.seconds += 0.2
    assert not await world.gateway.vouches(session())
    assert not await world.gateway.vouches(session())

    assert world.public.asked == ["good"] * 3


async def test_refused_token_is_never_believed(world: World) -> None:
    assert not await world.gateway.vouches(session("other"))


async def test_what_is_remembered_of_tokens_is_bounded(world: World) -> None:
    tokens = [f"t{number}" for number in range(200)]
    world.public.tokens |= set(tokens)

    answers = await asyncio.gather(*(world.gateway.vouches(session(token)) for token in tokens))

    assert all(answers)
    assert len(world.gateway._believed) == 64


@pytest.mark.parametrize("code", [grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED])
async def test_gateway_that_cannot_say_is_away_and_no_refusal(world: World, code: grpc.StatusCode) -> None:
    world.public.code = code

    with pytest.raises(GatewayAway):
        await world.gateway.log_in("key", "secret")


async def test_gateway_that_is_not_there_is_away(world: World) -> None:
    await world.server.stop(None)

    with pytest.raises(GatewayAway):
        await world.gateway.vouches(session())
