"""Accounts at work: made when needed, replaced when changed, held where they cannot be used."""

import asyncio
from datetime import timedelta

import pytest
from pydantic import BaseModel

from clarion_channels.engine.lanes import LaneUnknown, provider_factories
from clarion_channels.port import ProviderUnavailable
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import DeliveryState
from clarion_testkit.plugin import App, Database

from .engine_samples import Paused, ScriptedFactory, bench


class NeedsKey(BaseModel):
    key: str


async def test_changed_account_gets_a_new_provider_and_the_old_one_closes_after_its_work(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = paused = Paused()
        lane_id = await b.lane(settings=b"old")
        first, second = await b.deliveries(lane_id, 2)
        await b.hand_over([first])
        await paused.reached.wait()
        b.factory.behaviour = changed = Paused()
        await b.lane(settings=b"new")

        await b.hand_over([second])
        await changed.reached.wait()
        changed.go.set()
        old, _ = b.factory.made
        assert not old.closed.is_set()

        paused.go.set()
        await asyncio.wait_for(old.closed.wait(), 5)
        await b.settled()

        assert b.factory.settings == [b"old", b"new"]
        assert await b.states([first, second]) == [DeliveryState.SENT] * 2
        assert [lane.provider for lane in b.lanes.all()] == [b.factory.made[1]]


async def test_account_changed_twice_while_its_provider_is_made_ends_with_the_newest(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        reached, go = asyncio.Event(), asyncio.Event()

        async def slowly() -> None:
            reached.set()
            await go.wait()

        b.factory.before = slowly
        lane_id = await b.lane(settings=b"first")
        making = asyncio.create_task(b.lanes.get(lane_id))
        await reached.wait()
        waiting = [asyncio.create_task(b.lanes.get(lane_id)) for _ in range(3)]
        await b.lane(settings=b"second")
        waiting += [asyncio.create_task(b.lanes.get(lane_id)) for _ in range(3)]
        go.set()
        async with asyncio.timeout(5):
            await asyncio.gather(making, *waiting)

        assert b.factory.settings == [b"first", b"second"]


async def test_unchanged_account_keeps_its_provider(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id = await b.lane()
        ids = await b.deliveries(lane_id, 30)

        await asyncio.gather(*(b.send(ids[start : start + 10]) for start in range(0, 30, 10)))

        assert len(b.factory.made) == 1


async def test_account_put_a_moment_ago_is_found(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        await b.lane("first")
        before = b.config.snapshot
        lane_id = await b.lane("second")
        b.config.snapshot = before  # as the cache stands until its next look

        [id_] = await b.deliveries(lane_id)
        await b.send([id_])

        assert await b.state(id_) is DeliveryState.SENT


async def test_settings_that_cannot_be_opened_hold_the_deliveries(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id = await b.lane()
        await b.pool.execute("UPDATE ledger.lane SET settings = 'rubbish' WHERE lane_id = $1", lane_id)
        await b.config.refresh()
        ids = await b.deliveries(lane_id, 2)

        await b.send(ids)

        assert await b.states(ids) == [DeliveryState.HELD] * 2
        assert [(await b.row(id_))["tried"] for id_ in ids] == [0, 0]
        assert await b.unaccounted() == 0


@pytest.mark.parametrize(
    "fault", ["faulty settings", "away", "no file", "defect", "unknown kind", "too slow", "other channel"]
)
async def test_account_without_a_provider_holds_its_deliveries(
    database: Database, app: App, telemetry: Telemetry, fault: str
) -> None:
    async with bench(database, app, telemetry) as b:

        async def fail() -> None:
            if fault == "faulty settings":
                NeedsKey.model_validate({})
            if fault == "away":
                raise ProviderUnavailable("nobody there")
            if fault == "no file":
                raise FileNotFoundError("ca.pem")
            if fault == "defect":
                raise TypeError("a plug-in's")

        b.factory.before = fail
        if fault == "too slow":
            b.factory.timeout = timedelta(seconds=81)
        lane_id = await b.lane(kind="pigeon" if fault == "unknown kind" else "scripted")
        if fault == "other channel":
            await b.pool.execute("UPDATE ledger.lane SET channel = 1 WHERE lane_id = $1", lane_id)
            await b.config.refresh()
        [id_] = await b.deliveries(lane_id)

        await b.send([id_])

        assert await b.state(id_) is DeliveryState.HELD
        assert b.factory.sent == []
        assert all(provider.closed.is_set() for provider in b.factory.made)


async def test_unknown_account_is_told_from_an_unusable_one(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        with pytest.raises(LaneUnknown):
            await b.lanes.get(1 << 30)


async def test_closing_closes_every_provider(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        await b.send(await b.deliveries(await b.lane("a")) + await b.deliveries(await b.lane("b")))

        await b.lanes.close()

        assert [provider.closed.is_set() for provider in b.factory.made] == [True, True]
        assert b.lanes.all() == []


def test_installed_providers_are_found_and_can_be_replaced() -> None:
    mine = ScriptedFactory()

    found = provider_factories({"smtp": mine, "carrier-pigeon": mine})

    assert {"apns", "fcm", "webpush", "smpp", "smtp", "carrier-pigeon"} <= set(found)
    assert found["smtp"] is found["carrier-pigeon"] is mine
    assert found["fcm"] is not mine
