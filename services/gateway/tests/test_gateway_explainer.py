"""Explain at the edge: the planner's answer, or its error as the client knows it."""

from collections.abc import AsyncIterator
from uuid import UUID

import grpc
import pytest
import pytest_asyncio

from clarion.internal.planner.v1 import planner_service_pb2 as planner
from clarion.internal.planner.v1.planner_service_pb2_grpc import (
    PlannerServiceServicer,
    add_PlannerServiceServicer_to_server,
)
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_gateway.explainer import Explainer
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.client import Peer
from clarion_kit.telemetry.provider import Telemetry

ID = UUID(int=7)


class FakePlanner(PlannerServiceServicer):
    """Answers with one explanation, or refuses with `code`."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.asked: list[planner.ExplainRequest] = []

    async def Explain(
        self,
        request: planner.ExplainRequest,
        context: grpc.aio.ServicerContext[planner.ExplainRequest, planner.ExplainResponse],
    ) -> planner.ExplainResponse:
        self.asked.append(request)
        if self.code is not None:
            await context.abort(self.code, "refused")
        return planner.ExplainResponse(answer=pb.ExplainResponse(explanations=[pb.Explanation(provider="main")]))


@pytest.fixture
def fake() -> FakePlanner:
    return FakePlanner()


@pytest_asyncio.fixture
async def explainer(fake: FakePlanner, telemetry: Telemetry) -> AsyncIterator[Explainer]:
    server = grpc.aio.server()
    add_PlannerServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Explainer(Peer("planner", channel, telemetry))
    await server.stop(None)


async def test_planner_is_asked_for_the_callers_app_alone(fake: FakePlanner, explainer: Explainer) -> None:
    dry = await explainer.dry_run(3, pb.Notification(category="offers"))
    after = await explainer.afterwards(3, ID)

    assert [one.provider for answer in (dry, after) for one in answer.explanations] == ["main", "main"]
    assert [request.app_id for request in fake.asked] == [3, 3]
    assert fake.asked[0].notification.category == "offers"
    assert fake.asked[1].notification_id == ID.bytes


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.NOT_FOUND, ErrorReason.NOTIFICATION_NOT_FOUND),
        (grpc.StatusCode.UNAVAILABLE, ErrorReason.DEPENDENCY_UNAVAILABLE),
        (grpc.StatusCode.UNKNOWN, ErrorReason.DEPENDENCY_UNAVAILABLE),
    ],
)
async def test_what_the_planner_refuses_is_told_as_the_client_knows_it(
    fake: FakePlanner, explainer: Explainer, code: grpc.StatusCode, reason: ErrorReason
) -> None:
    fake.code = code

    with pytest.raises(DomainError) as refused:
        await explainer.afterwards(3, ID)

    assert refused.value.reason is reason
