"""AppService: apps and their keys; needs the scope `admin`."""

from collections.abc import Sequence
from datetime import datetime

from clarion.app.v1 import app_service_pb2 as pb
from clarion_client._rpc import ServiceContract
from clarion_client._wire import optional_timestamp

_contract = ServiceContract(pb.DESCRIPTOR, "AppService")


class AppCalls:
    """Apps and keys. `create` and `create_key` are never repeated by themselves: the lost one may exist."""

    @_contract.rpc("CreateApp", pb.CreateAppRequest, pb.CreateAppResponse)
    def create(self, name: str) -> pb.CreateAppRequest:
        """Creates an app with the default categories. Raises InvalidArgument, AlreadyExists (NAME_TAKEN)."""
        return pb.CreateAppRequest(name=name)

    @_contract.rpc("ListApps", pb.ListAppsRequest, pb.ListAppsResponse)
    def list(self) -> pb.ListAppsRequest:
        """All apps by name."""
        return pb.ListAppsRequest()

    @_contract.rpc("CreateKey", pb.CreateKeyRequest, pb.CreateKeyResponse)
    def create_key(self, app: str, scopes: Sequence[str], *, expires_at: datetime | None = None) -> pb.CreateKeyRequest:
        """Creates a key; its secret is in this answer and never shown again: do not log the answer.

        Raises NotFound (APP_NOT_FOUND), InvalidArgument (INVALID_FIELD), ValueError for a naive datetime.
        """
        return pb.CreateKeyRequest(app=app, scopes=scopes, expires_at=optional_timestamp("expires_at", expires_at))

    @_contract.rpc("ListKeys", pb.ListKeysRequest, pb.ListKeysResponse)
    def list_keys(self, app: str) -> pb.ListKeysRequest:
        """An app's keys, newest first, without secrets. Raises NotFound (APP_NOT_FOUND)."""
        return pb.ListKeysRequest(app=app)

    @_contract.rpc("RevokeKey", pb.RevokeKeyRequest, pb.RevokeKeyResponse)
    def revoke_key(self, app_key: str) -> pb.RevokeKeyRequest:
        """Revokes a key; its tokens end everywhere within 5 s. Raises NotFound (APP_NOT_FOUND)."""
        return pb.RevokeKeyRequest(app_key=app_key)
