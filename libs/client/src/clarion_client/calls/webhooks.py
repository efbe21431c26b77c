"""WebhookService: where an app's state changes are posted; needs the scope `admin`."""

from collections.abc import Iterable
from datetime import timedelta

from clarion.notification.v1 import notification_service_pb2
from clarion.webhook.v1 import webhook_service_pb2 as pb
from clarion_client._rpc import ServiceContract
from clarion_client._wire import duration
from clarion_client.enums import Channel

_contract = ServiceContract(pb.DESCRIPTOR, "WebhookService")


class WebhookCalls:
    """Webhooks. What is posted is checked with `clarion_client.webhooks.verify`."""

    @_contract.rpc("PutWebhook", pb.PutWebhookRequest, pb.PutWebhookResponse)
    def put(
        self,
        app: str,
        name: str,
        url: str,
        *,
        enabled: bool = True,
        channels: Iterable[Channel] = (),
        kinds: Iterable["notification_service_pb2.EventKind.ValueType"] = (),
        categories: Iterable[str] = (),
    ) -> pb.PutWebhookRequest:
        """Creates or replaces a webhook; the answer to the first put alone holds its `signing_secret`.

        Raises InvalidArgument (INVALID_FIELD: an address that is not public, …), NotFound (APP_NOT_FOUND).
        """
        webhook = pb.Webhook(name=name, url=url, enabled=enabled, kinds=kinds, categories=categories)
        webhook.channels.extend(channels)  # type: ignore[arg-type]  # our numbers are the contract's (tested)
        return pb.PutWebhookRequest(app=app, webhook=webhook)

    @_contract.rpc("ListWebhooks", pb.ListWebhooksRequest, pb.ListWebhooksResponse)
    def list(self, app: str) -> pb.ListWebhooksRequest:
        """The app's webhooks and how they fare. Raises NotFound (APP_NOT_FOUND)."""
        return pb.ListWebhooksRequest(app=app)

    @_contract.rpc("DeleteWebhook", pb.DeleteWebhookRequest, pb.DeleteWebhookResponse)
    def delete(self, app: str, name: str) -> pb.DeleteWebhookRequest:
        """Removes a webhook; repeating it is harmless. Raises NotFound (APP_NOT_FOUND)."""
        return pb.DeleteWebhookRequest(app=app, name=name)

    @_contract.rpc("RotateWebhookSecret", pb.RotateWebhookSecretRequest, pb.RotateWebhookSecretResponse)
    def rotate_secret(
        self, app: str, name: str, *, former_valid_for: timedelta | None = None
    ) -> pb.RotateWebhookSecretRequest:
        """A new secret; the former one signs beside it for 24 hours, or as long as is said (at most 7 days).

        Raises NotFound (APP_NOT_FOUND, WEBHOOK_NOT_FOUND), InvalidArgument (INVALID_FIELD).
        """
        request = pb.RotateWebhookSecretRequest(app=app, name=name)
        if former_valid_for is not None:
            request.former_valid_for.CopyFrom(duration(former_valid_for))
        return request

    @_contract.rpc("TestWebhook", pb.TestWebhookRequest, pb.TestWebhookResponse)
    def test(self, app: str, name: str) -> pb.TestWebhookRequest:
        """Posts one signed sample and tells what became of it, after 8 seconds at most.

        Raises NotFound (APP_NOT_FOUND, WEBHOOK_NOT_FOUND), Unavailable.
        """
        return pb.TestWebhookRequest(app=app, name=name)

    @_contract.rpc("ListWebhookFailures", pb.ListWebhookFailuresRequest, pb.ListWebhookFailuresResponse)
    def failures(self, app: str, name: str) -> pb.ListWebhookFailuresRequest:
        """The latest failed tries, newest first. Raises NotFound (APP_NOT_FOUND, WEBHOOK_NOT_FOUND)."""
        return pb.ListWebhookFailuresRequest(app=app, name=name)
