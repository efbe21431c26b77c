"""The gRPC edge: statistics and the feed of the calling app."""

from collections.abc import AsyncIterator, Awaitable

import grpc

from clarion.tracking.v1.tracking_service_pb2 import (
    StatsRequest,
    StatsResponse,
    WatchDeliveriesRequest,
    WatchDeliveriesResponse,
)
from clarion.tracking.v1.tracking_service_pb2_grpc import TrackingServiceServicer
from clarion_kit.rpc.caller import current_caller
from clarion_tracker.stats_rpc import StatsRpc
from clarion_tracker.watch_rpc import WatchRpc


class TrackingRpc(TrackingServiceServicer):
    """TrackingService for the app that calls."""

    def __init__(self, stats: StatsRpc, watch: WatchRpc) -> None:
        self._stats = stats
        self._watch = watch

    async def Stats(
        self, request: StatsRequest, context: grpc.aio.ServicerContext[StatsRequest, StatsResponse]
    ) -> StatsResponse:
        return await self._stats.stats(request, current_caller())

    def WatchDeliveries(
        self,
        request: WatchDeliveriesRequest,
        context: grpc.aio.ServicerContext[WatchDeliveriesRequest, WatchDeliveriesResponse],
    ) -> AsyncIterator[WatchDeliveriesResponse]:
        return _written(self._watch.watch(request, context, current_caller().app_id))


async def _written(writing: Awaitable[None]) -> AsyncIterator[WatchDeliveriesResponse]:
    """Answers that are written to the context, where a write can be given up; nothing is left to yield."""
    await writing
    nothing: tuple[WatchDeliveriesResponse, ...] = ()
    for response in nothing:
        yield response
