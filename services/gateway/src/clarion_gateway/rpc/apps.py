"""AppService."""

from datetime import UTC, datetime

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.app.v1 import app_service_pb2 as pb
from clarion.app.v1.app_service_pb2_grpc import AppServiceServicer
from clarion_gateway.moments import moment
from clarion_gateway.rpc.fields import app_id_of
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.caller import SCOPES
from clarion_kit.sealing import KeyWrapper
from clarion_kit.validate import Faults
from clarion_ledger import admin
from clarion_ledger.db import Pool


class AppRpc(AppServiceServicer):
    """Apps and their keys."""

    def __init__(self, pool: Pool, wrapper: KeyWrapper, pepper: bytes) -> None:
        self._pool = pool
        self._wrapper = wrapper
        self._pepper = pepper

    async def CreateApp(
        self, request: pb.CreateAppRequest, context: grpc.aio.ServicerContext[pb.CreateAppRequest, pb.CreateAppResponse]
    ) -> pb.CreateAppResponse:
        faults = Faults()
        faults.name("name", request.name)
        faults.raise_if_any()
        return pb.CreateAppResponse(app=_app(await admin.create_app(self._pool, self._wrapper, request.name)))

    async def ListApps(
        self, request: pb.ListAppsRequest, context: grpc.aio.ServicerContext[pb.ListAppsRequest, pb.ListAppsResponse]
    ) -> pb.ListAppsResponse:
        return pb.ListAppsResponse(apps=[_app(row) for row in await admin.apps(self._pool)])

    async def CreateKey(
        self, request: pb.CreateKeyRequest, context: grpc.aio.ServicerContext[pb.CreateKeyRequest, pb.CreateKeyResponse]
    ) -> pb.CreateKeyResponse:
        faults = Faults()
        expires_at = moment(faults, "expires_at", request.expires_at) if request.HasField("expires_at") else None
        faults.name("app", request.app)
        faults.require("scopes", bool(request.scopes), "at least one is required")
        for scope in request.scopes:
            faults.require("scopes", scope in SCOPES, f"unknown scope {scope[:32]!r}")
        faults.require("expires_at", expires_at is None or expires_at > datetime.now(UTC), "must be ahead")
        faults.raise_if_any()
        app_id = await admin.app_id_of(self._pool, request.app)
        key, secret = await admin.create_key(self._pool, self._pepper, app_id, request.scopes, expires_at)
        return pb.CreateKeyResponse(key=_key(key), app_secret=secret)

    async def ListKeys(
        self, request: pb.ListKeysRequest, context: grpc.aio.ServicerContext[pb.ListKeysRequest, pb.ListKeysResponse]
    ) -> pb.ListKeysResponse:
        app_id = await app_id_of(self._pool, request.app)
        return pb.ListKeysResponse(keys=[_key(row) for row in await admin.keys(self._pool, app_id)])

    async def RevokeKey(
        self, request: pb.RevokeKeyRequest, context: grpc.aio.ServicerContext[pb.RevokeKeyRequest, pb.RevokeKeyResponse]
    ) -> pb.RevokeKeyResponse:
        faults = Faults()
        faults.text("app_key", request.app_key, max_bytes=64)
        faults.raise_if_any()
        key = await admin.revoke_key(self._pool, request.app_key)
        if key is None:
            raise DomainError(ErrorReason.APP_NOT_FOUND, "no such key", metadata={"key": request.app_key})
        return pb.RevokeKeyResponse(key=_key(key))


def _app(row: admin.AppRow) -> pb.App:
    return pb.App(name=row.name, enabled=row.enabled, created_at=_timestamp(row.created_at))


def _key(row: admin.KeyRow) -> pb.Key:
    return pb.Key(
        app_key=row.app_key,
        scopes=sorted(row.scopes),
        created_at=_timestamp(row.created_at),
        expires_at=_timestamp(row.expires_at),
        revoked_at=_timestamp(row.revoked_at),
    )


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
