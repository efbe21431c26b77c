"""Scheduled sends: how late they are at the target load, and what a million that are not due cost."""

import asyncio

from clarion_local.bench import cpu, records, samples, seeding, traffic
from clarion_local.bench.context import Context
from clarion_local.bench.world import World

LOAD_PER_SECOND = 185.0
_DUE_IN_SECONDS = 15.0
_DUE_OVER_SECONDS = 10.0
_IDLE_SECONDS = 10.0


async def scheduled(context: Context, world: World) -> dict[str, object]:
    """Lateness beside load, then the same over a schedule full of the future."""
    before = await _lateness(context, world, "scheduled")
    idle_before = await _idle(context, world)
    app_id, seconds = await seeding.future(world.stack.endpoints.database_url, context.sizes.future)
    try:
        idle_full = await _idle(context, world)
        after = await _lateness(context, world, "scheduled-over-future")
    finally:
        await seeding.forget_future(world.stack.endpoints.database_url, app_id)
    return {
        "late": before,
        "future_rows": context.sizes.future,
        "seeding_seconds": round(seconds, 1),
        "late_over_future": after,
        "idle_cpu_ms_per_s": idle_before,
        "idle_cpu_ms_per_s_over_future": idle_full,
    }


async def _lateness(context: Context, world: World, run: str) -> dict[str, object]:
    """From the moment a send was due until a provider had it, beside load at the target day's mean."""
    count, seconds = context.sizes.scheduled, context.sizes.rate_seconds
    due_in, due_over = min(_DUE_IN_SECONDS, 4.0 + seconds), min(_DUE_OVER_SECONDS, 1.0 + seconds)
    since = await records.mark(world)
    before = await asyncio.to_thread(world.room.accepted)
    done = await context.load(world, run, "batch", count=count, due_in=due_in, due_over=due_over)
    beside = await context.load(world, f"{run}-beside", "open", rate=LOAD_PER_SECOND, seconds=due_in + due_over)
    await context.until_taken(world, count + beside.accepted, before)
    closing = await context.close(world, run, since)
    late = []
    for sent in closing.deliveries:
        number = traffic.number_of(run, sent.event_id)
        if number is not None and sent.received is not None:
            late.append((sent.received - done.due_first - number * done.due_step) * 1_000.0)
    return {"count": count, "load_per_s": LOAD_PER_SECOND, "late": samples.spread(late).document()}


async def _idle(context: Context, world: World) -> dict[str, float]:
    """CPU milliseconds a second of the scheduler and Postgres while nothing is sent."""
    seconds = min(_IDLE_SECONDS, context.sizes.rate_seconds)
    before = cpu.take(world.roots())
    await asyncio.sleep(seconds)
    used = cpu.spent(before, cpu.take(world.roots()))
    return {name: round(used[name] * 1_000.0 / seconds, 1) for name in ("scheduler", "postgres")}
