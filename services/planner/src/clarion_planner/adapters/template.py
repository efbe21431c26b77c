"""Templates over the template service's batch RPC."""

from collections.abc import Sequence
from datetime import timedelta

from clarion.errors.v1.error_reason_pb2 import ErrorReason
from clarion.internal.template.v1 import template_service_pb2 as pb
from clarion.internal.template.v1.template_service_pb2_grpc import TemplateServiceStub
from clarion_kit.rpc.client import Peer
from clarion_kit.vocabulary import Channel
from clarion_planner.domain import Content
from clarion_planner.ports import RenderedTemplate, RenderQuery

TIMEOUT = timedelta(seconds=3)
BATCH = 1_000


class TemplateClient:
    """Implements `Templates`."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._stub = TemplateServiceStub(peer.channel)

    async def render(self, queries: Sequence[RenderQuery]) -> list[RenderedTemplate]:
        """In order. Raises DomainError DEPENDENCY_UNAVAILABLE."""
        rendered: list[RenderedTemplate] = []
        for start in range(0, len(queries), BATCH):
            request = pb.RenderRequest()
            for query in queries[start : start + BATCH]:
                _put(request, query)
            response: pb.RenderResponse = await self._peer.call(
                self._stub.Render,
                request,
                timeout=TIMEOUT,
                name="clarion.internal.template.v1.TemplateService/Render",
            )
            rendered += [_rendered(item) for item in response.items]
        return rendered


def _put(request: pb.RenderRequest, query: RenderQuery) -> None:
    """In place: a message that is put into another is copied."""
    item = request.items.add(
        app_id=query.app_id,
        template=query.template,
        version=query.version,
        locale=query.locale,
        time_zone=query.time_zone,
        channels=query.channels,  # our numbers are the contract's (tested)
    )
    item.data.CopyFrom(query.data)


def _rendered(item: pb.RenderedItem) -> RenderedTemplate:
    contents = {Channel(answer.channel): _content(answer) for answer in item.channels}
    return RenderedTemplate(item.version, contents, item.track_links)


def _content(answer: pb.ChannelContent) -> Content | None:
    if answer.HasField("content"):
        return Content(answer.content.SerializeToString())
    if answer.error:
        reason = ErrorReason.Name(answer.error).removeprefix("ERROR_REASON_")
        return Content(failure=f"{reason}: {answer.detail}")
    return None
