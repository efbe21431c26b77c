"""The configuration cache against a real Postgres."""

from datetime import timedelta

import pytest

from clarion.category.v1.category_service_pb2 import Category, GateAction, Guarantee
from clarion.routing.v1.routing_service_pb2 import ChannelRoutes
from clarion.types.v1 import channel_pb2
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.vocabulary import Channel
from clarion_ledger import admin
from clarion_ledger.config import Cap, ConfigCache, Route, Target, category_rule
from clarion_testkit.plugin import App, Database


async def test_snapshot_is_read_anew_only_after_a_change(database: Database, app: App) -> None:
    cache = ConfigCache(database.pool, with_lanes=True)

    assert await cache.refresh()
    assert not await cache.refresh()
    first = cache.snapshot
    await database.pool.execute("UPDATE ledger.app SET enabled = false WHERE app_id = $1", app.app_id)
    assert await cache.refresh()

    assert (first.enabled_apps, cache.snapshot.enabled_apps) == (frozenset({app.app_id}), frozenset())
    assert cache.snapshot.revision > first.revision


async def test_new_app_has_its_default_categories(database: Database, app: App) -> None:
    cache = ConfigCache(database.pool, with_lanes=False)
    await cache.refresh()

    security = cache.snapshot.categories[app.app_id, "security"]
    marketing = cache.snapshot.categories[app.app_id, "marketing"]

    assert (security.critical, security.at_most_once, security.max_attempts) == (True, True, 5)
    assert security.time_to_live == timedelta(minutes=10)
    assert (marketing.at_most_once, marketing.caps) == (False, (Cap(None, 10, timedelta(days=1)),))
    assert cache.snapshot.categories_by_id[marketing.category_id] is marketing
    assert cache.snapshot.app_names == {"shop": app.app_id}


async def test_category_is_stored_and_replaced_under_one_id(database: Database, app: App) -> None:
    category = Category(name="news", channels=[channel_pb2.CHANNEL_IOS], opt_in_required=True)
    first = await admin.put_category(database.pool, app.app_id, category)
    category.max_attempts = 2
    second = await admin.put_category(database.pool, app.app_id, category)
    cache = ConfigCache(database.pool, with_lanes=False)
    await cache.refresh()

    rule = cache.snapshot.categories[app.app_id, "news"]

    assert first == second == rule.category_id
    assert (rule.channels, rule.opt_in_required, rule.max_attempts) == (frozenset({Channel.IOS}), True, 2)


def test_category_without_anything_set_has_the_defaults() -> None:
    rule = category_rule(7, 1, Category(name="plain"))

    assert (rule.time_to_live, rule.max_attempts) == (timedelta(hours=24), 8)
    assert (rule.critical, rule.at_most_once, rule.opt_in_required) == (False, False, False)
    assert (rule.channels, rule.caps) == (frozenset(), ())


def test_category_says_what_happens_over_its_cap_and_how_often_it_is_sent() -> None:
    category = Category(
        name="codes", guarantee=Guarantee.GUARANTEE_AT_MOST_ONCE, cap_action=GateAction.GATE_ACTION_DEFER
    )
    cap = category.caps.add(limit=3, channel=channel_pb2.CHANNEL_SMS)
    cap.window.FromTimedelta(timedelta(hours=1))

    rule = category_rule(7, 1, category)

    assert (rule.at_most_once, rule.defer_over_cap) == (True, True)
    assert rule.caps == (Cap(Channel.SMS, 3, timedelta(hours=1)),)


async def test_lane_is_sealed_and_its_revision_counts_changes(database: Database, app: App) -> None:
    sealer = await app.keys.sealer(app.app_id)
    first = await admin.put_lane(
        database.pool, sealer, app.app_id, "main", "fcm", Channel.ANDROID, b'{"secret": 1}', enabled=True
    )
    second = await admin.put_lane(
        database.pool, sealer, app.app_id, "main", "fcm", Channel.ANDROID, b'{"secret": 2}', enabled=True
    )
    cache = ConfigCache(database.pool, with_lanes=True)
    await cache.refresh()

    lane = cache.snapshot.lanes[first]

    assert first == second
    assert (lane.revision, lane.channel, lane.kind) == (2, Channel.ANDROID, "fcm")
    assert b"secret" not in lane.settings
    assert sealer.open("lane", b"main", "settings", lane.settings) == b'{"secret": 2}'
    assert "secret" not in repr(lane)


async def test_disabled_lane_serves_nobody(database: Database, app: App) -> None:
    sealer = await app.keys.sealer(app.app_id)
    for name, enabled in (("on", True), ("off", False)):
        await admin.put_lane(database.pool, sealer, app.app_id, name, "fcm", Channel.ANDROID, b"{}", enabled=enabled)
    cache = ConfigCache(database.pool, with_lanes=True)
    await cache.refresh()

    assert [lane.name for lane in cache.snapshot.lanes_of(app.app_id, Channel.ANDROID)] == ["on"]
    assert cache.snapshot.lanes_of(app.app_id, Channel.IOS) == []
    assert cache.snapshot.lanes_of(app.app_id + 1, Channel.ANDROID) == []


async def test_routes_name_lanes_by_id(database: Database, app: App) -> None:
    sealer = await app.keys.sealer(app.app_id)
    lane_id = await admin.put_lane(database.pool, sealer, app.app_id, "main", "smpp", Channel.SMS, b"{}", enabled=True)
    routes = ChannelRoutes(channel=channel_pb2.CHANNEL_SMS)
    route = routes.routes.add(country="DE", by_receipts=True)
    route.targets.add(provider="main")
    await admin.put_routes(database.pool, app.app_id, routes)
    cache = ConfigCache(database.pool, with_lanes=True)
    await cache.refresh()

    assert cache.snapshot.routes[app.app_id, Channel.SMS] == (Route("DE", "", (Target(lane_id, 100),), True),)


async def test_route_to_an_unknown_provider_is_refused(database: Database, app: App) -> None:
    routes = ChannelRoutes(channel=channel_pb2.CHANNEL_SMS)
    routes.routes.add().targets.add(provider="nobody")

    with pytest.raises(DomainError) as refused:
        await admin.put_routes(database.pool, app.app_id, routes)

    assert refused.value.reason is ErrorReason.PROVIDER_NOT_FOUND
    assert refused.value.metadata == {"provider": "nobody"}
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.route") == 0


async def test_daemon_without_lanes_reads_none(database: Database, app: App) -> None:
    sealer = await app.keys.sealer(app.app_id)
    await admin.put_lane(database.pool, sealer, app.app_id, "main", "fcm", Channel.ANDROID, b"{}", enabled=True)
    cache = ConfigCache(database.pool, with_lanes=False)

    await cache.refresh()

    assert (cache.snapshot.lanes, cache.snapshot.routes) == ({}, {})
