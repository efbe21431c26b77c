"""Dead and opted-out addresses on their way to the preference service, over a real gRPC connection."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import grpc
import pytest

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion.suppression.v1 import suppression_pb2
from clarion_channels.engine.dead import DeadAddress
from clarion_channels.engine.dead_report import report_dead
from clarion_channels.outcome import Outcome, Result
from clarion_kit.rpc.client import Peer
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_testkit.plugin import App, Database

from .engine_samples import answer, bench

AT = datetime(2026, 3, 1, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1_000)
DEAD = DeadAddress(7, 3, UUID(int=1), AT)
STOPPED = DeadAddress(7, 3, UUID(int=2), AT, opted_out=True)


class Service:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[pb.ReportDeadRequest | pb.SuppressRequest] = []

    def add_to(self, server: grpc.aio.Server) -> None:
        report = grpc.unary_unary_rpc_method_handler(
            self._report,
            request_deserializer=pb.ReportDeadRequest.FromString,
            response_serializer=pb.ReportDeadResponse.SerializeToString,
        )
        suppress = grpc.unary_unary_rpc_method_handler(
            self._suppress,
            request_deserializer=pb.SuppressRequest.FromString,
            response_serializer=pb.SuppressResponse.SerializeToString,
        )
        name = pb.DESCRIPTOR.services_by_name["PreferenceService"].full_name
        for methods in ({"ReportDead": report}, {"Suppress": suppress}):
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))

    async def _report(self, request: pb.ReportDeadRequest, context: object) -> pb.ReportDeadResponse:
        self.told.append(request)
        return pb.ReportDeadResponse()

    async def _suppress(self, request: pb.SuppressRequest, context: object) -> pb.SuppressResponse:
        self.told.append(request)
        return pb.SuppressResponse()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def peer(service: Service, telemetry: Telemetry) -> AsyncIterator[Peer]:
    server = grpc.aio.server()
    service.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Peer("preference", channel, telemetry)
    await server.stop(None)


DEAD_REQUEST = pb.ReportDeadRequest(
    addresses=[
        pb.ReportDeadRequest.DeadAddress(app_id=3, address_id=DEAD.address_id.bytes, dead_since_ms=AT_MS),
    ]
)
STOP_REQUEST = pb.SuppressRequest(
    items=[
        pb.SuppressRequest.Item(
            key=pb.AddressKey(app_id=3, address_id=STOPPED.address_id.bytes),
            reason=suppression_pb2.SUPPRESSION_REASON_STOP_WORD,
            source=suppression_pb2.SUPPRESSION_SOURCE_PROVIDER,
            since_ms=AT_MS,
        )
    ]
)


@pytest.mark.parametrize(
    ("addresses", "requests"),
    [
        ([DEAD], [DEAD_REQUEST]),
        ([STOPPED], [STOP_REQUEST]),
        ([DEAD, STOPPED], [STOP_REQUEST, DEAD_REQUEST]),
    ],
    ids=["dead", "opted out", "both"],
)
async def test_dead_is_disabled_and_who_opted_out_is_suppressed(
    peer: Peer, service: Service, addresses: list[DeadAddress], requests: list[object]
) -> None:
    await report_dead(peer, addresses)

    assert service.told == requests


async def test_opt_out_at_the_provider_ends_the_delivery_and_is_told_as_one(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = answer(Result(Outcome.DEAD, code="400:21610", opted_out=True))
        [id_] = await b.deliveries(await b.lane())

        await b.send([id_])
        await b.dead_queue.flush()

        row = await b.row(id_)
        assert (row["now"], row["reason"]) == (DeliveryState.FAILED, Reason.OPTED_OUT_AT_PROVIDER)
        assert [told.opted_out for told in b.dead] == [True]
        assert await b.unaccounted() == 0


async def test_segments_are_noted_with_the_record_whatever_the_channel(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = answer(Result(Outcome.ACCEPTED, provider_message_id="00A,b", receipt_ids=("00A", "b")))
        lane_id = await b.lane()
        [id_] = await b.deliveries(lane_id)

        await b.send([id_])

        attempt = await b.pool.fetchval("SELECT receipt_key FROM ledger.attempt WHERE delivery_id = $1", id_)
        rows = await b.pool.fetch(
            "SELECT position, receipt_key FROM tracking.segment WHERE delivery_id = $1 ORDER BY 1", id_
        )
        assert attempt == f"{lane_id}:a"
        assert [tuple(row) for row in rows] == [(0, f"{lane_id}:a"), (1, f"{lane_id}:b")]
