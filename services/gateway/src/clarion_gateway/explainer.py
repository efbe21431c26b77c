"""Explain, as the planner answers it."""

from datetime import timedelta
from uuid import UUID

import grpc

from clarion.internal.planner.v1 import planner_service_pb2 as planner
from clarion.internal.planner.v1.planner_service_pb2_grpc import PlannerServiceStub
from clarion.notification.v1.notification_service_pb2 import ExplainResponse, Notification
from clarion_kit.errors import DomainError, ErrorReason, unavailable
from clarion_kit.rpc.client import Peer

TIMEOUT = timedelta(seconds=5)


class Explainer:
    """Asks a planner why."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = PlannerServiceStub(peer.channel)

    async def dry_run(self, app_id: int, notification: Notification) -> ExplainResponse:
        """What would become of it. Raises CATEGORY_NOT_FOUND, DEPENDENCY_UNAVAILABLE."""
        return await self._ask(planner.ExplainRequest(app_id=app_id, notification=notification))

    async def afterwards(self, app_id: int, notification_id: UUID) -> ExplainResponse:
        """What became of it. Raises NOTIFICATION_NOT_FOUND, DEPENDENCY_UNAVAILABLE."""
        return await self._ask(planner.ExplainRequest(app_id=app_id, notification_id=notification_id.bytes))

    async def _ask(self, request: planner.ExplainRequest) -> ExplainResponse:
        try:
            answer: planner.ExplainResponse = await self._peer.call(
                self._stub.Explain, request, timeout=TIMEOUT, name="clarion.internal.planner.v1.PlannerService/Explain"
            )
        except grpc.aio.AioRpcError as refused:
            if refused.code() is grpc.StatusCode.NOT_FOUND and request.notification_id:
                raise DomainError(
                    ErrorReason.NOTIFICATION_NOT_FOUND,
                    "no such notification",
                    metadata={"notification_id": str(UUID(bytes=request.notification_id))},
                ) from refused
            raise unavailable(self._peer.daemon) from refused
        return answer.answer
