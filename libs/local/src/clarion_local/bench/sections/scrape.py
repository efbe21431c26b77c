"""What Prometheus waits for: every daemon's metrics while the mesh rests and while it works."""

import asyncio
import time
import urllib.request
from collections.abc import Mapping

from clarion_local.bench import records, samples
from clarion_local.bench.context import Context
from clarion_local.bench.world import World

_RATES = (185, 925)
"""The target day's mean, and five times as much."""
_TIMEOUT_SECONDS = 10.0
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"
"""As Prometheus asks, exemplars included."""


async def scrape(context: Context, world: World) -> dict[str, object]:
    """One daemon after the other, round by round; by daemon, and over all."""
    rounds = context.sizes.scrapes
    resting = await _rounds(world, rounds)
    return {
        "resting": _document(resting),
        "beside": {str(rate): await _beside(context, world, rate) for rate in _RATES},
    }


async def _beside(context: Context, world: World, rate: float) -> dict[str, object]:
    """While so many a second are sent."""
    name, seconds = f"scraped-{rate:g}", context.sizes.scrape_seconds
    since = await records.mark(world)
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        load = group.create_task(context.load(world, name, "open", rate=rate, seconds=seconds))
        load.add_done_callback(lambda _: over.set())
        working = await _rounds(world, context.sizes.scrapes, over)
    await records.until_settled(world.pool)
    await context.close(world, name, since)
    return _document(working)


async def _rounds(world: World, most: int, over: asyncio.Event | None = None) -> Mapping[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in world.stack.endpoints.metrics}
    for _ in range(most):
        for name, url in world.stack.endpoints.metrics.items():
            took[name].append(await asyncio.to_thread(_scraped, url))
        if over is not None and over.is_set():
            break
    return took


def _scraped(url: str) -> float:
    """Milliseconds until all of it is here. Raises OSError."""
    request = urllib.request.Request(url, headers={"accept": _OPENMETRICS})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
        answer.read()
    return (time.perf_counter() - began) * 1_000.0


def _document(took: Mapping[str, list[float]]) -> dict[str, object]:
    spreads = {name: samples.spread(values) for name, values in took.items() if values}
    whole = samples.spread([value for values in took.values() for value in values])
    return {
        "scrape": whole.document(),
        "p99_ms": {name: round(one.p99_ms, 1) for name, one in spreads.items()},
        "max_ms": {name: round(one.max_ms, 1) for name, one in spreads.items()},
    }
