"""AppService: apps and their keys; needs the scope `admin`."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from clarion.app.v1 import app_service_pb2 as pb
from clarion_client._rpc import ServiceContract
from clarion_client._wire import duration, optional_timestamp

_contract = ServiceContract(pb.DESCRIPTOR, "AppService")


class AppCalls:
    """Apps and keys. `create`, `create_key` and `rotate_key` are never repeated by themselves: the lost one may exist."""

    @_contract.rpc("CreateApp", pb.CreateAppRequest, pb.CreateAppResponse)
    def create(self, name: str) -> pb.CreateAppRequest:
        """Creates an app with the default categories. Raises InvalidArgument, AlreadyExists (NAME_TAKEN)."""
        return pb.CreateAppRequest(name=name)

    @_contract.rpc("ListApps", pb.ListAppsRequest, pb.ListAppsResponse)
    def list(self) -> pb.ListAppsRequest:
        """All apps by name."""
        return pb.ListAppsRequest()

    @_contract.rpc("UpdateApp", pb.UpdateAppRequest, pb.UpdateAppResponse)
    def update(
        self,
        app: str,
        *,
        enabled: bool | None = None,
        sms_countries: Sequence[str] | None = None,
        sender_domains: Sequence[str] | None = None,
    ) -> pb.UpdateAppRequest:
        """Turns an app off or on, or changes which countries it sends SMS to and from which domains it mails ([]: all);
        what is None stays. Raises NotFound (APP_NOT_FOUND), InvalidArgument (INVALID_FIELD)."""
        return pb.UpdateAppRequest(
            app=app,
            enabled=enabled,
            sms_countries=None if sms_countries is None else pb.Countries(codes=sms_countries),
            sender_domains=None if sender_domains is None else pb.Domains(names=sender_domains),
        )

    @_contract.rpc("CreateKey", pb.CreateKeyRequest, pb.CreateKeyResponse)
    def create_key(
        self,
        app: str,
        scopes: Sequence[str],
        *,
        expires_at: datetime | None = None,
        networks: Sequence[str] = (),
        quotas: pb.Quotas | None = None,
    ) -> pb.CreateKeyRequest:
        """Creates a key; its secret is in this answer and never shown again: do not log the answer. `networks`: in CIDR
        notation, from where it may be used; none: from everywhere.

        Raises NotFound (APP_NOT_FOUND), InvalidArgument (INVALID_FIELD), ValueError for a naive datetime.
        """
        return pb.CreateKeyRequest(
            app=app,
            scopes=scopes,
            expires_at=optional_timestamp("expires_at", expires_at),
            networks=pb.Networks(cidrs=networks),
            quotas=quotas,
        )

    @_contract.rpc("RotateKey", pb.RotateKeyRequest, pb.RotateKeyResponse)
    def rotate_key(self, app_key: str, *, grace: timedelta = timedelta(0)) -> pb.RotateKeyRequest:
        """Gives a key a new secret, in this answer and never shown again; the former one is good for `grace` (≤ 7 days) more.

        Raises NotFound (APP_NOT_FOUND), FailedPrecondition (KEY_ENDED), InvalidArgument (INVALID_FIELD).
        """
        return pb.RotateKeyRequest(app_key=app_key, grace=duration(grace))

    @_contract.rpc("UpdateKey", pb.UpdateKeyRequest, pb.UpdateKeyResponse)
    def update_key(
        self, app_key: str, *, networks: Sequence[str] | None = None, quotas: pb.Quotas | None = None
    ) -> pb.UpdateKeyRequest:
        """Changes from where ([]: from everywhere) and how much (an empty `Quotas`: no limit) a key may be used; what is None
        stays. Raises NotFound (APP_NOT_FOUND), FailedPrecondition (KEY_ENDED), InvalidArgument (INVALID_FIELD)."""
        return pb.UpdateKeyRequest(
            app_key=app_key, networks=None if networks is None else pb.Networks(cidrs=networks), quotas=quotas
        )

    @_contract.rpc("ListKeys", pb.ListKeysRequest, pb.ListKeysResponse)
    def list_keys(self, app: str) -> pb.ListKeysRequest:
        """An app's keys, newest first, without secrets. Raises NotFound (APP_NOT_FOUND)."""
        return pb.ListKeysRequest(app=app)

    @_contract.rpc("RevokeKey", pb.RevokeKeyRequest, pb.RevokeKeyResponse)
    def revoke_key(self, app_key: str) -> pb.RevokeKeyRequest:
        """Revokes a key; its tokens end everywhere within 5 s. Raises NotFound (APP_NOT_FOUND)."""
        return pb.RevokeKeyRequest(app_key=app_key)
