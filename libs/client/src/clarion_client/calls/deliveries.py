"""WatchDeliveries: what happens to an app's notifications, as it happens."""

from collections.abc import Iterable

from clarion.notification.v1 import notification_service_pb2, state_pb2
from clarion.tracking.v1 import tracking_service_pb2 as pb
from clarion_client._rpc import ServiceContract
from clarion_client.enums import Channel

WATCH = ServiceContract(pb.DESCRIPTOR, "TrackingService").method(
    "WatchDeliveries", pb.WatchDeliveriesRequest, pb.WatchDeliveriesResponse
)


def watch_request(
    cursor: str,
    channels: Iterable[Channel],
    kinds: Iterable["notification_service_pb2.EventKind.ValueType"],
    states: Iterable["state_pb2.DeliveryState.ValueType"],
    categories: Iterable[str],
    notification_ids: Iterable[str],
    recipient_id: str,
) -> pb.WatchDeliveriesRequest:
    request = pb.WatchDeliveriesRequest(
        cursor=cursor,
        kinds=kinds,
        states=states,
        categories=categories,
        notification_ids=notification_ids,
        recipient_id=recipient_id,
    )
    request.channels.extend(channels)  # type: ignore[arg-type]  # our numbers are the contract's (tested)
    return request
