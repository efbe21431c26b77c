"""No single point of failure (row 30): of two replicas of each daemon either may die, and both take part in the work."""

import asyncio
import re
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
import pytest_asyncio

from clarion.category.v1.category_service_pb2 import Category
from clarion_client import AsyncClient, Channel, Notification, Priority
from clarion_kit import mesh
from clarion_kit.vocabulary import DeliveryState

from . import shop
from .gap import Gap
from .world import World, open_world

# What a replica counts, and for monitors, which only look, when they last did.
_SAMPLE = re.compile(
    r"^((?:clarion|rpc)_\w+?(?:_total|_count)|clarion_monitor_last_look_timestamp_seconds)(?:\{[^}]*\})? ([0-9.e+]+)$",
    re.MULTILINE,
)
_SENDS = 20
_SCHEDULED = 100
_CAPPED = 400
_ENDS_WITHIN_SECONDS = 60.0

pytestmark = [pytest.mark.chaos, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with open_world(tmp_path_factory.mktemp("replicas")) as opened:
        yield opened


async def send(client: AsyncClient, marks: str) -> set[str]:
    """Some of every channel, each by a call of its own; the ids they got. Raises ClarionError if a caller sees a fault."""
    random = Random(marks)
    return {(await client.send(shop.drawn(random, f"{marks}-{number}"))).notification_id for number in range(_SENDS)}


async def all_ended(world: World) -> None:
    gap = Gap(world.pool)
    looking = asyncio.create_task(gap.run())
    try:
        await gap.closed(_ENDS_WITHIN_SECONDS)
    finally:
        looking.cancel()
        await asyncio.wait([looking])


def work_done(metrics_url: str) -> float:
    """Everything a replica counts, added up."""
    with urllib.request.urlopen(metrics_url, timeout=10) as answer:
        text = answer.read().decode()
    return sum(float(value) for _, value in _SAMPLE.findall(text))


@pytest.mark.parametrize("daemon", mesh.DAEMONS)
async def test_no_caller_notices_that_either_replica_died(daemon: str, world: World) -> None:
    sent: set[str] = set()
    for name in world.fleet.names(daemon):
        marks = name.replace("/", "-")
        async with world.connect(None) as client:
            sent |= await send(client, f"{marks}-lives")
            await world.fleet.kill(name)
            sent |= await send(client, f"{marks}-dead")
        await world.fleet.start(name)

    await all_ended(world)
    states = await world.pool.fetch(
        "SELECT state, count(*) AS n FROM ledger.delivery WHERE notification_id = ANY ($1) GROUP BY state", list(sent)
    )
    assert len(sent) == 4 * _SENDS
    assert {row["state"]: row["n"] for row in states}.get(DeliveryState.SENT, 0) == 4 * _SENDS


async def test_every_replica_of_every_daemon_takes_part_in_the_work(world: World) -> None:
    before = {
        name: await asyncio.to_thread(work_done, world.fleet.replica(name).metrics_url) for name in world.fleet.names()
    }
    random = Random("work")
    notifications: list[Notification] = [shop.drawn(random, f"work-{number}") for number in range(4_000)]

    capped = Category(name="capped")  # what the rate limiter has to do where nothing is paced
    cap = capped.caps.add(limit=10_000)
    cap.window.FromTimedelta(timedelta(hours=1))
    await world.client.categories.put(capped)
    notifications += [
        shop.notification(f"work-capped-{number}", f"p{number}", Channel.IOS, "capped", Priority.NORMAL)
        for number in range(_CAPPED)
    ]
    soon = datetime.now(UTC) + timedelta(seconds=1)
    for number in range(_SCHEDULED):  # what schedulers have to do where nothing fails
        at = soon + timedelta(milliseconds=50 * number)
        notifications.append(replace(shop.drawn(random, f"work-later-{number}"), deliver_at=at))
    outcomes = [outcome async for outcome in world.client.send_many(notifications, batches_in_flight=4)]
    for number in range(_SENDS):
        await world.client.send(shop.drawn(random, f"work-single-{number}"))
        await world.client.recipients.upsert(shop.person(world.practice, f"work{number}", number))
    await all_ended(world)

    after = {name: await asyncio.to_thread(work_done, world.fleet.replica(name).metrics_url) for name in before}
    assert len(outcomes) == len(notifications)
    assert [name for name in before if after[name] <= before[name]] == []
