"""ProviderService: an app's accounts with third parties; needs the scope `admin`."""

import json
from collections.abc import Mapping

from clarion.provider.v1 import provider_service_pb2 as pb
from clarion_client._rpc import ServiceContract
from clarion_client._wire import JsonValue

_contract = ServiceContract(pb.DESCRIPTOR, "ProviderService")


class ProviderCalls:
    """Provider accounts."""

    @_contract.rpc("PutProvider", pb.PutProviderRequest, pb.PutProviderResponse)
    def put(
        self,
        app: str,
        name: str,
        kind: str,
        settings: Mapping[str, JsonValue],
        *,
        enabled: bool = True,
        limits: pb.Limits | None = None,
    ) -> pb.PutProviderRequest:
        """Creates or replaces an account; `settings` as its kind documents, credentials included, never shown again;
        `limits` None: those of its kind.

        Raises InvalidArgument (INVALID_FIELD, PROVIDER_NOT_FOUND, PROVIDER_SETTINGS_INVALID), AlreadyExists (NAME_TAKEN).
        """
        return pb.PutProviderRequest(
            app=app,
            provider=pb.Provider(name=name, kind=kind, enabled=enabled, limits=limits),
            settings=json.dumps(settings, allow_nan=False).encode(),
        )

    @_contract.rpc("ListProviders", pb.ListProvidersRequest, pb.ListProvidersResponse)
    def list(self, app: str) -> pb.ListProvidersRequest:
        """The app's accounts by channel and name, without settings."""
        return pb.ListProvidersRequest(app=app)

    @_contract.rpc("StopProvider", pb.StopProviderRequest, pb.StopProviderResponse)
    def stop(self, app: str, name: str, detail: str = "") -> pb.StopProviderRequest:
        """Stops an account by hand: its deliveries are held until `resume`. Raises NotFound (PROVIDER_NOT_FOUND)."""
        return pb.StopProviderRequest(app=app, name=name, detail=detail)

    @_contract.rpc("ResumeProvider", pb.ResumeProviderRequest, pb.ResumeProviderResponse)
    def resume(self, app: str, name: str) -> pb.ResumeProviderRequest:
        """Lets a stopped account go on at once. Raises NotFound (PROVIDER_NOT_FOUND)."""
        return pb.ResumeProviderRequest(app=app, name=name)

    @_contract.rpc("DeleteProvider", pb.DeleteProviderRequest, pb.DeleteProviderResponse)
    def delete(self, app: str, name: str) -> pb.DeleteProviderRequest:
        """Removes an account for good; what is in flight on it is routed again. Raises NotFound (PROVIDER_NOT_FOUND)."""
        return pb.DeleteProviderRequest(app=app, name=name)
