"""Audiences over the preference service's paged RPC."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from uuid import UUID

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion.internal.preference.v1.preference_service_pb2_grpc import PreferenceServiceStub
from clarion.recipient.v1.recipient_service_pb2 import Audience
from clarion_kit.rpc.client import Peer
from clarion_planner.broadcast import AudiencePage

TIMEOUT = timedelta(seconds=5)


class AudienceClient:
    """Implements `Audiences`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = PreferenceServiceStub(peer.channel)

    async def page(
        self, app_id: int, audience: Audience, after: UUID, size: int, as_of: datetime, *, estimate: bool
    ) -> AudiencePage:
        """The next recipients by reference. Raises DomainError DEPENDENCY_UNAVAILABLE."""
        response: pb.ListAudienceResponse = await self._peer.call(
            self._stub.ListAudience,
            pb.ListAudienceRequest(
                app_id=app_id,
                audience=audience,
                after=after.bytes if after.int else b"",
                page_size=size,
                # Whoever came within the millisecond before is not left out.
                as_of_ms=ceil(as_of.timestamp() * 1_000),
                estimate=estimate,
            ),
            timeout=TIMEOUT,
            name="clarion.internal.preference.v1.PreferenceService/ListAudience",
        )
        refs: Sequence[bytes] = response.recipient_refs
        return AudiencePage(
            [UUID(bytes=ref) for ref in refs], len(refs) < size, response.estimated_total if estimate else None
        )
