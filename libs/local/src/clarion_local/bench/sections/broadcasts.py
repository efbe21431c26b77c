"""Broadcasts: how fast children are planned with nothing behind to wait for, and what urgent sends feel beside a paced one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import nats
from nats.js.client import JetStreamContext

from clarion.broadcast.v1 import broadcast_service_pb2 as pb
from clarion_client import Channel, Priority
from clarion_client.calls.broadcasts import broadcast
from clarion_kit.subjects import Lane, Stream, Subjects
from clarion_kit.vocabulary import Channel as LaneChannel
from clarion_kit.vocabulary import Priority as LanePriority
from clarion_ledger.db import connection
from clarion_local.bench import meter, records, samples, traffic, world
from clarion_local.bench.context import Context, answers, to_provider
from clarion_local.bench.sections.stages import STOP_GRACE
from clarion_local.bench.world import World

_URGENT_PER_SECOND = 50
_TURN_SECONDS = 0.5
_LIMIT_SECONDS = 600.0
_FETCH = 100
_FETCH_SECONDS = 0.2
_PROGRESS = "SELECT planned, state FROM ledger.broadcast WHERE broadcast_id = $1"
_CONTENT = {"order": "A-1", "name": "everybody"}


async def broadcasts(context: Context, place: World) -> dict[str, object]:
    """To everybody who was imported and as many devices as it takes."""
    extra = max(0, context.sizes.broadcast - place.people)
    if extra:
        context.say(f"{extra:,} devices are imported")
        await world.welcome(place.client, place.practice, place.people, extra)
    return {"planning": await _planning(context, place), "beside": await _beside(context, place)}


async def _planning(context: Context, place: World) -> dict[str, object]:
    """The dispatcher is stopped and its lane is drained, so that only planning takes time; cancelled in the end.

    The scheduler is stopped as well once it has started the broadcast: it would bring what was drained again and again.
    """
    fleet = place.stack.fleet
    since = await records.mark(place)
    await fleet.stop("dispatcher_ios", STOP_GRACE)
    async with _drained(place), meter.metered(place, memory=True) as cost:
        clock = asyncio.get_running_loop()
        began = clock.time()
        started = await place.client.broadcasts.start(_broadcast("bench-planning", 0))
        await fleet.stop("scheduler", STOP_GRACE)
        seen = await _until_planned(place, started.broadcast_id)
        seconds = clock.time() - began
    planned = seen[-1][1]
    await fleet.start("scheduler")
    await place.client.broadcasts.cancel(started.broadcast_id)
    await fleet.start("dispatcher_ios")
    await records.until_settled(place.pool)
    await context.close(place, "broadcast", since)
    return {
        "recipients": planned,
        "planned_per_s": round(planned / seconds, 1),
        "steady_per_s": round(_steady(seen), 1),
        "planner_pss_mb": cost.pss_mb.get("planner", []),
        "cost": cost.each(max(1, planned)),
    }


async def _beside(context: Context, place: World) -> dict[str, object]:
    """Urgent sends, open loop, beside a broadcast that is paced."""
    since = await records.mark(place)
    started = await place.client.broadcasts.start(_broadcast("bench-paced", context.sizes.paced))
    done = await context.load(
        place,
        "urgent-beside",
        "open",
        rate=_URGENT_PER_SECOND,
        seconds=context.sizes.flood_seconds,
        unary_share=1.0,
        priority=Priority.URGENT,
    )
    await place.client.broadcasts.cancel(started.broadcast_id)
    await records.until_settled(place.pool)
    closing = await context.close(place, "urgent-beside-broadcast", since)
    urgent = to_provider(closing, Priority.URGENT)
    send = answers(place, "urgent-beside", "unary")
    children = [sent.received for sent in closing.deliveries if sent.priority == Priority.BULK and sent.received]
    return {
        "pace_per_s": context.sizes.paced,
        "children_per_s": round(samples.steady_rate(children), 1),
        "not_taken": {**done.refused, **done.failed},
        "send": send.document() if send else None,
        "urgent_to_provider": urgent.document() if urgent else None,
    }


def _broadcast(event_id: str, pace: int) -> pb.StartBroadcastRequest:
    return broadcast(
        event_id=event_id,
        category=traffic.CATEGORY,
        everybody=True,
        template=traffic.TEMPLATE,
        data=_CONTENT,
        channels=(Channel.IOS,),
        pace_per_second=pace,
    )


async def _until_planned(place: World, broadcast_id: str) -> list[tuple[float, int]]:
    """Looks (seconds, children) on the way, the last one once it is planned. Raises Stuck."""
    clock = asyncio.get_running_loop()
    seen: list[tuple[float, int]] = []
    deadline = clock.time() + _LIMIT_SECONDS
    while clock.time() < deadline:
        async with connection(place.pool) as db:
            row = await db.fetchrow(_PROGRESS, UUID(broadcast_id))
        if row is None:
            raise records.Stuck("the broadcast is not there")
        seen.append((clock.time(), row["planned"]))
        if row["state"] != pb.BROADCAST_STATE_RUNNING:
            return seen
        await asyncio.sleep(_TURN_SECONDS)
    raise records.Stuck(f"the broadcast is not planned within {_LIMIT_SECONDS:.0f} s")


def _steady(seen: list[tuple[float, int]]) -> float:
    """Children a second between a tenth and nine tenths of them."""
    if not seen or not seen[-1][1]:
        return 0.0
    whole = seen[-1][1]
    middle = [look for look in seen if 0.1 * whole <= look[1] <= 0.9 * whole]
    if len(middle) < 2 or middle[-1][0] <= middle[0][0]:
        return 0.0
    return (middle[-1][1] - middle[0][1]) / (middle[-1][0] - middle[0][0])


@asynccontextmanager
async def _drained(place: World) -> AsyncIterator[None]:
    """While entered, whatever comes to the bulk lane of iOS is taken off it at once, as by an endlessly fast dispatcher."""
    client = await nats.connect(place.stack.endpoints.nats_url)
    lane = Lane(Stream.DISPATCH, LanePriority.BULK, LaneChannel.IOS)
    subjects = Subjects()
    try:
        stream = client.jetstream()
        pull = await stream.pull_subscribe_bind(durable=lane.name, stream=subjects.stream_name(lane.stream))
        async with asyncio.TaskGroup() as group:
            draining = group.create_task(_drain(pull))
            yield
            draining.cancel()
    finally:
        await client.close()


async def _drain(pull: JetStreamContext.PullSubscription) -> None:
    while True:
        with suppress(TimeoutError):
            for message in await pull.fetch(_FETCH, timeout=_FETCH_SECONDS):
                await message.ack()
