"""Two replicas of every daemon: one may die, freeze or be replaced, and calls go on."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from clarion_client import Content
from clarion_kit import crash
from clarion_local.replicas import arrange, counts, target
from clarion_local.stack import Options, Stack
from clarion_testkit.shop import Shop, open_shop

GRACE = timedelta(seconds=15)
CALLS = 20


def test_a_mapping_leaves_the_other_daemons_one_replica() -> None:
    wanted = counts({"planner": 3})

    assert wanted["planner"] == 3
    assert {count for daemon, count in wanted.items() if daemon != "planner"} == {1}


def test_a_daemon_without_a_replica_is_refused() -> None:
    with pytest.raises(ValueError, match="replica"):
        counts({"planner": 0})
    with pytest.raises(KeyError):
        counts({"plannr": 2})


def test_replicas_are_numbered_and_listen_apart(tmp_path: Path) -> None:
    places = arrange({"planner": 2}, tmp_path)

    planners = [place for place in places if place.daemon == "planner"]
    assert [place.name for place in planners] == ["planner/1", "planner/2"]
    assert len({place.grpc_port for place in places}) == len(places)
    assert target(planners) == f"ipv4:{planners[0].listen},{planners[1].listen}"
    assert [place.name for place in places if place.daemon == "tracker"] == ["tracker"]


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    options = Options(tmp_path, replicas={"gateway": 2, "preference": 2})
    async with Stack.start(options) as started:
        yield started


async def call(shop: Shop) -> None:
    """Calls that the gateway answers and calls that it forwards, round robin over its replicas and their peers."""
    for _ in range(CALLS):
        await shop.client.categories.list()
        await shop.client.recipients.upsert(shop.everywhere("u1"))


@pytest.mark.timeout(90)
async def test_calls_go_on_while_replicas_are_killed_frozen_and_replaced(stack: Stack) -> None:
    fleet = stack.fleet
    async with open_shop(stack, "shop") as shop:
        await call(shop)
        before = fleet.pid("gateway/1")

        for name in fleet.names("gateway") + fleet.names("preference"):
            await fleet.kill(name)
            await call(shop)
            await fleet.start(name)

        stack.check()
        assert fleet.pid("gateway/1") != before
        fleet.freeze("preference/1")
        assert fleet.running("preference/1")
        assert await fleet.stop("preference/1", GRACE) == 0
        await call(shop)


@pytest.mark.timeout(90)
async def test_replica_ends_at_the_crash_point_it_was_started_with(stack: Stack) -> None:
    fleet = stack.fleet
    async with open_shop(stack, "shop") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))
        await fleet.kill("gateway/1")
        await fleet.start("gateway/1", {"CLARION_CRASH_POINT": "accept.after_commit"}, may_end=True)
        with pytest.raises(RuntimeError):
            await fleet.start("gateway/1")

        for n in range(4):
            await shop.client.send(
                event_id=f"e{n}", recipients=["u1"], category="transactional", content=Content(sms="Hello")
            )

        assert await fleet.until_ended("gateway/1") == crash.EXIT_STATUS
        stack.check()
