"""NotificationService and AuthService."""

from datetime import datetime

from clarion.auth.v1 import auth_service_pb2
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_client._rpc import ServiceContract
from clarion_client._wire import optional_timestamp, timestamp
from clarion_client.notification import NotificationLike, notification_proto

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

    @_contract.rpc("Explain", pb.ExplainRequest, pb.ExplainResponse)
    def explain(self, notification: NotificationLike | None = None, *, notification_id: str = "") -> pb.ExplainRequest:
        """Why, gate by gate: what would become of a notification (nothing is sent), or what became of one by its id.

        Raises NotFound (NOTIFICATION_NOT_FOUND, CATEGORY_NOT_FOUND), InvalidArgument, ValueError unless exactly one of the
        two is given.
        """
        if (notification is None) != bool(notification_id):
            raise ValueError("exactly one of notification and notification_id is required")
        if notification is None:
            return pb.ExplainRequest(notification_id=notification_id)
        return pb.ExplainRequest(notification=notification_proto(notification))

    @_contract.rpc("Cancel", pb.CancelRequest, pb.CancelResponse)
    def cancel(self, notification_id: str) -> pb.CancelRequest:
        """Cancels what has not been handed to a provider; repeating it is harmless.

        Raises NotFound (NOTIFICATION_NOT_FOUND), FailedPrecondition (NOT_CANCELLABLE).
        """
        return pb.CancelRequest(notification_id=notification_id)

    @_contract.rpc("Reschedule", pb.RescheduleRequest, pb.RescheduleResponse)
    def reschedule(
        self, notification_id: str, deliver_at: datetime, *, expire_at: datetime | None = None
    ) -> pb.RescheduleRequest:
        """Moves a notification that waits for its time; without `expire_at` its deadline moves as far.

        Raises NotFound (NOTIFICATION_NOT_FOUND), FailedPrecondition (NOT_SCHEDULED), InvalidArgument (INVALID_FIELD,
        EXPIRY_IN_PAST), ValueError for a naive datetime.
        """
        return pb.RescheduleRequest(
            notification_id=notification_id,
            deliver_at=timestamp("deliver_at", deliver_at),
            expire_at=optional_timestamp("expire_at", expire_at),
        )


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
