"""PreferenceService: what recipients want and do not want."""

import grpc

from clarion.preference.v1 import preference_service_pb2 as pb
from clarion.preference.v1 import preference_service_pb2_grpc as pb_grpc
from clarion_kit.errors import FieldFault, invalid_fields
from clarion_kit.rpc.caller import current_caller
from clarion_kit.validate import Faults
from clarion_preference.domain import Wishes, switched
from clarion_preference.ports import Directory
from clarion_preference.rpc.reading_recipient import read_recipient_id
from clarion_preference.rpc.reading_wishes import MAX_CHOICES, read_channel, read_wishes
from clarion_preference.wire import wishes_to_proto

Context = grpc.aio.ServicerContext[object, object]


class PreferenceRpc(pb_grpc.PreferenceServiceServicer):
    """Answers for the app of the caller."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def GetWishes(self, request: pb.GetWishesRequest, context: Context) -> pb.GetWishesResponse:
        faults = Faults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        faults.raise_if_any()
        wishes, revision = await self._directory.wishes(current_caller().app_id, recipient_id)
        return pb.GetWishesResponse(wishes=wishes_to_proto(wishes), revision=revision)

    async def SetWishes(self, request: pb.SetWishesRequest, context: Context) -> pb.SetWishesResponse:
        faults = Faults()
        recipient_id = read_recipient_id(faults, request.recipient_id)
        faults.require("wishes", request.HasField("wishes"), "required")
        wishes = read_wishes(faults, "wishes", request.wishes)
        faults.require("if_revision", request.if_revision >= 0, "must not be negative")
        faults.raise_if_any()
        revision = await self._directory.set_wishes(current_caller().app_id, recipient_id, wishes, request.if_revision)
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

        revision = await self._directory.change_wishes(current_caller().app_id, recipient_id, change)
        return pb.SwitchResponse(revision=revision)
