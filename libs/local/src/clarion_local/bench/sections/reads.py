"""`Get`, as a service asks for one notification: alone, by several at once, and beside a steady load."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from uuid import UUID

from clarion_client import AsyncClient
from clarion_ledger.db import connection
from clarion_local.bench import meter, records, samples
from clarion_local.bench.context import Context
from clarion_local.bench.world import World

CALLERS = 8
_BESIDE_PER_SECOND = 185
_SEED = 20_260_103
_WARM = 20
_KNOWN = "SELECT id FROM ledger.notification WHERE app_id = $1 ORDER BY id DESC LIMIT $2"


async def reads(context: Context, world: World) -> dict[str, object]:
    """Through the SDK, gateway and Postgres included; each call asks for another notification, newest and oldest mixed."""
    count = context.sizes.reads
    await context.sent(world, "to-read", count)
    async with connection(world.pool) as db:
        rows = await db.fetch(_KNOWN, world.app_id, 10 * count)
        stored: int = await db.fetchval("SELECT count(*) FROM ledger.notification")
    ids: list[UUID] = [row["id"] for row in rows]
    random.Random(_SEED).shuffle(ids)
    ids = ids[:count]
    await _asked(world.client, ids[:_WARM], 1)
    found: dict[str, object] = {"notifications": stored}
    for name, callers in (("alone", 1), (f"callers_{CALLERS}", CALLERS)):
        async with meter.metered(world) as cost:
            spread = await _asked(world.client, ids, callers)
        found[name] = {"call": spread.document(), "cost": cost.each(len(ids))}
    found["beside_load"] = await _beside(context, world, ids)
    return found


async def _beside(context: Context, world: World, ids: Sequence[UUID]) -> dict[str, object]:
    since = await records.mark(world)
    seconds = context.sizes.read_seconds
    async with asyncio.TaskGroup() as group:
        load = group.create_task(context.load(world, "read-beside", "open", rate=_BESIDE_PER_SECOND, seconds=seconds))
        spread = await _asked(world.client, ids, 1)
    await records.until_settled(world.pool)
    await context.close(world, "read-beside", since)
    return {"per_s": _BESIDE_PER_SECOND, "accepted": load.result().accepted, "call": spread.document()}


async def _asked(client: AsyncClient, ids: Sequence[UUID], callers: int) -> samples.Spread:
    took: list[float] = []

    async def caller(left: Iterator[UUID]) -> None:
        for id_ in left:
            began = time.perf_counter()
            await client.get(str(id_))
            took.append((time.perf_counter() - began) * 1_000.0)

    left = iter(ids)
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller(left))
    return samples.spread(took)
