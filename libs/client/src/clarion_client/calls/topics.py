"""TopicService: named groups that recipients subscribe to."""

from collections.abc import Sequence

from clarion.topic.v1 import topic_service_pb2 as pb
from clarion_client._rpc import ServiceContract

_contract = ServiceContract(pb.DESCRIPTOR, "TopicService")


class TopicCalls:
    """A topic needs no declaration: it has whoever subscribed, or no one. Names: 1-64 of a-z 0-9 _ -."""

    @_contract.rpc("Subscribe", pb.SubscribeRequest, pb.SubscribeResponse)
    def subscribe(self, topic: str, recipient_ids: Sequence[str]) -> pb.SubscribeRequest:
        """Subscribes up to 1,000 recipients; the answer tells which ids nobody has. Raises InvalidArgument
        (INVALID_FIELD)."""
        return pb.SubscribeRequest(topic=topic, recipient_ids=recipient_ids)

    @_contract.rpc("Unsubscribe", pb.UnsubscribeRequest, pb.UnsubscribeResponse)
    def unsubscribe(self, topic: str, recipient_ids: Sequence[str]) -> pb.UnsubscribeRequest:
        """Unsubscribes up to 1,000 recipients. Raises InvalidArgument (INVALID_FIELD)."""
        return pb.UnsubscribeRequest(topic=topic, recipient_ids=recipient_ids)

    @_contract.rpc("CountSubscribers", pb.CountSubscribersRequest, pb.CountSubscribersResponse)
    def count(self, topic: str) -> pb.CountSubscribersRequest:
        """Subscribers of a topic, 0 if nobody subscribes."""
        return pb.CountSubscribersRequest(topic=topic)

    @_contract.rpc("ListTopics", pb.ListTopicsRequest, pb.ListTopicsResponse)
    def of(self, recipient_id: str, *, page_size: int = 50, page_token: str = "") -> pb.ListTopicsRequest:
        """A recipient's topics by name, a page. Raises NotFound (RECIPIENT_NOT_FOUND)."""
        return pb.ListTopicsRequest(recipient_id=recipient_id, page_size=page_size, page_token=page_token)
