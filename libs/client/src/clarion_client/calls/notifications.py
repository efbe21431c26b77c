"""NotificationService and AuthService."""

from datetime import datetime

from clarion.auth.v1 import auth_service_pb2
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client._rpc import ServiceContract
from clarion_client._wire import optional_timestamp

_auth = ServiceContract(auth_service_pb2.DESCRIPTOR, "AuthService")
_contract = ServiceContract(pb.DESCRIPTOR, "NotificationService")

ISSUE_TOKEN = _auth.method("IssueToken", auth_service_pb2.IssueTokenRequest, auth_service_pb2.IssueTokenResponse)
SEND = _contract.method("Send", pb.SendRequest, pb.SendResponse)
SEND_BATCH = _contract.method("SendBatch", pb.SendBatchRequest, pb.SendBatchResponse)
SEND_STREAM = _contract.method("SendStream", pb.SendStreamRequest, pb.SendStreamResponse)
LIST = _contract.method("List", pb.ListRequest, pb.ListResponse)


class NotificationCalls:
    """What is asked about one notification."""

    @_contract.rpc("Get", pb.GetRequest, pb.GetResponse)
    def get(self, notification_id: str = "", *, event_id: str = "") -> pb.GetRequest:
        """State, deliveries and timeline, by Clarion's id or by your event id.

        Raises NotFound (NOTIFICATION_NOT_FOUND), ValueError unless exactly one id is given.
        """
        if bool(notification_id) == bool(event_id):
            raise ValueError("exactly one of notification_id and event_id is required")
        return pb.GetRequest(event_id=event_id) if event_id else pb.GetRequest(notification_id=notification_id)

    @_contract.rpc("Cancel", pb.CancelRequest, pb.CancelResponse)
    def cancel(self, notification_id: str) -> pb.CancelRequest:
        """Cancels what has not been handed to a provider; repeating it is harmless.

        Raises NotFound (NOTIFICATION_NOT_FOUND), FailedPrecondition (NOT_CANCELLABLE).
        """
        return pb.CancelRequest(notification_id=notification_id)


def list_request(
    recipient_id: str, category: str, since: datetime | None, until: datetime | None, page_size: int
) -> pb.ListRequest:
    return pb.ListRequest(
        recipient_id=recipient_id,
        category=category,
        since=optional_timestamp("since", since),
        until=optional_timestamp("until", until),
        page_size=page_size,
    )
