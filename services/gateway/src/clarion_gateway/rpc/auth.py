"""AuthService."""

from typing import cast

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.auth.v1 import auth_service_pb2 as pb
from clarion.auth.v1.auth_service_pb2_grpc import AuthServiceServicer
from clarion_gateway.admission import Admission
from clarion_gateway.tokens import TokenIssuer, unauthenticated
from clarion_kit.rpc.interceptor import Context
from clarion_ledger import app_keys
from clarion_ledger.db import Pool


class AuthRpc(AuthServiceServicer):
    """Trades keys for tokens."""

    def __init__(self, pool: Pool, pepper: bytes, issuer: TokenIssuer, admission: Admission) -> None:
        self._pool = pool
        self._pepper = pepper
        self._issuer = issuer
        self._admission = admission

    async def IssueToken(
        self,
        request: pb.IssueTokenRequest,
        context: grpc.aio.ServicerContext[pb.IssueTokenRequest, pb.IssueTokenResponse],
    ) -> pb.IssueTokenResponse:
        plausible = len(request.app_key) <= 64 and len(request.app_secret) <= 128 and "\0" not in request.app_key
        proven = (
            await app_keys.authenticate(self._pool, self._pepper, request.app_key, request.app_secret)
            if plausible
            else None
        )
        # Whoever has a good secret in the wrong place does not learn that it is good.
        if proven is None or not self._admission.allows(proven.key.limits, cast(Context, context)):
            raise unauthenticated()
        key = proven.key
        token = self._issuer.issue(key.app_id, key.app_key, key.scopes, proven.version)
        expires_at = Timestamp()
        expires_at.FromDatetime(token.expires_at)
        return pb.IssueTokenResponse(token=token.text, expires_at=expires_at, scopes=sorted(key.scopes))
