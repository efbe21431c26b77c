"""`WatchDeliveries` between proto and domain."""

import asyncio
from collections.abc import Collection, Sequence
from typing import TypeVar
from uuid import UUID

import grpc

from clarion.notification.v1 import notification_service_pb2, state_pb2
from clarion.tracking.v1.tracking_service_pb2 import WatchDeliveriesRequest, WatchDeliveriesResponse
from clarion.types.v1 import channel_pb2
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.sealing import recipient_reference
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Word
from clarion_tracker.changes import Change, Wanted
from clarion_tracker.ports import Offers
from clarion_tracker.positions import Position, cursor_of, parse_cursor
from clarion_tracker.watching import Watching

MAX_WORDS = 50
MAX_CATEGORIES = 50
MAX_NOTIFICATIONS = 100
MAX_RECIPIENT_ID_BYTES = 128
GIVE_UP_SECONDS = 60.0
"""A status that a subscriber does not fetch, since it reads nothing, is not kept longer."""

WordT = TypeVar("WordT", bound=Word)
Context = grpc.aio.ServicerContext[WatchDeliveriesRequest, WatchDeliveriesResponse]


class WatchRpc:
    """Streams of the calling app."""

    def __init__(self, watching: Watching, offers: Offers) -> None:
        self._watching = watching
        self._offers = offers

    async def watch(self, request: WatchDeliveriesRequest, context: Context, app_id: int) -> None:
        """Writes to `context` until the stream is over. Raises DomainError, Unavailable."""
        wanted = wanted_by(request, app_id, {offered.name for offered in self._offers.offered(app_id)})
        cursor = parse_cursor(app_id, request.cursor) if request.cursor else None
        try:
            await self._watching.watch(app_id, cursor, wanted, _Writer(context, app_id))
        except DomainError as refused:
            task = asyncio.current_task()
            if refused.reason is ErrorReason.SUBSCRIBER_TOO_SLOW and task is not None:
                asyncio.get_running_loop().call_later(GIVE_UP_SECONDS, task.cancel)
            raise


class _Writer:
    """`watching.Subscriber`: returns once gRPC has room for more."""

    def __init__(self, context: Context, app_id: int) -> None:
        self._context = context
        self._app_id = app_id

    async def take(self, change: Change | None, position: Position) -> None:
        await self._context.write(response(change, cursor_of(self._app_id, position)))


def wanted_by(request: WatchDeliveriesRequest, app_id: int, categories: Collection[str]) -> Wanted:
    """The filter of a request. Raises DomainError INVALID_FIELD, CATEGORY_NOT_FOUND."""
    faults = Faults()
    channels = words(faults, "channels", request.channels, Channel)
    kinds = words(faults, "kinds", request.kinds, EventKind)
    states = words(faults, "states", request.states, DeliveryState)
    faults.require("categories", len(request.categories) <= MAX_CATEGORIES, f"at most {MAX_CATEGORIES}")
    for name in request.categories[:MAX_CATEGORIES]:
        faults.name("categories", name)
    ids = set()
    faults.require(
        "notification_ids", len(request.notification_ids) <= MAX_NOTIFICATIONS, f"at most {MAX_NOTIFICATIONS}"
    )
    for text in request.notification_ids[:MAX_NOTIFICATIONS]:
        try:
            ids.add(UUID(text))
        except ValueError:
            faults.add("notification_ids", "must be ids of notifications")
    faults.text("recipient_id", request.recipient_id, max_bytes=MAX_RECIPIENT_ID_BYTES, required=False)
    faults.raise_if_any()
    for name in request.categories:
        if name not in categories:
            raise DomainError(
                ErrorReason.CATEGORY_NOT_FOUND, f"there is no category {name!r}", metadata={"category": name}
            )
    recipient = UUID(bytes=recipient_reference(app_id, request.recipient_id)) if request.recipient_id else None
    return Wanted(channels, kinds, states, frozenset(request.categories), frozenset(ids), recipient)


def words(faults: Faults, field: str, numbers: Sequence[int], kind: type[WordT]) -> frozenset[WordT]:
    """Numbers of a request as words; one that is not known would let nothing through, silently."""
    found = frozenset(kind(number) for number in numbers[:MAX_WORDS])
    faults.require(field, len(numbers) <= MAX_WORDS, f"at most {MAX_WORDS}")
    faults.require(field, all(word.known for word in found), "an unknown number")
    return found


def response(change: Change | None, cursor: str) -> WatchDeliveriesResponse:
    """`change` None: only a cursor."""
    told = WatchDeliveriesResponse(cursor=cursor)
    if change is None:
        return told
    told.notification_id = str(change.notification_id)
    told.event_id = change.event_id
    told.category = change.category
    told.change_id = change.change_id
    told.channel = channel_pb2.Channel.ValueType(change.channel or 0)
    told.receipt = state_pb2.Receipt.ValueType(change.receipt or 0)
    entry = told.entry
    entry.at.FromDatetime(change.at)
    entry.kind = notification_service_pb2.EventKind.ValueType(change.kind)
    entry.delivery_id = str(change.delivery_id) if change.delivery_id else ""
    entry.state = state_pb2.DeliveryState.ValueType(change.state or 0)
    entry.reason = state_pb2.Reason.ValueType(change.reason or 0)
    entry.provider = change.provider
    entry.code = change.code
    entry.attempt = change.attempt
    return told
