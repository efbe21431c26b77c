"""PreferenceService: what recipients want."""

from datetime import datetime

from clarion.preference.v1 import preference_service_pb2 as pb
from clarion.recipient.v1 import recipient_service_pb2
from clarion.types.v1 import channel_pb2
from clarion_client._rpc import ServiceContract
from clarion_client._wire import optional_timestamp
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

    @_contract.rpc("CreatePageLink", pb.CreatePageLinkRequest, pb.CreatePageLinkResponse)
    def page_link(self, recipient_id: str, *, expire_at: datetime | None = None) -> pb.CreatePageLinkRequest:
        """A link to a page where the recipient sees and changes their own wishes; it works for 30 days unless `expire_at`
        says otherwise, at most 90. Whoever has it may change them.

        Raises NotFound (RECIPIENT_NOT_FOUND), InvalidArgument (INVALID_FIELD, EXPIRY_IN_PAST), Unimplemented (NOT_BUILT: the
        mesh has no key for links).
        """
        return pb.CreatePageLinkRequest(recipient_id=recipient_id, expire_at=optional_timestamp("expire_at", expire_at))

    @_contract.rpc("ListWishChanges", pb.ListWishChangesRequest, pb.ListWishChangesResponse)
    def changes(self, recipient_id: str, *, page_size: int = 50, page_token: str = "") -> pb.ListWishChangesRequest:
        """Who changed the wishes, when and how; a page, latest first. Raises NotFound (RECIPIENT_NOT_FOUND)."""
        return pb.ListWishChangesRequest(recipient_id=recipient_id, page_size=page_size, page_token=page_token)
