"""Latency at fixed rates (open loop), providers at once and at real-world delays; urgent sends beside a flood of bulk."""

import asyncio
from collections.abc import Mapping

from clarion_client import Priority
from clarion_local.bench import meter, records, samples, traffic
from clarion_local.bench.context import Context, answers, to_provider
from clarion_local.bench.generator.jobs import Done
from clarion_local.bench.generator.process import Generator
from clarion_local.bench.records import Closing
from clarion_local.bench.timetable import items, timetable
from clarion_local.bench.world import World

_URGENT_PER_SECOND = 50
_LEAD_SECONDS = 3.0


async def latency(context: Context, world: World) -> dict[str, object]:
    """Every rate at both speeds of the providers."""
    at_once = {str(rate): await _at(context, world, rate, "open") for rate in context.sizes.rates}
    await world.delay(traffic.DELAYS_MS)
    try:
        delayed = {str(rate): await _at(context, world, rate, "open-delayed") for rate in context.sizes.rates}
    finally:
        await world.delay({})
    return {"at_once": at_once, "delayed": delayed}


async def _at(context: Context, world: World, rate: int, name: str) -> dict[str, object]:
    run, seconds = f"{name}-{rate}", context.sizes.rate_seconds
    context.say(f"{rate}/s for {seconds:g} s")
    since = await records.mark(world)
    async with meter.metered(world) as cost:
        done = await context.load(world, run, "open", rate=rate, seconds=seconds)
        await records.until_settled(world.pool)
    closing = await context.close(world, run, since)
    planned = timetable(rate, seconds)
    return {
        "rate": rate,
        "offered": items(planned),
        "accepted": done.accepted,
        "not_taken": {**done.refused, **done.failed},
        "generator_late_ms": round(done.late_ms, 2),
        "send": _document(answers(world, run, "unary")),
        "send_batch": _document(answers(world, run, "batch")),
        "to_provider": _document(to_provider(closing)),
        "intended_to_provider": _document(_from_intended(closing, run, done, rate, seconds)),
        "cost": cost.each(max(1, len(closing.deliveries))),
    }


def _from_intended(closing: Closing, run: str, done: Done, rate: float, seconds: float) -> samples.Spread | None:
    """From the moment its call was meant for: what a caller would say."""
    due = {
        call.first + place: done.began_at + call.at for call in timetable(rate, seconds) for place in range(call.count)
    }
    waits = []
    for sent in closing.deliveries:
        number = traffic.number_of(run, sent.event_id)
        if number is not None and sent.received is not None:
            waits.append((sent.received - due[number]) * 1_000.0)
    return samples.spread(waits) if waits else None


async def urgent_in_flood(context: Context, world: World) -> dict[str, object]:
    """Urgent sends, open loop, while bulk comes in as fast as it is taken."""
    seconds = context.sizes.flood_seconds
    since = await records.mark(world)
    over = asyncio.Event()
    log = world.folder / "log" / "generator-2.log"
    async with Generator.start(world.target, log) as second, asyncio.TaskGroup() as group:
        flood = group.create_task(_flood(context, world, over))
        await asyncio.sleep(min(_LEAD_SECONDS, seconds / 2))
        urgent = await context.load(
            world,
            "urgent",
            "open",
            rate=_URGENT_PER_SECOND,
            seconds=seconds,
            unary_share=1.0,
            priority=Priority.URGENT,
            generator=second,
        )
        over.set()
    closing = await context.close(world, "urgent-in-flood", since)
    return {
        "urgent_per_s": _URGENT_PER_SECOND,
        "accepted": urgent.accepted,
        "not_taken": {**urgent.refused, **urgent.failed},
        "bulk": flood.result(),
        "send": _document(answers(world, "urgent", "unary")),
        "urgent_to_provider": _document(to_provider(closing, Priority.URGENT)),
        "bulk_to_provider": _document(to_provider(closing, Priority.BULK)),
    }


async def _flood(context: Context, world: World, over: asyncio.Event) -> int:
    """Bulk until it is over, always about a window of it on its way; how many."""
    handed_in, share = 0, max(1, context.sizes.window // 2)
    before = await asyncio.to_thread(world.room.accepted)
    while not over.is_set():
        run = f"flood-{handed_in}"
        await context.load(world, run, "batch", count=share, priority=Priority.BULK)
        handed_in += share
        await context.until_taken(world, handed_in - share, before)
    return handed_in


def _document(spread: samples.Spread | None) -> Mapping[str, object] | None:
    return spread.document() if spread else None
