"""What a stretch of work cost: CPU by process, bytes written, memory over time, and how quiet the machine was."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from clarion_ledger.db import Pool, connection
from clarion_local.bench import cpu
from clarion_local.bench.cpu import Machine
from clarion_local.bench.world import World
from clarion_local.demo.memory import by_daemon

MEMORY_EVERY_SECONDS = 5.0
_WRITTEN = """
SELECT (SELECT wal_bytes FROM pg_stat_wal)::int8 AS wal, (SELECT coalesce(sum(write_bytes), 0) FROM pg_stat_io
        WHERE object <> 'wal')::int8 AS data
"""


@dataclass(slots=True)
class Cost:
    """Filled in when the stretch ends. `cpu`: seconds by process tree; `written`: bytes; machine: seconds of all cores."""

    began: float
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    written: dict[str, int] = field(default_factory=dict)
    machine: Machine = field(default_factory=lambda: Machine(0.0, 0.0, 0.0))
    pss_mb: dict[str, list[float]] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """CPU seconds of everything that took part."""
        return sum(self.cpu.values())

    @property
    def foreign(self) -> float:
        """CPU seconds of what did not, and what a host took away: how quiet the machine was not."""
        return max(0.0, self.machine.busy - self.total) + self.machine.stolen

    def each(self, count: int) -> dict[str, object]:
        """For the results, a piece."""
        return {
            "cpu_us": cpu.micros_each(self.cpu, count),
            "cpu_us_total": round(self.total * 1e6 / count, 1),
            "written_bytes": {name: round(value / count, 1) for name, value in self.written.items()},
            "foreign_cpu_share": round(self.foreign / (self.seconds * (os.cpu_count() or 1)), 3),
        }


@asynccontextmanager
async def metered(world: World, *, memory: bool = False) -> AsyncIterator[Cost]:
    """Measures while entered. Raises LedgerUnavailable, OSError."""
    bytes_before = await _bytes(world.pool, world.roots())
    before, machine_before = cpu.take(world.roots()), cpu.machine()
    cost = Cost(time.monotonic())
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_memory(world, cost.pss_mb)) if memory else None
        yield cost
        if watching is not None:
            watching.cancel()
    cost.seconds = time.monotonic() - cost.began
    cost.cpu = cpu.spent(before, cpu.take(world.roots()))
    cost.machine = cpu.machine().since(machine_before)
    bytes_after = await _bytes(world.pool, world.roots())
    cost.written = {name: max(0, value - bytes_before.get(name, 0)) for name, value in bytes_after.items()}


async def _bytes(pool: Pool, roots: Mapping[str, int]) -> dict[str, int]:
    async with connection(pool) as db:
        row = await db.fetchrow(_WRITTEN)
    written = {"postgres_wal": row["wal"], "postgres_data": row["data"]} if row else {}
    if "nats" in roots:
        with suppress(OSError):
            written["nats"] = cpu.written(roots["nats"])
    return written


async def _memory(world: World, series: dict[str, list[float]]) -> None:
    kept: defaultdict[str, list[float]] = defaultdict(list)
    while True:
        for name, size in by_daemon(world.stack.daemons.pids()).items():
            kept[name].append(round(size / 1e6, 1))
        series.update(kept)
        await asyncio.sleep(MEMORY_EVERY_SECONDS)
