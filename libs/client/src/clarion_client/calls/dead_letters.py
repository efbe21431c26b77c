"""DeadLetterService: deliveries that ended without a provider's answer."""

from collections.abc import Sequence

from clarion.deadletter.v1 import dead_letter_service_pb2 as pb
from clarion.notification.v1 import state_pb2
from clarion.types.v1 import channel_pb2
from clarion_client._rpc import ServiceContract
from clarion_client.enums import Channel

_contract = ServiceContract(pb.DESCRIPTOR, "DeadLetterService")

LIST_DEAD_LETTERS = _contract.method("ListDeadLetters", pb.ListDeadLettersRequest, pb.ListDeadLettersResponse)


class DeadLetterCalls:
    """Redriving."""

    @_contract.rpc("Redrive", pb.RedriveRequest, pb.RedriveResponse)
    def redrive(self, delivery_ids: Sequence[str]) -> pb.RedriveRequest:
        """Sends at most 1,000 dead letters again as new deliveries. Raises Unimplemented (NOT_BUILT) until built."""
        return pb.RedriveRequest(delivery_ids=delivery_ids)


def list_request(
    channel: Channel | None, reason: state_pb2.Reason.ValueType, page_size: int
) -> pb.ListDeadLettersRequest:
    return pb.ListDeadLettersRequest(
        channel=channel_pb2.Channel.ValueType(channel or 0), reason=reason, page_size=page_size
    )
