"""Another account of the app takes over, where its routes say so."""

from clarion.provider.v1.provider_service_pb2 import Breaker, Limits
from clarion.routing.v1.routing_service_pb2 import ChannelRoutes, Route, Target
from clarion_channels.outcome import Outcome, Result
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Channel, DeliveryState, StopReason
from clarion_ledger import admin, stops
from clarion_testkit.plugin import App, Database

from .engine_samples import ACCEPT, Bench, answer, bench

FAIL = answer(Result(Outcome.RETRY, code="503"))
LOST = answer(Result(Outcome.UNKNOWN, code="timeout"))


async def two_lanes(b: Bench) -> tuple[int, int]:
    """A first account and one that stands by."""
    first, second = await b.lane("first", limits=Limits(breaker=Breaker(min_attempts=5))), await b.lane("second")
    targets = [Target(provider="first"), Target(provider="second", rank=1)]
    routes = ChannelRoutes(channel=Channel.ANDROID, routes=[Route(targets=targets)])  # type: ignore[arg-type]
    await admin.put_routes(b.pool, b.app.app_id, routes)
    await b.config.refresh()
    return first, second


async def test_failed_attempt_goes_on_through_the_next_account_and_is_recorded_for_its_own(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        first, second = await two_lanes(b)
        b.factory.behaviour = FAIL
        [id_] = await b.deliveries(first)

        await b.send([id_])
        row = await b.pool.fetchrow("SELECT lane_id, state FROM ledger.delivery_work WHERE delivery_id = $1", id_)
        b.factory.behaviour = ACCEPT
        await b.enqueue_again([id_])
        await b.send([id_])

        assert row is not None
        assert (row["lane_id"], row["state"]) == (second, DeliveryState.RETRY_WAIT)
        attempts = await b.pool.fetch("SELECT lane_id FROM ledger.attempt WHERE delivery_id = $1 ORDER BY attempt", id_)
        assert [attempt["lane_id"] for attempt in attempts] == [first, second]
        assert await b.pool.fetchval("SELECT lane_id FROM ledger.delivery WHERE id = $1", id_) == second
        assert await b.unaccounted() == 0


async def test_what_a_stopped_account_would_hold_goes_to_the_next(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        first, second = await two_lanes(b)
        await stops.stop(b.pool, first, b.app.app_id, StopReason.OPERATOR, "maintenance", None)
        await b.look()
        ids = await b.deliveries(first, 3)

        await b.send(ids)
        rows = await b.pool.fetch(
            "SELECT lane_id, state, attempt FROM ledger.delivery_work WHERE delivery_id = ANY ($1)", ids
        )

        assert [tuple(row) for row in rows] == [(second, DeliveryState.READY, 0)] * 3
        assert await b.unaccounted() == 0


async def test_with_every_account_stopped_deliveries_are_held(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        for lane_id in (lanes := await two_lanes(b)):
            await stops.stop(b.pool, lane_id, b.app.app_id, StopReason.OPERATOR, "maintenance", None)
        await b.look()
        ids = await b.deliveries(lanes[0], 2)

        await b.send(ids)

        assert await b.states(ids) == [DeliveryState.HELD] * 2


async def test_lost_answer_stays_with_the_account_that_may_have_sent_it(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        first, _ = await two_lanes(b)
        b.factory.behaviour = LOST
        [id_] = await b.deliveries(first)

        await b.send([id_])

        assert await b.pool.fetchval("SELECT lane_id FROM ledger.delivery_work WHERE delivery_id = $1", id_) == first
