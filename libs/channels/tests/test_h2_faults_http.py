"""FCM and Web Push through faults of HTTP/2 that the sandbox scripts: right outcomes, no slot lost, no stall."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from clarion_channels.outcome import Outcome

from .h2_fault_world import World, assert_true, send
from .sandbox_door import Practice, practice

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.parametrize("name", ["fcm", "webpush"])]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Practice]:
    async with practice(tmp_path_factory.mktemp("h2http")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def world(door: Practice) -> AsyncIterator[World]:
    made = World(door)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("reset", "outcome"),
    [
        ({"code": "REFUSED_STREAM", "taken": False}, Outcome.RETRY),
        ({"code": "CANCEL"}, Outcome.UNKNOWN),
        ({"code": "INTERNAL_ERROR"}, Outcome.UNKNOWN),
        ({"code": "INTERNAL_ERROR", "taken": False}, Outcome.UNKNOWN),
        ({"code": "ENHANCE_YOUR_CALM"}, Outcome.UNKNOWN),
    ],
    ids=["refused", "cancel taken", "internal taken", "internal not taken", "calm"],
)
async def test_reset_stream_ends_its_own_request_only(
    world: World, name: str, reset: dict[str, object], outcome: Outcome
) -> None:
    world.script({"fault": "reset", "after": 3, "times": 7, **reset})
    provider = await world.connect(name)
    batch = world.messages(name, 60)
    reports = await send(provider, batch)
    assert set(reports.outcomes()) <= {outcome, Outcome.ACCEPTED}
    if outcome is Outcome.UNKNOWN:  # what was refused is sent again by the HTTP client itself
        assert reports.counts() == {Outcome.UNKNOWN: 7, Outcome.ACCEPTED: 53}
    assert_true(world, batch, reports)
    assert (await send(provider, world.messages(name, 60))).counts() == {Outcome.ACCEPTED: 60}


async def test_graceful_goaway_with_answers_outstanding_loses_none_of_them(world: World, name: str) -> None:
    world.script({"fault": "goaway", "after": 40, "times": 1}, slow_ms=30)
    provider = await world.connect(name)
    batch = world.messages(name, 60)
    reports = await send(provider, batch)
    assert set(reports.outcomes()) <= {Outcome.ACCEPTED, Outcome.RETRY}
    assert reports.counts()[Outcome.ACCEPTED] >= 41, "what GOAWAY promised to answer"
    assert_true(world, batch, reports)


async def test_goaway_every_ten_requests_loses_nothing_and_repeats_nothing_that_was_taken(
    world: World, name: str
) -> None:
    world.script({"fault": "goaway", "after": 10, "taken": False})
    provider = await world.connect(name)
    everything = left = world.messages(name, 80)
    for _ in range(40):
        reports = await send(provider, left)
        assert_true(world, left, reports)
        assert set(reports.outcomes()) <= {Outcome.ACCEPTED, Outcome.RETRY}
        left = [message for message in left if reports.results[message.delivery_id].outcome is Outcome.RETRY]
        if not left:
            break
    assert sorted(world.taken(everything).values()) == [1] * 80


@pytest.mark.parametrize("taken", [True, False])
async def test_cut_connection_leaves_what_was_written_unknown(world: World, name: str, taken: bool) -> None:
    world.script({"fault": "cut", "after": 20, "times": 1, "taken": taken}, slow_ms=5)
    provider = await world.connect(name)
    batch = world.messages(name, 60)
    reports = await send(provider, batch)
    assert set(reports.outcomes()) <= {Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.RETRY}
    assert Outcome.UNKNOWN in reports.outcomes()
    assert_true(world, batch, reports)
    assert (await send(provider, world.messages(name, 60))).counts() == {Outcome.ACCEPTED: 60}


async def test_lost_answers_are_unknown_and_give_their_streams_back(world: World, name: str) -> None:
    world.script({"fault": "lost", "after": 1, "times": 10})
    provider = await world.connect(name, timeout_seconds=3, streams=20)
    batch = world.messages(name, 40)
    reports = await send(provider, batch)
    assert reports.counts() == {Outcome.UNKNOWN: 10, Outcome.ACCEPTED: 30}
    assert_true(world, batch, reports)
    assert (await send(provider, world.messages(name, 40))).counts() == {Outcome.ACCEPTED: 40}


@pytest.mark.parametrize("excess", ["close", "refuse"])
async def test_lower_stream_limit_is_kept(world: World, name: str, excess: str) -> None:
    world.script({"fault": "streams", "limit": 3, "excess": excess}, slow_ms=1)
    provider = await world.connect(name)
    batch = world.messages(name, 60)
    reports = await send(provider, batch)
    assert reports.counts() == {Outcome.ACCEPTED: 60}
    assert_true(world, batch, reports)


async def test_window_that_never_opens_again_takes_nothing_and_harms_no_later_send(world: World, name: str) -> None:
    world.script({"fault": "stall", "after_bytes": 2000, "times": 1})
    provider = await world.connect(name, timeout_seconds=2)
    rounds = []
    for _ in range(20):
        batch = world.messages(name, 60)
        reports = await send(provider, batch)
        assert_true(world, batch, reports)
        rounds.append(reports.counts() == {Outcome.ACCEPTED: 60})
        if rounds[-1] and not all(rounds):
            break
    assert rounds[-1], "another connection carries on"
    assert 1 <= rounds.count(False) <= 2, "the stalled one is left at once"


@pytest.mark.parametrize("seed", range(2))
async def test_storm_of_faults_loses_no_message_and_no_slot(world: World, name: str, seed: int) -> None:
    world.script(
        {"fault": "reset", "code": "REFUSED_STREAM", "taken": False, "ratio": 0.05, "seed": seed},
        {"fault": "reset", "code": "CANCEL", "ratio": 0.03, "seed": seed + 10},
        {"fault": "goaway", "ratio": 0.02, "seed": seed + 20},
        {"fault": "goaway", "taken": False, "ratio": 0.02, "seed": seed + 30},
        {"fault": "cut", "ratio": 0.005, "seed": seed + 40},
    )
    provider = await world.connect(name, connections=3)
    batch = world.messages(name, 150)
    reports = await send(provider, batch)
    assert_true(world, batch, reports)
    world.script()
    assert (await send(provider, world.messages(name, 150))).counts() == {Outcome.ACCEPTED: 150}
