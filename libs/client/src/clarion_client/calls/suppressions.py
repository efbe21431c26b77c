"""SuppressionService: addresses that must not be used, whoever they belong to; needs the scope `recipient:write`."""

from clarion.suppression.v1 import suppression_pb2
from clarion.suppression.v1 import suppression_service_pb2 as pb
from clarion.types.v1 import address_pb2, channel_pb2
from clarion_client._rpc import ServiceContract
from clarion_client.enums import Channel

_contract = ServiceContract(pb.DESCRIPTOR, "SuppressionService")

LIST_SUPPRESSED = _contract.method("ListSuppressed", pb.ListSuppressedRequest, pb.ListSuppressedResponse)


class SuppressionCalls:
    """The app's own entries; what the mesh puts on the list itself is listed with them."""

    @_contract.rpc("Suppress", pb.SuppressRequest, pb.SuppressResponse)
    def add(self, address: address_pb2.Address, *, note: str = "") -> pb.SuppressRequest:
        """Puts an address on the list; repeating it is harmless. `note`: why, for people, at most 256 bytes; "" keeps the
        one there is. Raises InvalidArgument (INVALID_FIELD, INVALID_ADDRESS)."""
        return pb.SuppressRequest(address=address, note=note)

    @_contract.rpc("Unsuppress", pb.UnsuppressRequest, pb.UnsuppressResponse)
    def remove(self, address: address_pb2.Address) -> pb.UnsuppressRequest:
        """Takes an address off the list, whatever put it there; repeating it is harmless. Raises InvalidArgument
        (INVALID_ADDRESS)."""
        return pb.UnsuppressRequest(address=address)


def list_request(
    channel: Channel | None, reason: suppression_pb2.SuppressionReason.ValueType, page_size: int
) -> pb.ListSuppressedRequest:
    return pb.ListSuppressedRequest(
        channel=channel_pb2.Channel.ValueType(channel or 0), reason=reason, page_size=page_size
    )
