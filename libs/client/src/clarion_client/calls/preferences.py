"""PreferenceService: what recipients want."""

from clarion.preference.v1 import preference_service_pb2 as pb
from clarion.recipient.v1 import recipient_service_pb2
from clarion.types.v1 import channel_pb2
from clarion_client._rpc import ServiceContract
from clarion_client.enums import Channel

_contract = ServiceContract(pb.DESCRIPTOR, "PreferenceService")


class PreferenceCalls:
    """A change acknowledged here holds for every provider call that starts a second later."""

    @_contract.rpc("GetWishes", pb.GetWishesRequest, pb.GetWishesResponse)
    def get(self, recipient_id: str) -> pb.GetWishesRequest:
        """A recipient's wishes and their revision. Raises NotFound (RECIPIENT_NOT_FOUND)."""
        return pb.GetWishesRequest(recipient_id=recipient_id)

    @_contract.rpc("SetWishes", pb.SetWishesRequest, pb.SetWishesResponse)
    def set(
        self, recipient_id: str, wishes: recipient_service_pb2.Wishes, *, if_revision: int = 0
    ) -> pb.SetWishesRequest:
        """Replaces the wishes; with `if_revision` only if nobody changed them since.

        Raises NotFound (RECIPIENT_NOT_FOUND), InvalidArgument (INVALID_FIELD), Aborted (REVISION_CONFLICT). After a
        lost answer a repeated conditional change may conflict with itself: read again.
        """
        return pb.SetWishesRequest(recipient_id=recipient_id, wishes=wishes, if_revision=if_revision)

    @_contract.rpc("Switch", pb.SwitchRequest, pb.SwitchResponse)
    def switch(
        self, recipient_id: str, *, enabled: bool, channel: Channel | None = None, category: str = ""
    ) -> pb.SwitchRequest:
        """Switches one channel (None: all) or category ("": all) on or off.

        Raises NotFound (RECIPIENT_NOT_FOUND), InvalidArgument (INVALID_FIELD).
        """
        return pb.SwitchRequest(
            recipient_id=recipient_id,
            channel=channel_pb2.Channel.ValueType(channel or 0),
            category=category,
            enabled=enabled,
        )
