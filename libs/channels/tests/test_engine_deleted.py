"""Accounts that were deleted: what they hold finds another account, or ends with a reason; nothing is lost."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from clarion.routing.v1.routing_service_pb2 import ChannelRoutes, Route, Target
from clarion.types.v1.channel_pb2 import CHANNEL_ANDROID
from clarion_channels.outcome import Outcome, Result
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import DeliveryState, Reason, StopReason
from clarion_ledger import admin, stops
from clarion_testkit.plugin import App, Database

from .engine_samples import SOON, Bench, Paused, answer, bench

RETRY = answer(Result(Outcome.RETRY, code="503"))


async def delete(b: Bench, name: str) -> None:
    sealer = await b.app.keys.sealer(b.app.app_id)
    assert await admin.delete_lane(b.pool, sealer, b.app.app_id, name, lambda kind, settings: b"{}")
    await b.config.refresh()


async def route(b: Bench, *names: str, country: str = "") -> None:
    targets = [Target(provider=name, rank=rank) for rank, name in enumerate(names)]
    routes = ChannelRoutes(channel=CHANNEL_ANDROID, routes=[Route(country=country, targets=targets)])
    await admin.put_routes(b.pool, b.app.app_id, routes)
    await b.config.refresh()


async def rest_in_every_state(b: Bench, ids: Sequence[UUID]) -> None:
    """Spread them over ready, enqueued, retry_wait, deferred and held."""
    resting = {
        DeliveryState.READY: "ready_since = now(), enqueued_at = NULL",
        DeliveryState.ENQUEUED: "enqueued_at = now()",
        DeliveryState.RETRY_WAIT: "due_at = now(), enqueued_at = NULL",
        DeliveryState.DEFERRED: "due_at = now(), enqueued_at = NULL",
        DeliveryState.HELD: "due_at = 'infinity', enqueued_at = NULL",
    }
    for place, id_ in enumerate(ids):
        state = list(resting)[place % len(resting)]
        await b.pool.execute(
            f"UPDATE ledger.delivery_work SET state = $2, {resting[state]} WHERE delivery_id = $1",
            id_,
            state,
        )


async def move_all(b: Bench, ids: Sequence[UUID]) -> None:
    """What the scheduler does until nothing of them rests any more."""
    for _ in range(3):
        await stops.release(b.pool, 1_000)
        flying = [id_ for id_ in ids if not (await b.state(id_)).terminal]
        await b.enqueue_again(flying)
        if flying:
            await b.send(flying)


async def lane_ids_of(b: Bench, ids: Sequence[UUID]) -> set[int]:
    rows = await b.pool.fetch("SELECT lane_id FROM ledger.delivery WHERE id = ANY ($1)", ids)
    return {row["lane_id"] for row in rows}


async def test_what_rests_on_a_deleted_account_is_sent_by_the_one_that_the_routes_give_now(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        main, other = await b.lane("main"), await b.lane("other", settings=b"other")
        await route(b, "main", "other")
        ids = await b.deliveries(main, 15)
        await rest_in_every_state(b, ids)
        await stops.stop(b.pool, main, app.app_id, StopReason.OPERATOR, "", None)
        await delete(b, "main")

        await move_all(b, ids)

        assert await b.states(ids) == [DeliveryState.SENT] * 15
        assert await lane_ids_of(b, ids) == {other}
        assert {(await b.row(id_))["tried"] for id_ in ids} == {1}
        assert b.factory.settings == [b"other"]
        assert await b.unaccounted() == 0


async def test_what_no_other_account_serves_is_dead_lettered_with_its_reason(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        main = await b.lane("main")
        await b.lane("german")
        await route(b, "main")
        ids = await b.deliveries(main, 10)
        await rest_in_every_state(b, ids)
        await delete(b, "main")

        await move_all(b, ids)

        for id_ in ids:
            row = await b.row(id_)
            assert (row["now"], row["reason"]) == (DeliveryState.DEAD_LETTERED, Reason.PROVIDER_DELETED)
            assert row["tried"] == 0
        letters = await b.pool.fetch("SELECT reason FROM ledger.dead_letter WHERE delivery_id = ANY ($1)", ids)
        assert [letter["reason"] for letter in letters] == [Reason.PROVIDER_DELETED] * 10
        assert b.factory.made == []
        assert await b.unaccounted() == 0


async def test_new_account_of_the_name_takes_over_where_the_app_has_no_routes(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        main = await b.lane("main")
        ids = await b.deliveries(main, 3)
        await delete(b, "main")
        again = await b.lane("main")

        await move_all(b, ids)

        assert again != main
        assert await b.states(ids) == [DeliveryState.SENT] * 3
        assert await lane_ids_of(b, ids) == {again}


async def test_attempt_under_way_ends_on_the_old_connection_which_is_closed_then(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = paused = Paused()
        main = await b.lane("main")
        [id_] = await b.deliveries(main)
        await b.hand_over([id_])
        await paused.reached.wait()
        await delete(b, "main")
        await b.look()
        [provider] = b.factory.made

        assert b.lanes.all() == []
        assert not provider.closed.is_set()
        paused.go.set()
        await b.settled()

        assert await b.state(id_) is DeliveryState.SENT
        assert await lane_ids_of(b, [id_]) == {main}
        async with asyncio.timeout(SOON):
            await provider.closed.wait()


async def test_attempt_that_fails_after_the_deletion_goes_on_with_the_next_account(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        reached, go = asyncio.Event(), asyncio.Event()

        async def fail_later(batch: Sequence[object], report: object) -> None:
            reached.set()
            await go.wait()
            await RETRY(batch, report)  # type: ignore[arg-type]

        b.factory.behaviour = fail_later
        main = await b.lane("main")
        [id_] = await b.deliveries(main)
        await b.hand_over([id_])
        await reached.wait()
        await delete(b, "main")
        other = await b.lane("other")
        b.factory.behaviour = Paused()
        b.factory.behaviour.go.set()
        go.set()
        await b.settled()

        await move_all(b, [id_])

        assert await b.state(id_) is DeliveryState.SENT
        assert await lane_ids_of(b, [id_]) == {other}
        assert (await b.row(id_))["tried"] == 2


async def test_stop_of_a_deleted_account_goes_and_does_not_come_back(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        main = await b.lane("main")
        await b.send(await b.deliveries(main))
        at_work = b.at_work(main)
        await stops.stop(b.pool, main, app.app_id, StopReason.BREAKER, "", timedelta(0))
        await delete(b, "main")

        b.engine._stops.stop(at_work, StopReason.CREDENTIALS, "403")
        await b.look()
        await b.look()

        assert await b.stop_of(main) is None
        assert main not in b.lanes.stopped


async def test_all_other_accounts_stopped_hold_what_a_deleted_one_had(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        main, other = await b.lane("main"), await b.lane("other")
        await route(b, "main", "other")
        ids = await b.deliveries(main, 3)
        await stops.stop(b.pool, other, app.app_id, StopReason.OPERATOR, "", None)
        await delete(b, "main")
        await b.look()

        await b.send(ids)
        await b.enqueue_again(ids)
        await b.send(ids)

        assert await b.states(ids) == [DeliveryState.HELD] * 3
        await stops.resume(b.pool, other)
        await b.look()
        await b.go_on(ids)
        assert await b.states(ids) == [DeliveryState.SENT] * 3


async def test_two_dispatchers_that_learn_of_it_at_different_times_lose_nothing(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as first, bench(database, app, telemetry) as second:
        main, other = await first.lane("main"), await first.lane("other")
        await route(first, "main", "other")
        await second.config.refresh()
        ids = await first.deliveries(main, 20)
        await delete(first, "main")  # the second has yesterday's configuration

        await asyncio.gather(first.send(ids[:10]), second.send(ids[10:]))
        await second.config.refresh()
        await move_all(first, ids)

        assert await first.states(ids) == [DeliveryState.SENT] * 20
        assert await lane_ids_of(first, ids[:10]) == {other}
        assert await lane_ids_of(first, ids[10:]) == {main}
        assert await first.unaccounted() == 0
