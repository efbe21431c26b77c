"""What the edge knows of templates, so that an unknown name or a missing variable is refused before anything is stored."""

import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta

import grpc

from clarion.internal.template.v1 import template_service_pb2 as pb
from clarion.internal.template.v1.template_service_pb2_grpc import TemplateServiceStub
from clarion.notification.v1.notification_service_pb2 import TemplateRef
from clarion_channels.template_data import check_reference
from clarion_kit.errors import DomainError
from clarion_kit.rpc.client import Peer

log = logging.getLogger(__name__)

FRESH_SECONDS = 2.0
CACHED = 10_000
TIMEOUT = timedelta(milliseconds=500)


class Templates:
    """Descriptions of published templates, at most two seconds old; one that was missing is asked for again at once.

    While the template service is away the last description serves; a template never seen is let through, and its
    deliveries are suppressed with the reason if it does not render.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = TemplateServiceStub(peer.channel)
        self._known: OrderedDict[tuple[int, str], tuple[float, pb.Description]] = OrderedDict()

    async def load(self, app_id: int, names: Sequence[str]) -> None:
        """Make sure that these names are known as they are now, if the service answers."""
        now = time.monotonic()
        stale = [name for name in dict.fromkeys(names) if self._age(app_id, name, now) > FRESH_SECONDS]
        for start in range(0, len(stale), 100):
            await self._describe(app_id, stale[start : start + 100], now)

    def check(self, app_id: int, reference: TemplateRef, *, digest: bool = False) -> None:
        """Raises TEMPLATE_NOT_FOUND, MISSING_VARIABLE, INVALID_FIELD (a value of the wrong type).

        `digest`: the planner gives that variable.
        """
        known = self._known.get((app_id, reference.name))
        if known is None:
            return
        check_reference(known[1], reference, "notification.template.data", digest=digest)

    def _age(self, app_id: int, name: str, now: float) -> float:
        known = self._known.get((app_id, name))
        return float("inf") if known is None or not known[1].published_version else now - known[0]

    async def _describe(self, app_id: int, names: Sequence[str], now: float) -> None:
        request = pb.DescribeRequest(app_id=app_id, names=names)
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
        for name, description in zip(names, response.templates, strict=True):
            self._known[app_id, name] = (now, description)
            self._known.move_to_end((app_id, name))
        while len(self._known) > CACHED:
            self._known.popitem(last=False)
