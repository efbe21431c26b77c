"""Growth: CPU of all processes for a delivery over an empty ledger and over one with millions of rows."""

import asyncio
from pathlib import Path
from statistics import median

from clarion_local.bench import meter, records, seeding, world
from clarion_local.bench.context import Context
from clarion_local.bench.world import World


async def growth(context: Context, folder: Path) -> dict[str, object]:
    """In a world of its own, that begins empty."""
    sizes = context.sizes
    async with world.opened(folder, sizes.recipients) as place:
        await context.sent(place, "growth-warm-up", sizes.warm_up)
        empty = [await _round(context, place, f"empty-{number}") for number in range(sizes.growth_rounds)]
        context.say(f"{sizes.ledger_rows:,} deliveries are put into the ledger")
        seconds = await seeding.history(place.stack.endpoints.database_url, sizes.ledger_rows)
        context.say(f"took {seconds:.0f} s")
        await context.sent(place, "growth-warm-up-again", sizes.warm_up)
        full = [await _round(context, place, f"full-{number}") for number in range(sizes.growth_rounds)]
    return {
        "rows": sizes.ledger_rows,
        "seeding_seconds": round(seconds, 1),
        "cpu_us_empty": empty,
        "cpu_us_full": full,
        "ratio": round(median(full) / median(empty), 3),
    }


async def _round(context: Context, place: World, name: str) -> float:
    """Microseconds of CPU a delivery."""
    count = context.sizes.growth
    since = await records.mark(place)
    before = await asyncio.to_thread(place.room.accepted)
    async with meter.metered(place) as cost:
        await context.load(place, name, "closed", count=count, window=context.sizes.window)
        await context.until_taken(place, count, before)
    # Outside of what is measured: closing reads everything, which is the benchmark's work and not the mesh's.
    await context.close(place, name, since)
    return round(cost.total * 1e6 / count, 1)
