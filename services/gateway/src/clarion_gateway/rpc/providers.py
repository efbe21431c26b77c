"""ProviderService and RoutingService."""

import grpc

from clarion.provider.v1 import provider_service_pb2 as pb
from clarion.provider.v1.provider_service_pb2_grpc import ProviderServiceServicer
from clarion.routing.v1 import routing_service_pb2 as routing
from clarion.routing.v1.routing_service_pb2_grpc import RoutingServiceServicer
from clarion_gateway import places
from clarion_gateway.limits import check_limits
from clarion_gateway.plugins import ProviderKinds, proof_of_callbacks, sender_of
from clarion_gateway.rpc.fields import app_id_of
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel, StopReason
from clarion_ledger import admin, stops
from clarion_ledger.admin import AppRow
from clarion_ledger.config import LaneConfig
from clarion_ledger.db import Pool
from clarion_ledger.keys import KeyRing

MAX_SETTINGS_BYTES = 32 << 10
MAX_ROUTES = 300
MAX_TARGETS = 8


class ProviderRpc(ProviderServiceServicer):
    """Provider accounts of apps."""

    def __init__(self, pool: Pool, keys: KeyRing, kinds: ProviderKinds) -> None:
        self._pool = pool
        self._keys = keys
        self._kinds = kinds

    async def PutProvider(
        self,
        request: pb.PutProviderRequest,
        context: grpc.aio.ServicerContext[pb.PutProviderRequest, pb.PutProviderResponse],
    ) -> pb.PutProviderResponse:
        provider = request.provider
        faults = Faults()
        faults.name("app", request.app)
        faults.name("provider.name", provider.name)
        faults.text("provider.kind", provider.kind, max_bytes=64)
        with faults.within("provider.limits."):
            check_limits(provider.limits, faults)
        faults.require("settings", 1 <= len(request.settings) <= MAX_SETTINGS_BYTES, "1 byte to 32 KiB of JSON")
        faults.raise_if_any()
        app = await admin.app_named(self._pool, request.app)
        app_id = app.app_id
        channel = await self._kinds.check(provider.kind, request.settings)
        if channel is Channel.EMAIL:
            _check_sender(app, provider.kind, request.settings)
        number = await admin.put_lane(
            self._pool,
            await self._keys.sealer(app_id),
            app_id,
            provider.name,
            provider.kind,
            channel,
            request.settings,
            enabled=provider.enabled,
            limits=provider.limits,
        )
        stored = pb.Provider(
            name=provider.name, kind=provider.kind, enabled=provider.enabled, limits=provider.limits, number=number
        )
        stored.channel = channel  # type: ignore[assignment]  # our numbers are the contract's (tested)
        return pb.PutProviderResponse(provider=stored)

    async def ListProviders(
        self,
        request: pb.ListProvidersRequest,
        context: grpc.aio.ServicerContext[pb.ListProvidersRequest, pb.ListProvidersResponse],
    ) -> pb.ListProvidersResponse:
        app_id = await app_id_of(self._pool, request.app)
        response = pb.ListProvidersResponse()
        stopped = await stops.stopped(self._pool)
        for lane in await admin.lanes(self._pool, app_id):
            found = response.providers.add(
                name=lane.name, kind=lane.kind, enabled=lane.enabled, limits=lane.limits, number=lane.lane_id
            )
            found.channel = lane.channel  # type: ignore[assignment]
            stop = stopped.get(lane.lane_id)
            if stop is not None:
                found.stop.reason = stop.reason  # type: ignore[assignment]
                found.stop.since.FromDatetime(stop.since)
                found.stop.detail = stop.detail
        return response

    async def StopProvider(
        self,
        request: pb.StopProviderRequest,
        context: grpc.aio.ServicerContext[pb.StopProviderRequest, pb.StopProviderResponse],
    ) -> pb.StopProviderResponse:
        faults = Faults()
        faults.name("name", request.name)
        faults.text("detail", request.detail, max_bytes=stops.MAX_DETAIL, required=False)
        faults.raise_if_any()
        lane = await self._lane(request.app, request.name)
        await stops.stop(self._pool, lane.lane_id, lane.app_id, StopReason.OPERATOR, request.detail, None)
        return pb.StopProviderResponse()

    async def ResumeProvider(
        self,
        request: pb.ResumeProviderRequest,
        context: grpc.aio.ServicerContext[pb.ResumeProviderRequest, pb.ResumeProviderResponse],
    ) -> pb.ResumeProviderResponse:
        faults = Faults()
        faults.name("name", request.name)
        faults.raise_if_any()
        lane = await self._lane(request.app, request.name)
        await stops.resume(self._pool, lane.lane_id, by_operator=True)
        return pb.ResumeProviderResponse()

    async def _lane(self, app: str, name: str) -> LaneConfig:
        """An account of an app. Raises INVALID_FIELD, APP_NOT_FOUND, PROVIDER_NOT_FOUND, LedgerUnavailable."""
        app_id = await app_id_of(self._pool, app)
        for lane in await admin.lanes(self._pool, app_id):
            if lane.name == name:
                return lane
        raise _unknown(name)

    async def DeleteProvider(
        self,
        request: pb.DeleteProviderRequest,
        context: grpc.aio.ServicerContext[pb.DeleteProviderRequest, pb.DeleteProviderResponse],
    ) -> pb.DeleteProviderResponse:
        faults = Faults()
        faults.name("app", request.app)
        faults.name("name", request.name)
        faults.raise_if_any()
        app_id = await admin.app_id_of(self._pool, request.app)
        sealer = await self._keys.sealer(app_id)
        if not await admin.delete_lane(self._pool, sealer, app_id, request.name, proof_of_callbacks):
            raise _unknown(request.name)
        return pb.DeleteProviderResponse()


def _check_sender(app: AppRow, kind: str, settings: bytes) -> None:
    """Mails leave with the From of their account, so its domain is judged where the account is put."""
    sender = sender_of(settings)
    if app.sender_domains and (sender is None or not app.may_send_from(sender)):
        faults = f"from_address: the app sends from {', '.join(sorted(app.sender_domains))} only"
        raise DomainError(
            ErrorReason.PROVIDER_SETTINGS_INVALID,
            f"the settings of {kind} are faulty: {faults}"[:1_000],
            metadata={"provider": kind, "faults": faults[:1_000]},
        )


def _unknown(name: str) -> DomainError:
    return DomainError(ErrorReason.PROVIDER_NOT_FOUND, f"there is no provider {name!r}", metadata={"provider": name})


class RoutingRpc(RoutingServiceServicer):
    """Routes of apps."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def PutRoutes(
        self,
        request: routing.PutRoutesRequest,
        context: grpc.aio.ServicerContext[routing.PutRoutesRequest, routing.PutRoutesResponse],
    ) -> routing.PutRoutesResponse:
        faults = Faults()
        faults.name("app", request.app)
        faults.require("channel", request.channel in {channel.value for channel in Channel}, "unknown channel")
        faults.require("routes", len(request.routes) <= MAX_ROUTES, f"at most {MAX_ROUTES}")
        seen: set[tuple[str, str]] = set()
        for position, route in enumerate(request.routes[:MAX_ROUTES]):
            with faults.within(f"routes[{position}]."):
                faults.require(
                    "country",
                    route.country in places.countries() | {""},
                    "an ISO 3166-1 alpha-2 code in capital letters, or empty",
                )
                faults.text("locale", route.locale, max_bytes=35, required=False)
                whom = route.country, route.locale.lower()
                faults.require("country", whom not in seen, "there is a route of this country and locale already")
                seen.add(whom)
                faults.require(
                    "by_receipts", not route.by_receipts or int(request.channel) == Channel.SMS, "only for SMS"
                )
                faults.require("targets", 1 <= len(route.targets) <= MAX_TARGETS, f"1 to {MAX_TARGETS} are required")
                named = [target.provider for target in route.targets]
                faults.require("targets", len(set(named)) == len(named), "a provider is named twice")
                for place, target in enumerate(route.targets[:MAX_TARGETS]):
                    faults.name(f"targets[{place}].provider", target.provider)
                    faults.require(f"targets[{place}].weight", target.weight <= 100, "0 to 100")
                    faults.require(f"targets[{place}].rank", target.rank < MAX_TARGETS, f"0 to {MAX_TARGETS - 1}")
        faults.raise_if_any()
        app_id = await admin.app_id_of(self._pool, request.app)
        stored = routing.ChannelRoutes(channel=request.channel, routes=request.routes)
        await admin.put_routes(self._pool, app_id, stored)
        return routing.PutRoutesResponse()

    async def ListRoutes(
        self,
        request: routing.ListRoutesRequest,
        context: grpc.aio.ServicerContext[routing.ListRoutesRequest, routing.ListRoutesResponse],
    ) -> routing.ListRoutesResponse:
        app_id = await app_id_of(self._pool, request.app)
        found = await admin.routes(self._pool, app_id)
        return routing.ListRoutesResponse(routes=[routes for routes in found if request.channel in (0, routes.channel)])
