"""Credentials of accounts at work, through the sandbox: replaced under traffic, and refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from clarion_channels.engine.lanes import provider_factories
from clarion_kit.sealing import KeyWrapper
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import DeliveryState, StopReason
from clarion_ledger import stops
from clarion_ledger.db import pool
from clarion_sandbox.faults import FaultRule, FaultRules
from clarion_testkit.plugin import App, Database

from .live_engine import live, new_app
from .practice_accounts import KINDS, Kind
from .sandbox_door import Practice, practice

REFUSED = [name for name in KINDS if name != "webpush"]
"""A wrong VAPID key looks like dead subscriptions: it has a test of its own."""
REPLACED = ["apns", "fcm", "smpp", "smtp"]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def database(engine_url: str) -> AsyncIterator[Database]:
    """As everywhere, on the loop of the sandboxes."""
    async with pool(engine_url, size=4, application="test") as connections:
        await connections.execute("DELETE FROM ledger.lane_stop")
        yield Database(engine_url, connections)


@pytest_asyncio.fixture(loop_scope="module")
async def app(database: Database, kek: KeyWrapper) -> App:
    return await new_app(database.pool, kek)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Practice, Practice]]:
    """Two sandboxes: the keys of one are refused by the other."""
    async with AsyncExitStack() as stack:
        old, new = tmp_path_factory.mktemp("old"), tmp_path_factory.mktemp("new")
        yield await stack.enter_async_context(practice(old)), await stack.enter_async_context(practice(new))


def taken(door: Practice, kind: Kind, since: int = 0) -> int:
    """How many messages the sandbox has accepted from this kind of provider."""
    lines = [json.loads(line) for line in door.sandbox.ledger.read(since, 10_000).splitlines()]
    return sum(1 for line in lines if line["provider"] == kind.name and line["accepted"])


@pytest.mark.parametrize("name", REPLACED)
async def test_replaced_key_is_used_at_once_and_what_the_old_one_sends_is_finished(
    name: str, doors: tuple[Practice, Practice], database: Database, app: App, telemetry: Telemetry
) -> None:
    kind, (old, new) = KINDS[name], doors
    before = taken(old, kind), taken(new, kind)
    old.sandbox.faults.replace(FaultRules(faults=[FaultRule.model_validate({"provider": name, "latency_ms": 50})]))
    async with live(database, app, telemetry, kind.channel) as b:
        lane_id = await b.put(name, kind.settings(old))
        ids = await b.planned(lane_id, [(kind.reach(old, ""), kind.content()) for _ in range(60)])
        await b.hand_over(ids[:30])
        at_work = (await b.lanes.get(lane_id)).provider

        assert await b.put(name, kind.settings(new)) == lane_id
        await asyncio.gather(*(b.hand_over(ids[start : start + 10]) for start in range(30, 60, 10)))
        await b.settled()

        assert {(row["state"], row["tried"]) for row in await b.rows(ids)} == {(DeliveryState.SENT, 1)}
        assert (await b.lanes.get(lane_id)).provider is not at_work
        assert await stops.stopped(b.pool) == {}
        assert await b.unaccounted() == 0
    assert (taken(old, kind) - before[0], taken(new, kind) - before[1]) == (30, 30)


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_credentials_stop_the_account_and_burn_nothing(
    name: str, doors: tuple[Practice, Practice], database: Database, app: App, telemetry: Telemetry
) -> None:
    kind, (door, _) = KINDS[name], doors
    door.sandbox.faults.replace(FaultRules())
    async with live(database, app, telemetry, kind.channel) as b:
        lane_id = await b.put(name, kind.refused_settings(door))
        ids = await b.planned(lane_id, [(kind.reach(door, ""), kind.content()) for _ in range(8)])

        await b.send(ids)
        await b.look()

        stop = (await stops.stopped(b.pool))[lane_id]
        assert stop.reason is StopReason.CREDENTIALS
        assert stop.detail
        assert {(row["state"], row["tried"]) for row in await b.rows(ids)} == {(DeliveryState.HELD, 0)}
        assert b.dead == []

        await b.put(name, kind.settings(door))
        await b.look()
        assert await stops.stopped(b.pool) == {}
        await b.go_on(ids)

        assert {(row["state"], row["tried"]) for row in await b.rows(ids)} == {(DeliveryState.SENT, 1)}
        assert await b.unaccounted() == 0


async def test_wrong_vapid_key_stops_the_account_before_a_subscription_is_given_up(
    doors: tuple[Practice, Practice], database: Database, app: App, telemetry: Telemetry
) -> None:
    kind, (door, _) = KINDS["webpush"], doors
    door.sandbox.faults.replace(FaultRules())
    async with live(database, app, telemetry, kind.channel) as b:
        lane_id = await b.put("webpush", kind.refused_settings(door))
        ids = await b.planned(lane_id, [(kind.reach(door, ""), kind.content()) for _ in range(120)])

        await b.send(ids)
        await b.look()

        assert (await stops.stopped(b.pool))[lane_id].reason is StopReason.DEAD_JUMP
        assert DeliveryState.HELD in await b.states(ids)
        assert b.dead == []


async def test_vapid_token_that_push_services_refuse_stops_the_account(
    doors: tuple[Practice, Practice], database: Database, app: App, telemetry: Telemetry
) -> None:
    kind, (door, _) = KINDS["webpush"], doors
    door.sandbox.faults.replace(FaultRules(faults=[FaultRule(provider="webpush", answer="4010")]))
    async with live(database, app, telemetry, kind.channel) as b:
        lane_id = await b.put("webpush", kind.settings(door))
        ids = await b.planned(lane_id, [(kind.reach(door, ""), kind.content()) for _ in range(8)])

        await b.send(ids)
        await b.look()

        assert (await stops.stopped(b.pool))[lane_id].reason is StopReason.CREDENTIALS
        assert {(row["state"], row["tried"]) for row in await b.rows(ids)} == {(DeliveryState.HELD, 0)}


async def test_every_installed_kind_is_tried() -> None:
    assert set(REFUSED) | {"webpush"} == set(provider_factories()) & set(KINDS)
