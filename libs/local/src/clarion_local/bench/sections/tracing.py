"""What tracing costs: the same load with none, one in a hundred and every notification traced, to a receiver that takes it all."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from clarion_local.bench import meter, records, samples, world
from clarion_local.bench.context import Context
from clarion_local.bench.world import World

RATIOS = (0.0, 0.01, 1.0)


async def tracing(context: Context, folder: Path) -> dict[str, object]:
    """A mesh of its own for each share; there and back again, so that drift hits all. CPU says more than the rate does: it
    is not that of the daemons alone, and the receiver's is left out."""
    rates: dict[float, list[float]] = {ratio: [] for ratio in RATIOS}
    costs: dict[float, list[float]] = {ratio: [] for ratio in RATIOS}
    turns = (*RATIOS, *reversed(RATIOS)) if context.sizes.tracing_rounds > 1 else RATIOS
    for turn, ratio in enumerate(turns):
        async with world.opened(folder / str(turn), context.sizes.recipients, trace_ratio=ratio) as place:
            await context.sent(place, f"tracing-warm-up-{turn}", context.sizes.tracing // 4)
            rate, cost = await _stretch(context, place, f"tracing-{turn}", context.sizes.tracing)
        rates[ratio].append(rate)
        costs[ratio].append(cost)
    return {
        "sent_per_s": _by_ratio(rates),
        "cpu_us": _by_ratio(costs),
        "throughput_lost": {_name(ratio): lost(rates[RATIOS[0]], rates[ratio]) for ratio in RATIOS[1:]},
        "cpu_added": {_name(ratio): added(costs[RATIOS[0]], costs[ratio]) for ratio in RATIOS[1:]},
    }


async def _stretch(context: Context, place: World, name: str, count: int) -> tuple[float, float]:
    """Sent a second, and CPU µs of all but the receiver of traces."""
    since = await records.mark(place)
    before = await asyncio.to_thread(place.room.accepted)
    async with meter.metered(place) as cost:
        await context.load(place, name, "closed", count=count, window=context.sizes.window)
        await context.until_taken(place, count, before)
        await records.until_settled(place.pool)
    closing = await context.close(place, name, since)
    ours = cost.total - cost.cpu.get("trace receiver", 0.0)
    return samples.steady_rate(closing.received), ours * 1e6 / count


def lost(without: Sequence[float], with_traces: Sequence[float]) -> float:
    """The share of throughput that is gone; negative where chance made it more."""
    return round(1.0 - median(with_traces) / median(without), 3) if median(without) else 0.0


def added(without: Sequence[float], with_traces: Sequence[float]) -> float:
    """The share of CPU that came on top."""
    return round(median(with_traces) / median(without) - 1.0, 3) if median(without) else 0.0


def _by_ratio(found: dict[float, list[float]]) -> dict[str, float]:
    return {_name(ratio): round(median(values), 1) for ratio, values in found.items()}


def _name(ratio: float) -> str:
    return f"{ratio:.0%}"
