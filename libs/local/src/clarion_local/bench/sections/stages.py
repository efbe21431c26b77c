"""Each stage alone: those behind it are stopped while it works, so that the machine is its own."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta

from clarion_kit import mesh
from clarion_ledger.db import connection
from clarion_local.bench import meter, records, samples, traffic
from clarion_local.bench.context import Context, answers
from clarion_local.bench.generator.jobs import Done, Mode
from clarion_local.bench.meter import Cost
from clarion_local.bench.world import World
from clarion_local.fleet import Fleet

STOP_GRACE = timedelta(seconds=12)
_LOOK_SECONDS = 0.5
_LIMIT_SECONDS = 300.0
TO_PLAN = "SELECT count(*) FROM ledger.plan_work"
TO_SEND = "SELECT count(*) FROM ledger.delivery_work WHERE channel = $1"


async def stages(context: Context, world: World) -> dict[str, object]:
    """Accept (three ways), plan, then one dispatcher after the other, over the same notifications."""
    fleet, sizes = world.stack.fleet, context.sizes
    since = await records.mark(world)
    await stop_all(fleet, ["planner", *mesh.DISPATCHERS])
    accepted: dict[str, object] = {}
    total = 0
    ways: tuple[tuple[Mode, int], ...] = (
        ("unary", sizes.stage_unary),
        ("batch", sizes.stage_batch),
        ("stream", sizes.stage_stream),
    )
    for mode, count in ways:
        async with meter.metered(world) as cost:
            # Equal parts of each channel, so that every dispatcher has enough to show its rate.
            run = f"accept-{mode}"
            done = await context.load(
                world,
                run,
                mode,
                count=count,
                channels=tuple(traffic.MIX),
            )
        accepted[mode] = _accept(done, cost, count, answers(world, run, mode) if mode != "stream" else None)
        total += count
    plan = await _plan(context, world, total)
    dispatchers: dict[str, tuple[Cost, int]] = {}
    for channel in traffic.MIX:
        name = f"dispatcher_{channel.name.lower()}"
        count = await waiting(world, TO_SEND, int(channel))
        async with meter.metered(world) as cost:
            await fleet.start(name)
            await until_none(world, TO_SEND, int(channel))
        dispatchers[traffic.PROVIDERS[channel]] = (cost, count)
    closing = await context.close(world, "stages", since)
    plan["planned_per_s"] = round(samples.steady_rate(sent.planned for sent in closing.deliveries), 1)
    return {
        "accept": accepted,
        "plan": plan,
        "dispatch": {kind: _dispatch(closing, kind, *found) for kind, found in dispatchers.items()},
    }


async def _plan(context: Context, world: World, count: int) -> dict[str, object]:
    async with meter.metered(world) as cost:
        await world.stack.fleet.start("planner")
        await until_none(world, TO_PLAN)
    return {"count": count, "seconds": round(cost.seconds, 2), "cost": cost.each(count)}


def _accept(done: Done, cost: Cost, count: int, calls: samples.Spread | None) -> dict[str, object]:
    return {
        "count": count,
        "per_s": round(count / done.seconds, 1),
        "call": calls.document() if calls else None,
        "cost": cost.each(count),
    }


def _dispatch(closing: records.Closing, kind: str, cost: Cost, count: int) -> Mapping[str, object]:
    received = [sent.received for sent in closing.deliveries if sent.kind == kind and sent.received is not None]
    return {
        "count": count,
        "sent_per_s": round(samples.steady_rate(received), 1),
        "seconds_with_start": round(cost.seconds, 2),
        "cost": cost.each(max(1, count)),
    }


async def stop_all(fleet: Fleet, names: Iterable[str]) -> None:
    """Stop replicas, together."""
    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(fleet.stop(name, STOP_GRACE))


async def until_none(world: World, question: str, *arguments: int) -> None:
    """Wait until a count is 0. Raises Stuck."""
    clock = asyncio.get_running_loop()
    deadline = clock.time() + _LIMIT_SECONDS
    while left := await waiting(world, question, *arguments):
        if clock.time() > deadline:
            raise records.Stuck(f"{left} are left after {_LIMIT_SECONDS:.0f} s")
        await asyncio.sleep(_LOOK_SECONDS)


async def waiting(world: World, question: str, *arguments: int) -> int:
    async with connection(world.pool) as db:
        count: int = await db.fetchval(question, *arguments)
    return count
