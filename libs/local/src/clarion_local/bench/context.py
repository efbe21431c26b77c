"""What every section needs beside its world: sizes, somewhere to say how far it is, and the usual moves."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clarion_client import Channel, Priority
from clarion_local.bench import records, samples
from clarion_local.bench.generator.jobs import Done, Job, Mode
from clarion_local.bench.generator.process import Generator
from clarion_local.bench.records import Closing
from clarion_local.bench.samples import Spread
from clarion_local.bench.sizes import Sizes
from clarion_local.bench.world import World

_PER_ITEM_SECONDS = 0.02
_BASE_SECONDS = 180.0


class LoadRefused(Exception):
    """Some of the load was not taken, so what was measured is not what was meant."""


def _nobody(done: int, of: int) -> None:
    """Told, and not shown."""


@dataclass(slots=True)
class Context:
    """`say` shows a line, `tell` how many of how many have arrived; `proofs` gathers what closed each stretch."""

    sizes: Sizes
    folder: Path
    say: Callable[[str], None]
    tell: Callable[[int, int], None] = _nobody
    proofs: dict[str, dict[str, object]] = field(default_factory=dict)

    async def load(
        self,
        world: World,
        run: str,
        mode: Mode,
        *,
        count: int = 0,
        rate: float = 0.0,
        seconds: float = 0.0,
        window: int = 0,
        unary_share: float = 0.1,
        channels: Sequence[Channel] = (),
        priority: Priority = Priority.NORMAL,
        due_in: float = 0.0,
        due_over: float = 0.0,
        generator: Generator | None = None,
    ) -> Done:
        """Have a generator (the world's) do a job. Raises GeneratorFailed; LoadRefused unless all of it was taken at last."""
        job = Job(
            run=run,
            mode=mode,
            people=world.people,
            folder=str(world.latencies),
            count=count,
            rate=rate,
            seconds=seconds,
            unary_share=unary_share,
            window=window,
            channels=tuple(int(channel) for channel in channels),
            priority=int(priority),
            due_in=due_in,
            due_over=due_over,
        )
        done = await (generator or world.generator).run(job, _BASE_SECONDS + seconds + count * _PER_ITEM_SECONDS)
        if mode != "open" and done.accepted != count:
            raise LoadRefused(f"{run}: {done.accepted} of {count} were taken: {done.refused} {done.failed}")
        return done

    async def until_taken(self, world: World, count: int, before: int) -> None:
        """Wait until the providers have `count` more than `before`, and show it. Raises Stuck."""
        await records.until_taken(world, count, before, self.tell)

    async def close(self, world: World, name: str, since: records.Mark) -> Closing:
        """Close a stretch and keep its proof under a name. Raises as `records.close`."""
        closing = await records.close(world, since)
        self.proofs[name] = closing.proof()
        return closing

    async def sent(
        self, world: World, name: str, count: int, *, window: int = 0, channels: Sequence[Channel] = ()
    ) -> Closing:
        """Send `count` in a closed loop and close it. Raises what `load` and `close` do, Stuck."""
        since = await records.mark(world)
        before = await asyncio.to_thread(world.room.accepted)
        await self.load(world, name, "closed", count=count, window=window, channels=channels)
        await self.until_taken(world, count, before)
        return await self.close(world, name, since)


def answers(world: World, run: str, kind: str) -> Spread | None:
    """Latencies of the calls of a run, None where it made none of that kind. Raises OSError."""
    values = samples.read(world.latencies / f"{run}.{kind}")
    return samples.spread(values) if values else None


def to_provider(closing: Closing, priority: Priority | None = None) -> Spread | None:
    """From accepted (the transaction's start) to taken by a provider, of one priority or of all; None for none."""
    waits = [
        (sent.received - sent.accepted) * 1_000.0
        for sent in closing.deliveries
        if sent.received is not None and priority in (None, sent.priority)
    ]
    return samples.spread(waits) if waits else None
