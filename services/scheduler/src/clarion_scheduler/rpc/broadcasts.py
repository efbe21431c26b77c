"""BroadcastService."""

import time
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import grpc

from clarion.broadcast.v1 import broadcast_service_pb2 as pb
from clarion.broadcast.v1.broadcast_service_pb2_grpc import BroadcastServiceServicer
from clarion_kit.errors import DomainError, ErrorReason, FieldFault, invalid_fields
from clarion_kit.rpc.caller import current_caller
from clarion_kit.vocabulary import BroadcastState, DeliveryState
from clarion_ledger import broadcasts
from clarion_ledger.broadcasts import Broadcast
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool
from clarion_ledger.reading import MAX_UUID
from clarion_scheduler.intake import Intake
from clarion_scheduler.rpc.paging import page_size, page_token, parse_page_token, timestamp, uuid

OUTCOMES_FRESH_SECONDS = 5.0
COUNTED_ALWAYS = 20_000
"""Deliveries that take a few hundredths of a second to count."""
OUTCOMES_CACHED = 200
_PAUSABLE = (BroadcastState.RUNNING, BroadcastState.PAUSED)


class BroadcastRpc(BroadcastServiceServicer):
    """Starts, shows, pauses and cancels broadcasts of the caller's app."""

    def __init__(self, pool: Pool, config: ConfigCache, intake: Intake) -> None:
        self._pool = pool
        self._config = config
        self._intake = intake
        self._counted: OrderedDict[UUID, tuple[float, pb.BroadcastOutcomes]] = OrderedDict()

    async def StartBroadcast(
        self,
        request: pb.StartBroadcastRequest,
        context: grpc.aio.ServicerContext[pb.StartBroadcastRequest, pb.StartBroadcastResponse],
    ) -> pb.StartBroadcastResponse:
        started = await self._intake.start(current_caller(), request)
        return pb.StartBroadcastResponse(broadcast_id=str(started.broadcast_id), duplicate=not started.fresh)

    async def GetBroadcast(
        self,
        request: pb.GetBroadcastRequest,
        context: grpc.aio.ServicerContext[pb.GetBroadcastRequest, pb.GetBroadcastResponse],
    ) -> pb.GetBroadcastResponse:
        found = await self._found(request.broadcast_id)
        return pb.GetBroadcastResponse(
            planned=found.planned,
            total=_total(found),
            broadcast=self._view(found),
            outcomes=await self._outcomes(found),
        )

    async def ListBroadcasts(
        self,
        request: pb.ListBroadcastsRequest,
        context: grpc.aio.ServicerContext[pb.ListBroadcastsRequest, pb.ListBroadcastsResponse],
    ) -> pb.ListBroadcastsResponse:
        size = page_size(request.page_size)
        before = MAX_UUID
        if request.page_token:
            token = parse_page_token(request.page_token)
            if len(token) != 16:
                raise invalid_fields([FieldFault("page_token", "not a token of this service")])
            before = UUID(bytes=token)
        rows = await broadcasts.page(self._pool, current_caller().app_id, before=before, size=size + 1)
        page = rows[:size]
        return pb.ListBroadcastsResponse(
            broadcasts=[self._view(row) for row in page],
            next_page_token=page_token(page[-1].broadcast_id.bytes) if len(rows) > size else "",
        )

    async def PauseBroadcast(
        self,
        request: pb.PauseBroadcastRequest,
        context: grpc.aio.ServicerContext[pb.PauseBroadcastRequest, pb.PauseBroadcastResponse],
    ) -> pb.PauseBroadcastResponse:
        id_ = uuid("broadcast_id", request.broadcast_id)
        await broadcasts.pause(self._pool, current_caller().app_id, id_)
        return pb.PauseBroadcastResponse(broadcast=self._view(_still(await self._found(request.broadcast_id))))

    async def ResumeBroadcast(
        self,
        request: pb.ResumeBroadcastRequest,
        context: grpc.aio.ServicerContext[pb.ResumeBroadcastRequest, pb.ResumeBroadcastResponse],
    ) -> pb.ResumeBroadcastResponse:
        id_ = uuid("broadcast_id", request.broadcast_id)
        await broadcasts.resume(self._pool, current_caller().app_id, id_)
        return pb.ResumeBroadcastResponse(broadcast=self._view(_still(await self._found(request.broadcast_id))))

    async def CancelBroadcast(
        self,
        request: pb.CancelBroadcastRequest,
        context: grpc.aio.ServicerContext[pb.CancelBroadcastRequest, pb.CancelBroadcastResponse],
    ) -> pb.CancelBroadcastResponse:
        id_ = uuid("broadcast_id", request.broadcast_id)
        await broadcasts.cancel(self._pool, current_caller().app_id, id_)
        return pb.CancelBroadcastResponse(broadcast=self._view(await self._found(request.broadcast_id)))

    async def _found(self, broadcast_id: str) -> Broadcast:
        id_ = uuid("broadcast_id", broadcast_id)
        found = await broadcasts.get(self._pool, current_caller().app_id, id_)
        if found is None:
            raise DomainError(ErrorReason.BROADCAST_NOT_FOUND, "no such broadcast", metadata={"broadcast_id": str(id_)})
        return found

    async def _outcomes(self, found: Broadcast) -> pb.BroadcastOutcomes | None:
        """Counting a million takes a second, and somebody may ask every second."""
        broadcast_id = found.broadcast_id
        if found.deliveries + found.suppressed <= COUNTED_ALWAYS:
            counts = await broadcasts.outcomes(self._pool, broadcast_id)
            return _outcomes(counts) if counts is not None else None
        known = self._counted.get(broadcast_id)
        if known is not None and time.monotonic() - known[0] < OUTCOMES_FRESH_SECONDS:
            return known[1]
        counts = await broadcasts.outcomes(self._pool, broadcast_id)
        if counts is None:
            return known[1] if known is not None else None
        view = _outcomes(counts)
        self._counted[broadcast_id] = (time.monotonic(), view)
        self._counted.move_to_end(broadcast_id)
        while len(self._counted) > OUTCOMES_CACHED:
            self._counted.popitem(last=False)
        return view

    def _view(self, found: Broadcast) -> pb.Broadcast:
        category = self._config.snapshot.categories_by_id.get(found.category_id)
        return pb.Broadcast(
            broadcast_id=str(found.broadcast_id),
            event_id=found.event_id,
            state=found.state,  # type: ignore[arg-type]  # our numbers are the contract's (tested)
            category=category.name if category else "",
            priority=found.priority,  # type: ignore[arg-type]
            accepted_at=timestamp(found.accepted_at),
            deliver_at=timestamp(found.deliver_at),
            expire_at=timestamp(found.expire_at),
            ended_at=timestamp(found.ended_at),
            pace_per_second=found.pace,
            planned=found.planned,
            deliveries=found.deliveries,
            suppressed=found.suppressed,
            total=_total(found),
            rate_per_second=found.rate,
        )


def _total(found: Broadcast) -> int:
    return max(found.total or 0, found.planned)


def _still(found: Broadcast) -> Broadcast:
    """Raises BROADCAST_ENDED for what can neither pause nor go on."""
    if found.state not in _PAUSABLE:
        raise DomainError(ErrorReason.BROADCAST_ENDED, "the broadcast has ended", metadata={"state": found.state.name})
    return found


def _outcomes(counts: Mapping[DeliveryState, int]) -> pb.BroadcastOutcomes:
    return pb.BroadcastOutcomes(
        as_of=timestamp(datetime.now(UTC)),
        in_flight=sum(count for state, count in counts.items() if not state.terminal),
        sent=counts.get(DeliveryState.SENT, 0),
        failed=counts.get(DeliveryState.FAILED, 0),
        suppressed=counts.get(DeliveryState.SUPPRESSED, 0),
        expired=counts.get(DeliveryState.EXPIRED, 0),
        cancelled=counts.get(DeliveryState.CANCELLED, 0),
        dead_lettered=counts.get(DeliveryState.DEAD_LETTERED, 0),
    )
