"""AuthService."""

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.auth.v1 import auth_service_pb2 as pb
from clarion.auth.v1.auth_service_pb2_grpc import AuthServiceServicer
from clarion_gateway.tokens import TokenIssuer, unauthenticated
from clarion_ledger import admin
from clarion_ledger.db import Pool


class AuthRpc(AuthServiceServicer):
    """Trades keys for tokens."""

    def __init__(self, pool: Pool, pepper: bytes, issuer: TokenIssuer) -> None:
        self._pool = pool
        self._pepper = pepper
        self._issuer = issuer

    async def IssueToken(
        self,
        request: pb.IssueTokenRequest,
        context: grpc.aio.ServicerContext[pb.IssueTokenRequest, pb.IssueTokenResponse],
    ) -> pb.IssueTokenResponse:
        plausible = len(request.app_key) <= 64 and len(request.app_secret) <= 128 and "\0" not in request.app_key
        key = (
            await admin.authenticate(self._pool, self._pepper, request.app_key, request.app_secret)
            if plausible
            else None
        )
        if key is None:
            raise unauthenticated()
        token = self._issuer.issue(key.app_id, key.app_key, key.scopes)
        expires_at = Timestamp()
        expires_at.FromDatetime(token.expires_at)
        return pb.IssueTokenResponse(token=token.text, expires_at=expires_at, scopes=sorted(key.scopes))
