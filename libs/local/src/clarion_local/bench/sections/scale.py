"""Scale-out: a stage with one worker and with two, each pinned to a core; pairs interleaved, so that drift hits both."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from clarion_client import Channel
from clarion_local.bench import meter, records, samples, world
from clarion_local.bench.context import Context
from clarion_local.bench.records import Closing
from clarion_local.bench.sections.stages import TO_PLAN, TO_SEND, stop_all, until_none
from clarion_local.bench.world import World

PLANNER, DISPATCHER = "planner", "dispatcher_ios"


async def scale(context: Context, folder: Path) -> dict[str, object]:
    """Planner, then dispatcher of iOS, in a world with two of each. Servers run where they find room, as always."""
    found: dict[str, dict[int, list[tuple[float, float]]]] = {
        PLANNER: {1: [], 2: []},
        DISPATCHER: {1: [], 2: []},
    }
    async with world.opened(folder, context.sizes.recipients, {PLANNER: 2, DISPATCHER: 2}) as place:
        await context.sent(place, "scale-warm-up", context.sizes.warm_up)
        for pair in range(context.sizes.scale_pairs):
            for workers in (1, 2):
                rates = await _round(context, place, f"scale-{pair}-{workers}", workers)
                for stage, measured in rates.items():
                    found[stage][workers].append(measured)
    return {stage: _summary(by_workers) for stage, by_workers in found.items()}


async def _round(context: Context, place: World, run: str, workers: int) -> dict[str, tuple[float, float]]:
    """Items a second and CPU µs an item of each stage, alone, with so many workers."""
    count, fleet = context.sizes.scale, place.stack.fleet
    since = await records.mark(place)
    await stop_all(fleet, [*fleet.names(PLANNER), *fleet.names(DISPATCHER)])
    await context.load(place, run, "batch", count=count, channels=(Channel.IOS,))
    costs: dict[str, float] = {}
    for stage, question, arguments in ((PLANNER, TO_PLAN, ()), (DISPATCHER, TO_SEND, (int(Channel.IOS),))):
        async with meter.metered(place) as cost:
            for core, name in enumerate(fleet.names(stage)[:workers]):
                # Not waited for one by one: the first would have done it all before the second serves.
                await fleet.start(name, serving_within=None)
                pin(fleet.pid(name), core)
            await until_none(place, question, *arguments)
        costs[stage] = cost.total * 1e6 / count
    for name in (*fleet.names(PLANNER), *fleet.names(DISPATCHER)):
        if not fleet.running(name):
            await fleet.start(name)
    closing = await context.close(place, run, since)
    return {
        PLANNER: (_rate(closing, lambda sent: sent.planned), costs[PLANNER]),
        DISPATCHER: (_rate(closing, lambda sent: sent.received), costs[DISPATCHER]),
    }


def pin(pid: int, core: int) -> None:
    """Let a process and its threads run on one core only. Raises OSError."""
    cores = sorted(os.sched_getaffinity(0))
    chosen = {cores[core % len(cores)]}
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), chosen)


def _rate(closing: Closing, moment: Callable[[records.Sent], float | None]) -> float:
    return samples.steady_rate(at for sent in closing.deliveries if (at := moment(sent)) is not None)


def _summary(by_workers: dict[int, list[tuple[float, float]]]) -> dict[str, object]:
    rates = {workers: median(rate for rate, _ in found) for workers, found in by_workers.items()}
    return {
        "per_s": {str(workers): round(rate, 1) for workers, rate in rates.items()},
        "cpu_us": {str(workers): _each(found) for workers, found in by_workers.items()},
        "gain": round(rates[2] / rates[1], 2) if rates[1] else 0.0,
    }


def _each(found: Sequence[tuple[float, float]]) -> float:
    return round(median(cost for _, cost in found), 1)
