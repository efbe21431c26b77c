"""SuppressionService: the list as the app that calls sees and changes it."""

import base64
import binascii
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

import grpc

from clarion.suppression.v1 import suppression_pb2
from clarion.suppression.v1 import suppression_service_pb2 as pb
from clarion.suppression.v1 import suppression_service_pb2_grpc as pb_grpc
from clarion.types.v1 import address_pb2
from clarion_kit.rpc.caller import current_caller
from clarion_kit.validate import Faults
from clarion_preference.addresses import Address
from clarion_preference.ports import SuppressionList
from clarion_preference.rpc.faults import RequestFaults
from clarion_preference.rpc.reading_address import read_address
from clarion_preference.rpc.reading_wishes import read_channel
from clarion_preference.rpc.showing import show_entry
from clarion_preference.suppressions import Decision, Place, SuppressionReason, SuppressionSource

Context = grpc.aio.ServicerContext[object, object]

MAX_NOTE_BYTES = 256
MAX_PAGE = 500
DEFAULT_PAGE = 50
_PLACE = struct.Struct(">q16sB")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_MICROSECONDS = 253_402_300_799_999_999
"""The last microsecond of the year 9999, where Python's calendar ends."""


class SuppressionRpc(pb_grpc.SuppressionServiceServicer):
    """Answers for the app of the caller."""

    def __init__(self, suppressions: SuppressionList) -> None:
        self._list = suppressions

    async def Suppress(self, request: pb.SuppressRequest, context: Context) -> pb.SuppressResponse:
        faults = RequestFaults()
        address = _address(faults, request.address)
        faults.text("note", request.note, max_bytes=MAX_NOTE_BYTES, required=False)
        if address is None or faults.found:
            raise faults.error()
        app_id = current_caller().app_id
        await self._list.put(
            [Decision(app_id, address, SuppressionReason.APP, SuppressionSource.APP, note=request.note)]
        )
        return pb.SuppressResponse()

    async def Unsuppress(self, request: pb.UnsuppressRequest, context: Context) -> pb.UnsuppressResponse:
        faults = RequestFaults()
        address = _address(faults, request.address)
        if address is None or faults.found:
            raise faults.error()
        await self._list.unsuppress(current_caller().app_id, address)
        return pb.UnsuppressResponse()

    async def ListSuppressed(self, request: pb.ListSuppressedRequest, context: Context) -> pb.ListSuppressedResponse:
        faults = Faults()
        faults.require("page_size", request.page_size <= MAX_PAGE, f"at most {MAX_PAGE}")
        channel = read_channel(faults, "channel", request.channel)
        known = request.reason in suppression_pb2.SuppressionReason.values()
        faults.require("reason", known, "is not a known reason")
        after = _read_place(faults, request.page_token)
        faults.raise_if_any()
        size = request.page_size or DEFAULT_PAGE
        reason = SuppressionReason(request.reason) if request.reason else None
        found = await self._list.page(current_caller().app_id, size + 1, after, channel, reason)
        return pb.ListSuppressedResponse(
            suppressed=[show_entry(entry) for entry in found[:size]],
            next_page_token=_token(found[size - 1].place) if len(found) > size else "",
        )


def _address(faults: RequestFaults, message: address_pb2.Address) -> Address | None:
    return read_address(faults, "address", message, private_hosts=True)


def _token(place: Place) -> str:
    microseconds = (place.since - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(_PLACE.pack(microseconds, place.address_id.bytes, place.reason)).decode()


def _read_place(faults: Faults, token: str) -> Place | None:
    """The place to go on behind; None for the first page."""
    if not token:
        return None
    try:
        microseconds, address_id, reason = _PLACE.unpack(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, struct.error):
        microseconds = -1
    if not faults.require("page_token", 0 <= microseconds <= _MAX_MICROSECONDS, "not a token of this service"):
        return None
    return Place(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=address_id), reason)
