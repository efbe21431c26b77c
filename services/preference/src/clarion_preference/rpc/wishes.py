"""PreferenceService: what recipients want and do not want."""

from uuid import UUID

import grpc

from clarion.preference.v1 import preference_service_pb2 as pb
from clarion.preference.v1 import preference_service_pb2_grpc as pb_grpc
from clarion_kit.clock import Clock
from clarion_kit.errors import FieldFault, invalid_fields
from clarion_kit.rpc.caller import current_caller
from clarion_kit.rpc.unbuilt import not_built
from clarion_kit.sealing import recipient_reference
from clarion_kit.validate import Faults
from clarion_preference.domain import Wishes, switched
from clarion_preference.page_links import PageLinks
from clarion_preference.ports import WishBook
from clarion_preference.recipients import Actor
from clarion_preference.rpc.paging import read_size, read_token, to_token
from clarion_preference.rpc.reading_page import read_expiry
from clarion_preference.rpc.reading_recipient import read_recipient_id
from clarion_preference.rpc.reading_wishes import MAX_CHOICES, read_channel, read_wishes
from clarion_preference.rpc.showing import show_change
from clarion_preference.wire import wishes_to_proto

Context = grpc.aio.ServicerContext[object, object]


class PreferenceRpc(pb_grpc.PreferenceServiceServicer):
    """Answers for the app of the caller. `pages` None: this mesh signs no links."""

    def __init__(self, wishes: WishBook, pages: PageLinks | None, clock: Clock) -> None:
        self._wishes = wishes
        self._pages = pages
        self._clock = clock

    async def GetWishes(self, request: pb.GetWishesRequest, context: Context) -> pb.GetWishesResponse:
        faults = Faults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        faults.raise_if_any()
        wishes, revision = await self._wishes.wishes(current_caller().app_id, recipient_id)
        return pb.GetWishesResponse(wishes=wishes_to_proto(wishes), revision=revision)

    async def SetWishes(self, request: pb.SetWishesRequest, context: Context) -> pb.SetWishesResponse:
        faults = Faults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        faults.require("wishes", request.HasField("wishes"), "required")
        wishes = read_wishes(faults, "wishes", request.wishes)
        faults.require("if_revision", request.if_revision >= 0, "must not be negative")
        faults.raise_if_any()
        revision = await self._wishes.set_wishes(
            current_caller().app_id, recipient_id, wishes, request.if_revision, _app()
        )
        return pb.SetWishesResponse(revision=revision)

    async def Switch(self, request: pb.SwitchRequest, context: Context) -> pb.SwitchResponse:
        faults = Faults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        channel = read_channel(faults, "channel", request.channel)
        if request.category:
            faults.name("category", request.category)
        faults.raise_if_any()

        def change(wishes: Wishes) -> Wishes:
            changed = switched(wishes, channel, request.category, enabled=request.enabled)
            if len(changed.choices) > MAX_CHOICES:
                raise invalid_fields([FieldFault("category", f"there are {MAX_CHOICES} choices already")])
            return changed

        revision = await self._wishes.change_wishes(current_caller().app_id, recipient_id, change, _app())
        return pb.SwitchResponse(revision=revision)

    async def ListWishChanges(self, request: pb.ListWishChangesRequest, context: Context) -> pb.ListWishChangesResponse:
        faults = Faults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        size = read_size(faults, request.page_size)
        before = read_token(faults, request.page_token, lambda place: UUID(bytes=place))
        faults.raise_if_any()
        found = await self._wishes.changes(current_caller().app_id, recipient_id, size + 1, before)
        return pb.ListWishChangesResponse(
            changes=[show_change(change) for change in found[:size]],
            next_page_token=to_token(found[size - 1].change_id.bytes) if len(found) > size else "",
        )

    async def CreatePageLink(self, request: pb.CreatePageLinkRequest, context: Context) -> pb.CreatePageLinkResponse:
        if self._pages is None:
            raise not_built("clarion.preference.v1.PreferenceService/CreatePageLink")
        faults = Faults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        faults.raise_if_any()
        stamp = request.expire_at if request.HasField("expire_at") else None
        expire_at = read_expiry(stamp, self._clock.now())
        app_id = current_caller().app_id
        await self._wishes.wishes(app_id, recipient_id)  # a link to nobody is refused
        return pb.CreatePageLinkResponse(
            url=self._pages.url(app_id, UUID(bytes=recipient_reference(app_id, recipient_id)), expire_at)
        )


def _app() -> Actor:
    """The app, with the key of this call."""
    return Actor(who=current_caller().key)
