"""Wishes in flight: what changed after the plan holds before the call."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import grpc
import pytest

from clarion.internal.preference.v1 import preference_service_pb2 as pb
from clarion.types.v1.address_pb2 import Address, AndroidDevice
from clarion.types.v1.channel_pb2 import CHANNEL_ANDROID
from clarion_channels.engine import admission
from clarion_channels.engine.wishes import PreferenceWishes
from clarion_channels.outcome import Outcome, Result
from clarion_kit.rpc.client import Peer
from clarion_kit.rpc.server import MeshAuthenticator, RpcServer
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Gate, Reason
from clarion_testkit.plugin import App, Database

from .engine_samples import Bench, bench
from .engine_samples import answer as answer_with


class Preference:
    """The preference service's Resolve: about every recipient what a test says."""

    def __init__(self) -> None:
        self.answers: dict[bytes, pb.Resolved] = {}
        self.queries: list[pb.ResolveRequest.Query] = []
        self.away: grpc.StatusCode | None = None

    def add_to(self, server: grpc.aio.Server) -> None:
        resolve = grpc.unary_unary_rpc_method_handler(
            self._resolve,
            request_deserializer=pb.ResolveRequest.FromString,
            response_serializer=pb.ResolveResponse.SerializeToString,
        )
        service = pb.DESCRIPTOR.services_by_name["PreferenceService"].full_name
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Resolve": resolve}),))

    async def _resolve(
        self, request: pb.ResolveRequest, context: grpc.aio.ServicerContext[pb.ResolveRequest, pb.ResolveResponse]
    ) -> pb.ResolveResponse:
        if self.away is not None:
            await context.abort(self.away, "away")
        self.queries += request.queries
        return pb.ResolveResponse(resolved=[self.answers[query.recipient_ref] for query in request.queries])


@asynccontextmanager
async def asking(
    preference: Preference, database: Database, app: App, telemetry: Telemetry
) -> AsyncIterator[tuple[Bench, "People"]]:
    """An engine that asks this preference service over gRPC."""
    server = RpcServer(
        "preference",
        "127.0.0.1:0",
        None,
        MeshAuthenticator(insecure=True),
        telemetry,
        [preference.add_to],
    )
    await server.start()
    try:
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
            bench(
                database,
                app,
                telemetry,
                wishes=lambda config: PreferenceWishes(Peer("preference", channel, telemetry), config, Channel.ANDROID),
            ) as b,
        ):
            await b.config.refresh()
            yield b, People(b, preference)
    finally:
        await server.stop(timedelta(seconds=1))


class People:
    """Recipients of planned deliveries, as the preference service stores them and answers about them."""

    def __init__(self, b: Bench, preference: Preference) -> None:
        self._b = b
        self._preference = preference

    async def know(self, ids: list[UUID], *, planned_ago: timedelta = timedelta(seconds=2)) -> None:
        """Store the recipients of these deliveries at the revision that their plan saw."""
        await self._b.pool.execute(
            """INSERT INTO preference.recipient (revision, app_id, recipient_ref, recipient_id, locale, time_zone, country)
               SELECT 5, app_id, recipient_ref, recipient_ref::text, '', '', ''
               FROM ledger.delivery_work WHERE delivery_id = ANY ($1)""",
            ids,
        )
        await self._b.pool.execute(
            """UPDATE ledger.delivery_work SET wishes_revision = 5, planned_at = now() - $2::interval
               WHERE delivery_id = ANY ($1)""",
            ids,
            planned_ago,
        )

    async def change(self, id_: UUID, answer: "Answer") -> None:
        """The recipient of a delivery changed: a new revision, and another answer."""
        row = await self._b.pool.fetchrow(
            "SELECT app_id, recipient_ref, address_id FROM ledger.delivery WHERE id = $1", id_
        )
        assert row is not None
        resolved = answer(row["address_id"])
        for sealed in (address for channel in resolved.channels for address in channel.addresses):
            sealer = await self._b.app.keys.sealer(self._b.app.app_id)
            sealed.sealed = sealer.seal("address", row["address_id"].bytes, "address", sealed.sealed)
        self._preference.answers[row["recipient_ref"].bytes] = resolved
        where = (row["app_id"], row["recipient_ref"])
        if resolved.found:
            change = "UPDATE preference.recipient SET revision = revision + 1 WHERE app_id = $1 AND recipient_ref = $2"
        else:
            change = "DELETE FROM preference.recipient WHERE app_id = $1 AND recipient_ref = $2"
        await self._b.pool.execute(change, *where)


Answer = Callable[[UUID], pb.Resolved]
"""From the delivery's address to what the preference service says; sealed addresses still in the clear."""


def device(token: str) -> bytes:
    return Address(android=AndroidDevice(token=token)).SerializeToString()


def found(channel: pb.ChannelAnswer) -> pb.Resolved:
    channel.channel = CHANNEL_ANDROID
    return pb.Resolved(found=True, channels=[channel])


def opted_out(address_id: UUID) -> pb.Resolved:
    return found(
        pb.ChannelAnswer(
            gate=Gate.WISHES,  # type: ignore[arg-type]  # our numbers are the contract's
            reason=Reason.OPTED_OUT,  # type: ignore[arg-type]
            rule="category transactional on android: off",
        )
    )


def erased(address_id: UUID) -> pb.Resolved:
    return pb.Resolved(found=False)


def without_addresses(address_id: UUID) -> pb.Resolved:
    return found(
        pb.ChannelAnswer(
            gate=Gate.ADDRESS,  # type: ignore[arg-type]  # our numbers are the contract's
            reason=Reason.NO_ADDRESS,  # type: ignore[arg-type]
        )
    )


def with_another_device(address_id: UUID) -> pb.Resolved:
    other = pb.SealedAddress(address_id=UUID(int=99).bytes, sealed=device("other"))
    return found(pb.ChannelAnswer(addresses=[other]))


def with_a_new_token(address_id: UUID) -> pb.Resolved:
    return found(
        pb.ChannelAnswer(addresses=[pb.SealedAddress(address_id=address_id.bytes, sealed=device("new token"))])
    )


async def kinds(b: Bench, id_: UUID) -> list[EventKind]:
    rows = await b.pool.fetch("SELECT kind FROM ledger.event WHERE delivery_id = $1 ORDER BY xid, seq", id_)
    return [EventKind(row["kind"]) for row in rows]


CANCELLATIONS = [
    (opted_out, Reason.WISH_CHANGED),
    (erased, Reason.ERASED),
    (without_addresses, Reason.ADDRESS_GONE),
    (with_another_device, Reason.ADDRESS_GONE),
]


@pytest.mark.parametrize(("answer", "reason"), CANCELLATIONS)
async def test_change_after_the_plan_cancels_the_delivery_before_its_call(
    database: Database, app: App, telemetry: Telemetry, answer: Answer, reason: Reason
) -> None:
    async with asking(Preference(), database, app, telemetry) as (b, people):
        gone, stays = await b.deliveries(await b.lane(), 2)
        await people.know([gone, stays])
        await people.change(gone, answer)

        await b.send([gone, stays])

        row = await b.row(gone)
        assert (row["now"], row["reason"], row["tried"]) == (DeliveryState.CANCELLED, reason, 0)
        assert await kinds(b, gone) == [EventKind.TERMINAL]
        assert [message.delivery_id for message in b.factory.sent] == [stays]
        assert b.lanes.all()[0].in_flight == 0
        assert await b.unaccounted() == 0


@pytest.mark.parametrize(("answer", "reason"), CANCELLATIONS)
async def test_change_between_the_claim_and_a_late_call_cancels_the_delivery(
    database: Database,
    app: App,
    telemetry: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    reason: Reason,
) -> None:
    monkeypatch.setattr(admission, "FRESH_SECONDS", 0.0)
    async with asking(Preference(), database, app, telemetry) as (b, people):
        [id_] = await b.deliveries(await b.lane())
        await people.know([id_])

        async def change_after_the_claim() -> None:
            await people.change(id_, answer)

        b.factory.before = change_after_the_claim
        await b.send([id_])

        row = await b.row(id_)
        assert (row["now"], row["reason"]) == (DeliveryState.CANCELLED, reason)
        assert b.factory.sent == []
        assert await b.unaccounted() == 0


async def test_replaced_token_is_the_one_that_is_used(database: Database, app: App, telemetry: Telemetry) -> None:
    async with asking(Preference(), database, app, telemetry) as (b, people):
        replaced, kept = await b.deliveries(await b.lane(), 2)
        await people.know([replaced, kept])
        await people.change(replaced, with_a_new_token)

        await b.send([replaced, kept])

        tokens = {message.delivery_id: message.address.android.token for message in b.factory.sent}
        assert tokens == {replaced: "new token", kept: "device"}
        assert await b.unaccounted() == 0


async def test_preference_service_is_asked_about_the_category_and_channel_of_those_that_changed_alone(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    preference = Preference()
    async with asking(preference, database, app, telemetry) as (b, people):
        ids = await b.deliveries(await b.lane(), 3)
        await people.know(ids)
        await people.change(ids[1], with_a_new_token)

        await b.send(ids)

        [query] = preference.queries
        assert (query.app_id, query.category, list(query.channels)) == (
            app.app_id,
            "transactional",
            [CHANNEL_ANDROID],
        )
        assert (query.critical, query.opt_in_required) == (False, False)


async def test_fresh_plan_is_not_looked_at_again(database: Database, app: App, telemetry: Telemetry) -> None:
    preference = Preference()
    async with asking(preference, database, app, telemetry) as (b, people):
        [id_] = await b.deliveries(await b.lane())
        await people.know([id_], planned_ago=timedelta(0))
        await people.change(id_, opted_out)

        await b.send([id_])

        assert preference.queries == []
        assert await b.state(id_) is DeliveryState.SENT


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
async def test_without_the_preference_service_nothing_in_doubt_is_sent_until_it_is_back(
    database: Database, app: App, telemetry: Telemetry, status: grpc.StatusCode
) -> None:
    preference = Preference()
    async with asking(preference, database, app, telemetry) as (b, people):
        [id_] = await b.deliveries(await b.lane(), max_attempts=1)
        await people.know([id_])
        await people.change(id_, with_a_new_token)
        preference.away = status

        await b.send([id_])

        row = await b.row(id_)
        assert (row["now"], row["tried"]) == (DeliveryState.RETRY_WAIT, 0)
        assert b.factory.sent == []
        assert b.lanes.all()[0].in_flight == 0
        preference.away = None
        await b.enqueue_again([id_])
        await b.send([id_])
        assert await b.state(id_) is DeliveryState.SENT
        assert await b.unaccounted() == 0


async def test_wishes_hold_for_a_retry_as_for_the_first_attempt(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with asking(Preference(), database, app, telemetry) as (b, people):
        b.factory.behaviour = answer_with(Result(Outcome.RETRY))
        [id_] = await b.deliveries(await b.lane())
        await people.know([id_])
        await b.send([id_])
        await people.change(id_, opted_out)

        await b.enqueue_again([id_])
        await b.send([id_])

        row = await b.row(id_)
        assert (row["now"], row["reason"], row["tried"]) == (DeliveryState.CANCELLED, Reason.WISH_CHANGED, 1)
        assert len(b.factory.sent) == 1
        assert await b.unaccounted() == 0
