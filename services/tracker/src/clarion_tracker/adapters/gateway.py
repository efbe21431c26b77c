"""The gateway's public door: it alone knows keys, so the console asks it who somebody is."""

import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta
from typing import TypeVar

import grpc

from clarion.app.v1 import app_service_pb2 as app_pb
from clarion.app.v1.app_service_pb2_grpc import AppServiceStub
from clarion.auth.v1 import auth_service_pb2 as auth_pb
from clarion.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from clarion_kit.clock import Clock
from clarion_kit.errors import DomainError, Unavailable
from clarion_kit.rpc.client import Peer
from clarion_tracker.console.session import Session

TIMEOUT = timedelta(seconds=2)
ADMIN = "admin"
BELIEVED_SECONDS = 5.0
"""How long an answer about a token counts: a revoked key is out after that."""
MOST_LENGTH = timedelta(minutes=15)
_REMEMBERED = 64
_REFUSALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)

ResponseT = TypeVar("ResponseT")


class GatewayAway(Unavailable):
    """The gateway does not say who somebody is, for now."""

    dependency = "gateway"


class Gateway:
    """`console.ports.Vouching`, as any client of the gateway would ask."""

    def __init__(self, peer: Peer, clock: Clock) -> None:
        self._peer = peer
        self._clock = clock
        self._auth = AuthServiceStub(peer.channel)
        self._apps = AppServiceStub(peer.channel)
        self._believed: OrderedDict[bytes, float] = OrderedDict()

    async def log_in(self, app_key: str, app_secret: str) -> Session | None:
        request = auth_pb.IssueTokenRequest(app_key=app_key, app_secret=app_secret)
        issued = await self._call("clarion.auth.v1.AuthService/IssueToken", self._auth.IssueToken, request)
        if issued is None or ADMIN not in issued.scopes:
            return None
        expire_at = min(issued.expires_at.ToDatetime(UTC), self._clock.now() + MOST_LENGTH)
        return Session(issued.token, expire_at)

    async def vouches(self, session: Session) -> bool:
        # Digests, so that no token rests in memory longer than its request.
        digest = hashlib.sha256(session.token.encode()).digest()
        now = self._clock.monotonic()
        if self._believed.get(digest, -BELIEVED_SECONDS) + BELIEVED_SECONDS > now:
            return True
        name = "clarion.app.v1.AppService/ListApps"
        known = await self._call(name, self._apps.ListApps, app_pb.ListAppsRequest(), token=session.token)
        if known is None:
            self._believed.pop(digest, None)
            return False
        self._believed[digest] = now
        self._believed.move_to_end(digest)
        while len(self._believed) > _REMEMBERED:
            self._believed.popitem(last=False)
        return True

    async def _call(
        self, name: str, method: Callable[..., Awaitable[ResponseT]], request: object, *, token: str = ""
    ) -> ResponseT | None:
        """The answer, None for a refusal. Raises GatewayAway."""
        bearer = (("authorization", f"Bearer {token}"),) if token else ()

        async def with_token(request: object, timeout: float, metadata: tuple[tuple[str, str], ...]) -> ResponseT:
            return await method(request, timeout=timeout, metadata=(*metadata, *bearer))

        try:
            return await self._peer.call(with_token, request, timeout=TIMEOUT, name=name)
        except DomainError as away:
            raise GatewayAway(away.message) from away
        except grpc.aio.AioRpcError as refused:
            if refused.code() in _REFUSALS:
                return None
            raise GatewayAway(refused.code().name) from refused
