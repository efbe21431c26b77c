"""The gRPC edge: statistics of the calling app."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.tracking.v1.tracking_service_pb2 import (
    ChannelStats,
    StatsRequest,
    StatsResponse,
    WatchDeliveriesRequest,
    WatchDeliveriesResponse,
)
from clarion.tracking.v1.tracking_service_pb2_grpc import TrackingServiceServicer
from clarion.types.v1.channel_pb2 import Channel as ProtoChannel
from clarion_kit.clock import Clock
from clarion_kit.rpc.caller import current_caller
from clarion_kit.rpc.unbuilt import not_built
from clarion_kit.validate import Faults
from clarion_tracker import funnel
from clarion_tracker.ports import Statistics

_YEAR_2200_SECONDS = 7_258_118_400


class TrackingRpc(TrackingServiceServicer):
    """TrackingService for the app that calls."""

    def __init__(self, statistics: Statistics, clock: Clock) -> None:
        self._statistics = statistics
        self._clock = clock

    async def Stats(
        self, request: StatsRequest, context: grpc.aio.ServicerContext[StatsRequest, StatsResponse]
    ) -> StatsResponse:
        now = self._clock.now()
        since, until = funnel.window(*_asked(request), now)
        counted = await self._statistics.funnel(current_caller().app_id, since, until)
        response = StatsResponse(accepted=counted.accepted)
        response.as_of.FromDatetime(now)
        for channel, found in funnel.by_channel(counted.rows).items():
            response.channels.append(
                ChannelStats(
                    channel=ProtoChannel.ValueType(channel),
                    by_state=found.by_state,
                    by_reason=found.by_reason,
                    by_receipt=found.by_receipt,
                )
            )
        return response

    def WatchDeliveries(
        self,
        request: WatchDeliveriesRequest,
        context: grpc.aio.ServicerContext[WatchDeliveriesRequest, WatchDeliveriesResponse],
    ) -> AsyncIterator[WatchDeliveriesResponse]:
        raise not_built("clarion.tracking.v1.TrackingService/WatchDeliveries")


def _asked(request: StatsRequest) -> tuple[datetime | None, datetime | None]:
    faults = Faults()
    for field in ("since", "until"):
        moment: Timestamp = getattr(request, field)
        possible = 0 <= moment.seconds < _YEAR_2200_SECONDS and 0 <= moment.nanos < 1_000_000_000
        faults.require(field, possible, "must be a moment between 1970 and 2200")
    faults.raise_if_any()
    return (
        request.since.ToDatetime(UTC) if request.HasField("since") else None,
        request.until.ToDatetime(UTC) if request.HasField("until") else None,
    )
