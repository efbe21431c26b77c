"""Provider accounts from their making to their end, against a real Postgres."""

import asyncio
import json
from datetime import timedelta
from uuid import UUID

import pytest

from clarion.routing.v1.routing_service_pb2 import ChannelRoutes, Route, Target
from clarion.types.v1.channel_pb2 import CHANNEL_ANDROID
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.vocabulary import Channel, DeliveryState, Reason, StopReason
from clarion_ledger import admin, stops
from clarion_ledger.config import ConfigCache, LaneConfig
from clarion_ledger.db import pool
from clarion_ledger.dead_letters import LetterFilter, page
from clarion_ledger.dispatching import Record, record
from clarion_testkit.plugin import App, Database

from .ledger_samples import leased

SECRET = b'{"key": "hunter2", "topic": "arn"}'


def keep_topic(kind: str, settings: bytes) -> bytes:
    """What a deleted account keeps, in these tests."""
    assert kind == "fcm"
    return json.dumps({"topic": json.loads(settings)["topic"]}).encode()


async def put(database: Database, app: App, name: str = "main", channel: Channel = Channel.ANDROID) -> int:
    sealer = await app.keys.sealer(app.app_id)
    return await admin.put_lane(database.pool, sealer, app.app_id, name, "fcm", channel, SECRET, enabled=True)


async def delete(database: Database, app: App, name: str = "main") -> bool:
    sealer = await app.keys.sealer(app.app_id)
    return await admin.delete_lane(database.pool, sealer, app.app_id, name, keep_topic)


async def route(database: Database, app: App, *routes: Route) -> None:
    await admin.put_routes(database.pool, app.app_id, ChannelRoutes(channel=CHANNEL_ANDROID, routes=routes))


async def configured(database: Database, lane_id: int) -> LaneConfig:
    cache = ConfigCache(database.pool, with_lanes=True)
    await cache.refresh()
    return cache.snapshot.lanes[lane_id]


async def test_deleted_account_is_gone_from_lists_and_routing_and_known_for_receipts(
    database: Database, app: App
) -> None:
    lane_id, other = await put(database, app), await put(database, app, "other")
    before = await configured(database, lane_id)

    assert await delete(database, app)

    assert [lane.lane_id for lane in await admin.lanes(database.pool, app.app_id)] == [other]
    after = await configured(database, lane_id)
    assert (after.deleted, after.enabled, after.name) == (True, False, f"main~{lane_id}")
    assert after.revision > before.revision
    cache = ConfigCache(database.pool, with_lanes=True)
    await cache.refresh()
    assert [lane.lane_id for lane in cache.snapshot.lanes_of(app.app_id, Channel.ANDROID)] == [other]


async def test_credentials_of_a_deleted_account_are_destroyed_and_the_rest_can_be_opened(
    database: Database, app: App
) -> None:
    lane_id = await put(database, app)
    await delete(database, app)

    lane = await configured(database, lane_id)

    sealer = await app.keys.sealer(app.app_id)
    assert json.loads(sealer.open("lane", lane.name.encode(), "settings", lane.settings)) == {"topic": "arn"}


async def test_account_whose_settings_nobody_can_open_is_deleted_all_the_same(database: Database, app: App) -> None:
    lane_id = await put(database, app)
    await database.pool.execute("UPDATE ledger.lane SET settings = 'rubbish' WHERE lane_id = $1", lane_id)

    assert await delete(database, app)

    lane = await configured(database, lane_id)
    sealer = await app.keys.sealer(app.app_id)
    assert sealer.open("lane", lane.name.encode(), "settings", lane.settings) == b"{}"


async def test_deleting_twice_is_as_deleting_once_and_what_never_was_is_told(database: Database, app: App) -> None:
    await put(database, app)

    assert [await delete(database, app), await delete(database, app)] == [True, True]
    assert not await delete(database, app, "other")
    assert not await delete(database, app, "mai")


async def test_name_of_a_deleted_account_is_free_and_the_new_one_has_a_life_of_its_own(
    database: Database, app: App
) -> None:
    first = await put(database, app)
    await route(database, app, Route(targets=[Target(provider="main")]))
    await delete(database, app)

    second = await put(database, app)

    assert second != first
    [lane] = await admin.lanes(database.pool, app.app_id)
    assert (lane.lane_id, lane.revision) == (second, 1)
    [routes] = await admin.routes(database.pool, app.app_id)
    assert [list(one.targets) for one in routes.routes] == [[]]
    assert await delete(database, app)
    assert await admin.lanes(database.pool, app.app_id) == []


async def test_targets_leave_the_routes_and_an_empty_route_stays(database: Database, app: App) -> None:
    await put(database, app)
    await put(database, app, "other")
    main, other = Target(provider="main", weight=30), Target(provider="other", rank=1)
    await route(database, app, Route(country="DE", targets=[main]), Route(targets=[main, other]))

    await delete(database, app)

    [routes] = await admin.routes(database.pool, app.app_id)
    assert [(one.country, list(one.targets)) for one in routes.routes] == [("DE", []), ("", [other])]


async def test_deleted_account_cannot_be_stopped_or_routed_to(database: Database, app: App) -> None:
    lane_id = await put(database, app)
    await stops.stop(database.pool, lane_id, app.app_id, StopReason.BREAKER, "", timedelta(0))
    await delete(database, app)
    assert await stops.stopped(database.pool) == {}

    await stops.stop(database.pool, lane_id, app.app_id, StopReason.CREDENTIALS, "", timedelta(0))
    with pytest.raises(DomainError) as unknown:
        await route(database, app, Route(targets=[Target(provider="main")]))

    assert await stops.stopped(database.pool) == {}
    assert unknown.value.reason is ErrorReason.PROVIDER_NOT_FOUND


async def test_letters_of_a_deleted_account_are_found_by_the_name_it_had(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)
    name = await database.pool.fetchval("SELECT name FROM ledger.lane WHERE lane_id = $1", claimed.lane_id)
    await record(database.pool, [Record(claimed, DeliveryState.DEAD_LETTERED, Reason.PROVIDER_DELETED, tried=False)])
    await delete(database, app, name)

    [letter] = await page(
        database.pool, app.app_id, size=9, before=UUID(int=2**128 - 1), wanted=LetterFilter(lane=name)
    )

    assert (letter.delivery_id, letter.lane) == (claimed.delivery_id, f"{name}~{claimed.lane_id}")


async def test_account_keeps_its_channel(database: Database, app: App) -> None:
    lane_id = await put(database, app)

    with pytest.raises(DomainError) as taken:
        await put(database, app, channel=Channel.SMS)

    assert taken.value.reason is ErrorReason.NAME_TAKEN
    assert (await configured(database, lane_id)).channel is Channel.ANDROID


async def test_puts_deletes_stops_and_routes_at_once_end_in_one_order(database: Database, app: App) -> None:
    """Whatever comes first: no deadlock, at most one account of the name, none that is gone is stopped or routed to."""
    url = f"{database.url}?role=clarion_gateway"
    async with pool(url, size=8, application="test") as connections:
        gateway = Database(url, connections)
        await put(gateway, app, "other")

        async def put_and_stop() -> None:
            lane_id = await put(gateway, app)
            await stops.stop(connections, lane_id, app.app_id, StopReason.BREAKER, "", timedelta(0))

        async def name_it() -> None:
            try:
                await route(gateway, app, Route(targets=[Target(provider="main"), Target(provider="other")]))
            except DomainError as refused:
                if refused.reason is not ErrorReason.PROVIDER_NOT_FOUND:
                    raise

        for _ in range(8):
            async with asyncio.timeout(10):
                await asyncio.gather(
                    put_and_stop(), name_it(), delete(gateway, app), name_it(), put_and_stop(), delete(gateway, app)
                )
        await delete(gateway, app)

        [other] = await admin.lanes(connections, app.app_id)
        assert other.name == "other"
        assert await stops.stopped(connections) == {}
        named = {
            target.provider
            for routes in await admin.routes(connections, app.app_id)
            for one in routes.routes
            for target in one.targets
        }
        assert named <= {"other"}
