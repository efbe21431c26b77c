"""Templates as the template service describes them, so that an unknown name or a missing variable is refused at once."""

import logging
from datetime import timedelta

import grpc

from clarion.internal.template.v1 import template_service_pb2 as pb
from clarion.internal.template.v1.template_service_pb2_grpc import TemplateServiceStub
from clarion.notification.v1.notification_service_pb2 import TemplateRef
from clarion_channels.template_data import check_reference
from clarion_kit.errors import DomainError
from clarion_kit.rpc.client import Peer

log = logging.getLogger(__name__)

TIMEOUT = timedelta(seconds=1)


class TemplateDirectory:
    """Asks for one template at a time: broadcasts and schedules are few."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = TemplateServiceStub(peer.channel)

    async def check(self, app_id: int, reference: TemplateRef, path: str, *, digest: bool) -> None:
        """Raises TEMPLATE_NOT_FOUND, MISSING_VARIABLE, INVALID_FIELD (a value of the wrong type, under `path`). `digest`: the
        planner gives that variable.

        While the service is away everything is let through, and deliveries are suppressed with the reason if it does not
        render.
        """
        request = pb.DescribeRequest(app_id=app_id, names=[reference.name])
        try:
            response: pb.DescribeResponse = await self._peer.call(
                self._stub.Describe,
                request,
                timeout=TIMEOUT,
                name="clarion.internal.template.v1.TemplateService/Describe",
            )
        except (DomainError, grpc.aio.AioRpcError) as away:
            log.warning("templates cannot be checked: %s", type(away).__name__)
            return
        check_reference(response.templates[0], reference, path, digest=digest)
