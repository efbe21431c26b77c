"""AppService."""

import re
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.app.v1 import app_service_pb2 as pb
from clarion.app.v1.app_service_pb2_grpc import AppServiceServicer
from clarion_gateway import places
from clarion_gateway.rpc.fields import app_id_of
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.caller import SCOPES
from clarion_kit.sealing import KeyWrapper
from clarion_kit.validate import Faults, moment
from clarion_ledger import admin, app_keys
from clarion_ledger.app_keys import KeyLimits, Network
from clarion_ledger.db import Pool

MAX_NETWORKS = 64
MAX_DOMAINS = 64
MAX_COUNTRIES = 300
MAX_SCOPES = 32
MAX_REQUESTS_PER_SECOND = 100_000
MAX_NOTIFICATIONS_PER_DAY = 24_000_000
MAX_GRACE = timedelta(days=7)
_DOMAIN = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")


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

    async def UpdateApp(
        self, request: pb.UpdateAppRequest, context: grpc.aio.ServicerContext[pb.UpdateAppRequest, pb.UpdateAppResponse]
    ) -> pb.UpdateAppResponse:
        faults = Faults()
        faults.name("app", request.app)
        countries, domains = request.sms_countries.codes, request.sender_domains.names
        faults.require("sms_countries.codes", len(countries) <= MAX_COUNTRIES, f"at most {MAX_COUNTRIES}")
        for position, code in enumerate(countries[:MAX_COUNTRIES]):
            known = code in places.countries()
            faults.require(f"sms_countries.codes[{position}]", known, 'an ISO 3166-1 alpha-2 code, e.g. "KR"')
        faults.require("sender_domains.names", len(domains) <= MAX_DOMAINS, f"at most {MAX_DOMAINS}")
        for position, name in enumerate(domains[:MAX_DOMAINS]):
            right = _DOMAIN.fullmatch(name) is not None
            faults.require(f"sender_domains.names[{position}]", right, 'a domain in lower case, e.g. "example.org"')
        faults.raise_if_any()
        app = await admin.update_app(
            self._pool,
            request.app,
            enabled=request.enabled if request.HasField("enabled") else None,
            sms_countries=countries if request.HasField("sms_countries") else None,
            sender_domains=domains if request.HasField("sender_domains") else None,
        )
        return pb.UpdateAppResponse(app=_app(app))

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
        faults.require("scopes", 1 <= len(request.scopes) <= MAX_SCOPES, f"1 to {MAX_SCOPES} are required")
        for scope in request.scopes[:MAX_SCOPES]:
            faults.require("scopes", scope in SCOPES, f"unknown scope {scope[:32]!r}")
        faults.require("expires_at", expires_at is None or expires_at > datetime.now(UTC), "must be ahead")
        networks, quotas = _networks(faults, request.networks), _quotas(faults, request.quotas)
        faults.raise_if_any()
        app_id = await admin.app_id_of(self._pool, request.app)
        key, secret = await app_keys.create_key(
            self._pool, self._pepper, app_id, list(request.scopes), expires_at, KeyLimits(networks, *quotas)
        )
        return pb.CreateKeyResponse(key=_key(key), app_secret=secret)

    async def ListKeys(
        self, request: pb.ListKeysRequest, context: grpc.aio.ServicerContext[pb.ListKeysRequest, pb.ListKeysResponse]
    ) -> pb.ListKeysResponse:
        app_id = await app_id_of(self._pool, request.app)
        return pb.ListKeysResponse(keys=[_key(row) for row in await app_keys.keys(self._pool, app_id)])

    async def RotateKey(
        self, request: pb.RotateKeyRequest, context: grpc.aio.ServicerContext[pb.RotateKeyRequest, pb.RotateKeyResponse]
    ) -> pb.RotateKeyResponse:
        faults = Faults()
        faults.text("app_key", request.app_key, max_bytes=64)
        grace = _grace(faults, request.grace)
        faults.raise_if_any()
        key, secret = await app_keys.rotate_key(self._pool, self._pepper, request.app_key, grace)
        return pb.RotateKeyResponse(key=_key(key), app_secret=secret)

    async def UpdateKey(
        self, request: pb.UpdateKeyRequest, context: grpc.aio.ServicerContext[pb.UpdateKeyRequest, pb.UpdateKeyResponse]
    ) -> pb.UpdateKeyResponse:
        faults = Faults()
        faults.text("app_key", request.app_key, max_bytes=64)
        networks, quotas = _networks(faults, request.networks), _quotas(faults, request.quotas)
        faults.raise_if_any()
        key = await app_keys.limit_key(
            self._pool,
            request.app_key,
            networks=networks if request.HasField("networks") else None,
            quotas=quotas if request.HasField("quotas") else None,
        )
        return pb.UpdateKeyResponse(key=_key(key))

    async def RevokeKey(
        self, request: pb.RevokeKeyRequest, context: grpc.aio.ServicerContext[pb.RevokeKeyRequest, pb.RevokeKeyResponse]
    ) -> pb.RevokeKeyResponse:
        faults = Faults()
        faults.text("app_key", request.app_key, max_bytes=64)
        faults.raise_if_any()
        key = await app_keys.revoke_key(self._pool, request.app_key)
        if key is None:
            raise DomainError(ErrorReason.APP_NOT_FOUND, "no such key", metadata={"key": request.app_key})
        return pb.RevokeKeyResponse(key=_key(key))


def _networks(faults: Faults, given: pb.Networks) -> tuple[Network, ...]:
    faults.require("networks.cidrs", len(given.cidrs) <= MAX_NETWORKS, f"at most {MAX_NETWORKS}")
    found: dict[Network, None] = {}
    for position, text in enumerate(given.cidrs[:MAX_NETWORKS]):
        try:
            network = ip_network(text)
        except ValueError:
            faults.add(f"networks.cidrs[{position}]", 'a network without host bits, e.g. "192.0.2.0/24"')
        else:
            found[network] = None
    return tuple(found)


def _quotas(faults: Faults, given: pb.Quotas) -> tuple[int | None, int | None]:
    per_second = given.requests_per_second if given.HasField("requests_per_second") else None
    per_day = given.notifications_per_day if given.HasField("notifications_per_day") else None
    for field, value, most in (
        ("quotas.requests_per_second", per_second, MAX_REQUESTS_PER_SECOND),
        ("quotas.notifications_per_day", per_day, MAX_NOTIFICATIONS_PER_DAY),
    ):
        faults.require(field, value is None or 1 <= value <= most, f"1 to {most:,}, or left out")
    return per_second, per_day


def _grace(faults: Faults, given: Duration) -> timedelta:
    try:
        grace = given.ToTimedelta()
    except (ValueError, OverflowError):
        grace = timedelta(-1)
    faults.require("grace", timedelta(0) <= grace <= MAX_GRACE, "0 to 7 days")
    return grace


def _app(row: admin.AppRow) -> pb.App:
    return pb.App(
        name=row.name,
        enabled=row.enabled,
        created_at=_timestamp(row.created_at),
        sms_countries=sorted(row.sms_countries),
        sender_domains=sorted(row.sender_domains),
    )


def _key(row: app_keys.KeyRow) -> pb.Key:
    former_lives = row.former_until is not None and row.former_until > datetime.now(UTC)
    key = pb.Key(
        app_key=row.app_key,
        scopes=sorted(row.scopes),
        created_at=_timestamp(row.created_at),
        expires_at=_timestamp(row.expires_at),
        revoked_at=_timestamp(row.revoked_at),
        last_used_at=_timestamp(row.used_at),
        secret_version=row.secret_version,
        former_secret_until=_timestamp(row.former_until if former_lives else None),
        networks=[str(network) for network in row.limits.networks],
    )
    limits = row.limits
    if (limits.requests_per_second, limits.notifications_per_day) != (None, None):
        key.quotas.CopyFrom(
            pb.Quotas(
                requests_per_second=limits.requests_per_second, notifications_per_day=limits.notifications_per_day
            )
        )
    return key


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
