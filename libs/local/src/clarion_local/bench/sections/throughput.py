"""Throughput end to end: the mix, accepted and sent at the same time, closed by audit and comparison."""

import asyncio

from clarion_ledger.db import connection
from clarion_local.bench import meter, records, samples, traffic
from clarion_local.bench.context import Context, answers
from clarion_local.bench.world import World

_STORED = """
SELECT sum(pg_total_relation_size(c.oid))::int8 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'ledger' AND c.relkind = 'r'
"""


async def warm_up(context: Context, world: World) -> None:
    """Connections, tokens and caches as they are in a mesh that runs."""
    await context.sent(world, "warm-up", context.sizes.warm_up)


async def throughput(context: Context, world: World) -> dict[str, object]:
    """At providers that answer at once, then at real-world delays."""
    return {
        "at_once": await _stretch(context, world, "e2e", context.sizes.e2e),
        "delayed": await _delayed(context, world),
    }


async def _delayed(context: Context, world: World) -> dict[str, object]:
    await world.delay(traffic.DELAYS_MS)
    try:
        return await _stretch(context, world, "e2e-delayed", context.sizes.e2e_delayed)
    finally:
        await world.delay({})


async def _stretch(context: Context, world: World, name: str, count: int) -> dict[str, object]:
    since = await records.mark(world)
    stored = await _stored(world)
    before = await asyncio.to_thread(world.room.accepted)
    async with meter.metered(world, memory=True) as cost:
        done = await context.load(world, name, "closed", count=count, window=context.sizes.window)
        await context.until_taken(world, count, before)
        await records.until_settled(world.pool)
    stored = await _stored(world) - stored
    closing = await context.close(world, name, since)
    received = sorted(closing.received)
    batch = answers(world, name, "batch")
    return {
        "count": count,
        "sent_per_s": round(samples.steady_rate(received), 1),
        "wall_per_s": round(count / (received[-1] - done.began_at), 1) if received else 0.0,
        "accepted_per_s": round(count / done.seconds, 1),
        "sent_by_second": samples.by_second(received, done.began_at),
        "per_channel": _per_channel(closing),
        "batch_call": batch.document() if batch else None,
        "retried": {**done.refused, **done.failed},
        "cost": cost.each(count),
        "ledger_bytes_each": round(stored / count, 1),
        "pss_mb": cost.pss_mb,
    }


async def _stored(world: World) -> int:
    """Bytes of the ledger's tables and indexes."""
    async with connection(world.pool) as db:
        size: int = await db.fetchval(_STORED)
    return size


def _per_channel(closing: records.Closing) -> dict[str, int]:
    counts: dict[str, int] = {}
    for sent in closing.deliveries:
        counts[sent.kind] = counts.get(sent.kind, 0) + 1
    return counts
