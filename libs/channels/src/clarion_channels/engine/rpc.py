"""DispatchService: what operators may ask of a dispatcher."""

import grpc

from clarion.internal.dispatch.v1 import dispatch_service_pb2 as pb
from clarion.internal.dispatch.v1.dispatch_service_pb2_grpc import DispatchServiceServicer
from clarion_channels.engine.lanes import Lanes, LaneUnknown, LaneUnusable
from clarion_channels.port import ProviderUnavailable
from clarion_kit.errors import DomainError, ErrorReason


class DispatchRpc(DispatchServiceServicer):
    """Answers for the lanes of this process."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    async def GetLanes(
        self, request: pb.GetLanesRequest, context: grpc.aio.ServicerContext[pb.GetLanesRequest, pb.GetLanesResponse]
    ) -> pb.GetLanesResponse:
        return pb.GetLanesResponse(
            lanes=[
                pb.Lane(
                    lane_id=lane.config.lane_id,
                    app_id=lane.config.app_id,
                    kind=lane.config.kind,
                    in_flight=lane.in_flight,
                    outcomes=dict(lane.outcomes),
                    stopped=lane.stop is not None,
                    in_flight_limit=lane.protection.limit,
                )
                for lane in self._lanes.all()
            ]
        )

    async def Probe(
        self, request: pb.ProbeRequest, context: grpc.aio.ServicerContext[pb.ProbeRequest, pb.ProbeResponse]
    ) -> pb.ProbeResponse:
        try:
            lane = await self._lanes.get(request.lane_id)
            await lane.probe()
        except LaneUnknown:
            raise DomainError(ErrorReason.PROVIDER_NOT_FOUND, "no such lane of this channel") from None
        except (LaneUnusable, ProviderUnavailable, TimeoutError) as away:
            return pb.ProbeResponse(ok=False, detail=str(away) or "no answer in time")
        return pb.ProbeResponse(ok=True)
