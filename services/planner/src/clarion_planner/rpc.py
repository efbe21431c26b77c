"""PlannerService."""

from uuid import UUID

import grpc

from clarion.internal.planner.v1 import planner_service_pb2 as pb
from clarion.internal.planner.v1.planner_service_pb2_grpc import PlannerServiceServicer
from clarion_kit.validate import Faults
from clarion_planner.explaining import Explaining

ID_BYTES = 16
MAX_RECIPIENTS = 100


class PlannerRpc(PlannerServiceServicer):
    """Explains notifications of any app; the gateway says whose."""

    def __init__(self, explaining: Explaining) -> None:
        self._explaining = explaining

    async def Explain(
        self, request: pb.ExplainRequest, context: grpc.aio.ServicerContext[pb.ExplainRequest, pb.ExplainResponse]
    ) -> pb.ExplainResponse:
        faults = Faults()
        faults.require("app_id", request.app_id >= 1, "required")
        dry = request.HasField("notification")
        faults.require("notification", dry != bool(request.notification_id), "exactly one of it and an id is required")
        if dry:
            count = len(request.notification.recipient_ids)
            faults.require("notification.recipient_ids", 1 <= count <= MAX_RECIPIENTS, f"1 to {MAX_RECIPIENTS}")
        else:
            faults.require("notification_id", len(request.notification_id) == ID_BYTES, f"{ID_BYTES} bytes")
        faults.raise_if_any()
        if dry:
            answer = await self._explaining.dry_run(request.app_id, request.notification)
        else:
            answer = await self._explaining.afterwards(request.app_id, UUID(bytes=request.notification_id))
        return pb.ExplainResponse(answer=answer)
