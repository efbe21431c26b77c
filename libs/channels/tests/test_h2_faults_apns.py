"""APNs through faults of HTTP/2 that the sandbox scripts: right outcomes, no slot lost, no stall."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from clarion_channels.outcome import Outcome
from clarion_channels.port import Provider
from clarion_channels.providers.apns import ApnsProvider

from .h2_fault_world import World, assert_true, send
from .sandbox_door import Practice, practice

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Practice]:
    async with practice(tmp_path_factory.mktemp("h2apns")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def world(door: Practice) -> AsyncIterator[World]:
    made = World(door)
    yield made
    await made.close()


def only_one_connection(world: World, *faults: dict[str, object]) -> None:
    """These faults, and a second connection would carry no request."""
    world.script({"fault": "streams", "limit": 1000, "times": 1}, {"fault": "streams", "limit": 0}, *faults)


def assert_every_stream_is_free(provider: Provider, streams: int) -> None:
    assert isinstance(provider, ApnsProvider)
    [connection] = provider._production._connections
    assert connection.free_streams == streams


async def test_three_thousand_dead_devices_on_one_connection_do_not_stall_it(world: World) -> None:
    only_one_connection(world)
    provider = await world.apns()
    batch = world.messages("apns", 3000, magic="dead410000")
    for start in range(0, 3000, 500):
        assert (await send(provider, batch[start : start + 500])).counts() == {Outcome.DEAD: 500}


async def test_one_stream_start_carries_two_hundred_concurrent_sends(world: World) -> None:
    world.script({"fault": "one_stream"}, slow_ms=5)
    provider = await world.apns()
    batch = world.messages("apns", 200)
    reports = await send(provider, batch)
    assert reports.counts() == {Outcome.ACCEPTED: 200}
    assert_true(world, batch, reports)


async def test_one_stream_start_whose_first_token_is_refused_waits_for_one_that_is_accepted(world: World) -> None:
    world.script({"fault": "one_stream"})
    provider = await world.apns()
    refused = world.messages("apns", 1, magic="dead403101")
    batch = world.messages("apns", 50)
    reports = await send(provider, [*refused, *batch])
    assert reports.counts()[Outcome.ACCEPTED] == 50


async def test_refused_token_later_brings_one_stream_back_without_losing_the_connection(world: World) -> None:
    only_one_connection(world, {"fault": "one_stream"})
    provider = await world.apns()
    assert (await send(provider, world.messages("apns", 20))).counts() == {Outcome.ACCEPTED: 20}
    await send(provider, world.messages("apns", 1, magic="dead403001"))
    assert (await send(provider, world.messages("apns", 50))).counts() == {Outcome.ACCEPTED: 50}


async def test_peer_that_allows_no_stream_at_all_gets_no_request(world: World) -> None:
    world.script({"fault": "streams", "limit": 0, "times": 1})
    provider = await world.apns(timeout_seconds=0.4)
    batch = world.messages("apns", 5)
    reports = await send(provider, batch)
    assert reports.counts() == {Outcome.RETRY: 5}
    assert_true(world, batch, reports)


@pytest.mark.parametrize("excess", ["close", "refuse"])
async def test_streams_over_a_low_limit_are_never_opened(world: World, excess: str) -> None:
    world.script({"fault": "streams", "limit": 3, "excess": excess}, slow_ms=1)
    provider = await world.apns()
    batch = world.messages("apns", 60)
    reports = await send(provider, batch)
    assert reports.counts() == {Outcome.ACCEPTED: 60}


@pytest.mark.parametrize(
    ("reset", "outcome", "code"),
    [
        ({"code": "REFUSED_STREAM", "taken": False}, Outcome.RETRY, "rst:7"),
        ({"code": "CANCEL"}, Outcome.UNKNOWN, "rst:8"),
        ({"code": "INTERNAL_ERROR"}, Outcome.UNKNOWN, "rst:2"),
        ({"code": "INTERNAL_ERROR", "taken": False}, Outcome.UNKNOWN, "rst:2"),
        ({"code": "ENHANCE_YOUR_CALM"}, Outcome.UNKNOWN, "rst:11"),
    ],
    ids=["refused", "cancel taken", "internal taken", "internal not taken", "calm"],
)
async def test_reset_stream_ends_its_own_request_only(
    world: World, reset: dict[str, object], outcome: Outcome, code: str
) -> None:
    world.script({"fault": "reset", "after": 3, "times": 7, **reset})
    provider = await world.apns()
    batch = world.messages("apns", 100)
    reports = await send(provider, batch)
    assert reports.counts() == {outcome: 7, Outcome.ACCEPTED: 93}
    assert {result.code for result in reports.results.values() if result.outcome is outcome} == {code}
    assert_true(world, batch, reports)
    assert (await send(provider, world.messages("apns", 300))).counts() == {Outcome.ACCEPTED: 300}


async def test_graceful_goaway_with_answers_outstanding_loses_none_of_them(world: World) -> None:
    world.script({"fault": "goaway", "after": 40, "times": 1, "reason": "Shutdown"}, slow_ms=30)
    provider = await world.apns()
    batch = world.messages("apns", 100)
    reports = await send(provider, batch)
    assert set(reports.outcomes()) <= {Outcome.ACCEPTED, Outcome.RETRY}
    assert reports.counts()[Outcome.ACCEPTED] >= 41, "what GOAWAY promised to answer"
    assert {result.code for result in reports.results.values() if result.outcome is Outcome.RETRY} <= {
        "goaway:Shutdown"
    }
    assert_true(world, batch, reports)


async def test_goaway_every_ten_requests_loses_nothing_and_repeats_nothing_that_was_taken(world: World) -> None:
    world.script({"fault": "goaway", "after": 10, "taken": False})
    provider = await world.apns()
    left, accepted = world.messages("apns", 100), 0
    everything = left
    for _ in range(40):
        reports = await send(provider, left)
        assert_true(world, left, reports)
        assert set(reports.outcomes()) <= {Outcome.ACCEPTED, Outcome.RETRY}
        accepted += reports.counts().get(Outcome.ACCEPTED, 0)
        left = [message for message in left if reports.results[message.delivery_id].outcome is Outcome.RETRY]
        if not left:
            break
    assert (accepted, sorted(world.taken(everything).values())) == (100, [1] * 100)


async def test_goaway_that_names_our_credentials_stops_the_lane(world: World) -> None:
    world.script({"fault": "goaway", "taken": False, "reason": "InvalidProviderToken", "times": 1})
    provider = await world.apns()
    result = (await send(provider, world.messages("apns", 1))).only()
    assert (result.outcome, result.code) == (Outcome.CRED, "goaway:InvalidProviderToken")


@pytest.mark.parametrize("taken", [True, False])
async def test_cut_connection_leaves_what_was_written_unknown(world: World, taken: bool) -> None:
    world.script({"fault": "cut", "after": 20, "times": 1, "taken": taken}, slow_ms=5)
    provider = await world.apns()
    batch = world.messages("apns", 60)
    reports = await send(provider, batch)
    assert set(reports.outcomes()) <= {Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.RETRY}
    assert Outcome.UNKNOWN in reports.outcomes()
    assert_true(world, batch, reports)
    assert (await send(provider, world.messages("apns", 60))).counts() == {Outcome.ACCEPTED: 60}


async def test_lost_answers_are_unknown_and_give_their_streams_back(world: World) -> None:
    world.script({"fault": "lost", "after": 1, "times": 30})
    provider = await world.apns(timeout_seconds=3, max_streams=50)
    batch = world.messages("apns", 100)
    reports = await send(provider, batch)
    assert reports.counts() == {Outcome.UNKNOWN: 30, Outcome.ACCEPTED: 70}
    assert_true(world, batch, reports)
    assert_every_stream_is_free(provider, 50)


async def test_window_that_never_opens_again_is_safe_to_retry_and_the_next_send_goes_elsewhere(world: World) -> None:
    world.script({"fault": "stall", "after_bytes": 2000, "times": 1})
    provider = await world.apns(timeout_seconds=2)
    for _ in range(20):
        batch = world.messages("apns", 100)
        reports = await send(provider, batch)
        assert_true(world, batch, reports)
        if reports.counts() != {Outcome.ACCEPTED: 100}:
            break
    assert set(reports.outcomes()) == {Outcome.ACCEPTED, Outcome.RETRY}
    assert (await send(provider, world.messages("apns", 100))).counts() == {Outcome.ACCEPTED: 100}


async def test_peer_that_answers_no_ping_is_left_and_the_next_send_finds_another_connection(world: World) -> None:
    world.script({"fault": "deaf", "times": 1})
    provider = await world.apns(ping_seconds=1)
    assert (await send(provider, world.messages("apns", 1))).counts() == {Outcome.ACCEPTED: 1}
    assert isinstance(provider, ApnsProvider)
    [connection] = provider._production._connections
    await asyncio.wait_for(connection.closed.wait(), 10)
    assert (await send(provider, world.messages("apns", 1))).counts() == {Outcome.ACCEPTED: 1}


@pytest.mark.parametrize("seed", range(3))
async def test_storm_of_faults_loses_no_message_and_no_slot(world: World, seed: int) -> None:
    world.script(
        {"fault": "reset", "code": "REFUSED_STREAM", "taken": False, "ratio": 0.05, "seed": seed},
        {"fault": "reset", "code": "CANCEL", "ratio": 0.03, "seed": seed + 10},
        {"fault": "goaway", "ratio": 0.02, "seed": seed + 20},
        {"fault": "goaway", "taken": False, "ratio": 0.02, "seed": seed + 30},
        {"fault": "cut", "ratio": 0.005, "seed": seed + 40},
        {"fault": "one_stream"},
    )
    provider = await world.apns(max_connections=3)
    batch = world.messages("apns", 500)
    reports = await send(provider, batch)
    assert_true(world, batch, reports)
    world.script()
    assert (await send(provider, world.messages("apns", 500))).counts() == {Outcome.ACCEPTED: 500}
