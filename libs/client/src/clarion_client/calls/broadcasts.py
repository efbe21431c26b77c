"""BroadcastService: one content to very many recipients."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from clarion.broadcast.v1 import broadcast_service_pb2 as pb
from clarion.recipient.v1.recipient_service_pb2 import AttributeMatch
from clarion.types.v1.channel_pb2 import Channel as ProtoChannel
from clarion.types.v1.channel_pb2 import Priority as ProtoPriority
from clarion.types.v1.time_pb2 import SendWindow
from clarion_client._rpc import ServiceContract
from clarion_client._wire import JsonValue, local_time, optional_timestamp, struct
from clarion_client.content import ContentLike, content_proto
from clarion_client.enums import Channel, Priority
from clarion_client.notification import new_event_id

_contract = ServiceContract(pb.DESCRIPTOR, "BroadcastService")

LIST_BROADCASTS = _contract.method("ListBroadcasts", pb.ListBroadcastsRequest, pb.ListBroadcastsResponse)


class BroadcastCalls:
    """Broadcasts of the app."""

    @_contract.rpc("StartBroadcast", pb.StartBroadcastRequest, pb.StartBroadcastResponse)
    def start(self, request: pb.StartBroadcastRequest) -> pb.StartBroadcastRequest:
        """Starts a broadcast; `broadcast` makes one from friendly arguments. Repeating it with the same event id gives the
        first answer for 90 days.

        Raises InvalidArgument (INVALID_FIELD, EXPIRY_IN_PAST, CATEGORY_NOT_FOUND, MISSING_VARIABLE), NotFound
        (TEMPLATE_NOT_FOUND), AlreadyExists (EVENT_ID_REUSED).
        """
        return request

    @_contract.rpc("GetBroadcast", pb.GetBroadcastRequest, pb.GetBroadcastResponse)
    def get(self, broadcast_id: str) -> pb.GetBroadcastRequest:
        """How far it came and what became of its deliveries. Raises NotFound (BROADCAST_NOT_FOUND)."""
        return pb.GetBroadcastRequest(broadcast_id=broadcast_id)

    @_contract.rpc("PauseBroadcast", pb.PauseBroadcastRequest, pb.PauseBroadcastResponse)
    def pause(self, broadcast_id: str) -> pb.PauseBroadcastRequest:
        """Plans nothing more until it is resumed; what was planned goes on. Repeating it is harmless.

        Raises NotFound (BROADCAST_NOT_FOUND), FailedPrecondition (BROADCAST_ENDED).
        """
        return pb.PauseBroadcastRequest(broadcast_id=broadcast_id)

    @_contract.rpc("ResumeBroadcast", pb.ResumeBroadcastRequest, pb.ResumeBroadcastResponse)
    def resume(self, broadcast_id: str) -> pb.ResumeBroadcastRequest:
        """Goes on after a pause. Repeating it is harmless.

        Raises NotFound (BROADCAST_NOT_FOUND), FailedPrecondition (BROADCAST_ENDED).
        """
        return pb.ResumeBroadcastRequest(broadcast_id=broadcast_id)

    @_contract.rpc("CancelBroadcast", pb.CancelBroadcastRequest, pb.CancelBroadcastResponse)
    def cancel(self, broadcast_id: str) -> pb.CancelBroadcastRequest:
        """Plans nothing more and ends what no provider has yet. Repeating it is harmless.

        Raises NotFound (BROADCAST_NOT_FOUND).
        """
        return pb.CancelBroadcastRequest(broadcast_id=broadcast_id)


def broadcast(
    *,
    category: str,
    event_id: str = "",
    topic: str = "",
    where: Mapping[str, Sequence[str]] | None = None,
    everybody: bool = False,
    template: str = "",
    template_version: int = 0,
    data: Mapping[str, JsonValue] | None = None,
    locale: str = "",
    content: ContentLike | None = None,
    channels: Sequence[Channel] = (),
    priority: Priority = Priority.BULK,
    deliver_at: datetime | None = None,
    deliver_at_local: datetime | None = None,
    expire_at: datetime | None = None,
    send_window: SendWindow | None = None,
    pace_per_second: int = 0,
    collapse_key: str = "",
) -> pb.StartBroadcastRequest:
    """What to broadcast: to the subscribers of `topic`, to those whose attributes match all of `where`, or to `everybody`.

    Without `event_id` a random one is made with this request, so that this request may be started again.
    `deliver_at_local` is naive: that wall time in each recipient's own zone. Raises ValueError where the audience or the
    body is not exactly one, and for data that JSON cannot hold.
    """
    if bool(topic) + bool(where) + everybody != 1:
        raise ValueError("exactly one of topic, where and everybody is required")
    if bool(template) == (content is not None):
        raise ValueError("exactly one of template and content is required")
    request = pb.StartBroadcastRequest(
        event_id=event_id or new_event_id(),
        topic=topic,
        filter=[AttributeMatch(key=key, values=values) for key, values in (where or {}).items()],
        everybody=everybody,
        category=category,
        template=template,
        template_version=template_version,
        data=struct(data) if data else None,
        locale=locale,
        content=None if content is None else content_proto(content),
        priority=ProtoPriority.ValueType(priority),
        deliver_at=optional_timestamp("deliver_at", deliver_at),
        deliver_at_local=local_time("deliver_at_local", deliver_at_local),
        expire_at=optional_timestamp("expire_at", expire_at),
        send_window=send_window,
        pace_per_second=pace_per_second,
        collapse_key=collapse_key,
    )
    request.channel_policy.channels.extend(ProtoChannel.ValueType(channel) for channel in channels)
    return request
