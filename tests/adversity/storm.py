"""Carries out a schedule of faults on a world under load: in waves, several at once where they are independent."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from .faults.base import Fault, NotFired, Violation
from .gap import Gap, NeverClosed
from .schedule import Queue
from .world import World

log = logging.getLogger(__name__)

AT_ONCE = 4
WAVE = 25
"""Faults before the mesh is left to its load until it has moved past them. How long it needs while others still strike would
say more of those."""
_SETTLES_WITHIN_SECONDS = 120.0
_BETWEEN_SECONDS = 0.2
_LIMIT_SECONDS = 150.0


@dataclass(slots=True)
class Log:
    """What struck, what did not, and how long the mesh needed afterwards, by name of fault (the longest of its waves)."""

    struck: Counter[tuple[int, str]] = field(default_factory=Counter)
    silent: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    recovery_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def faults(self) -> int:
        return self.struck.total()

    @property
    def rows(self) -> set[int]:
        return {row for row, _ in self.struck}

    def recovered(self, name: str, seconds: float) -> None:
        self.recovery_seconds[name] = max(seconds, self.recovery_seconds.get(name, 0.0))

    def merge(self, other: "Log") -> None:
        """Take over what another part of the run wrote down."""
        self.struck.update(other.struck)
        self.silent += other.silent
        self.violations += other.violations
        for name, seconds in other.recovery_seconds.items():
            self.recovered(name, seconds)


class Storm:
    """Faults drawn before, struck now."""

    def __init__(self, world: World, gap: Gap, random: Random, written: Log, *, at_once: int = AT_ONCE) -> None:
        self._world = world
        self._gap = gap
        self._random = random
        self._log = written
        self._slots = asyncio.Semaphore(at_once)
        self._freed = asyncio.Event()

    async def rage(self, order: Sequence[type[Fault]]) -> None:
        """Strike all of them; returns when each is healed and the mesh has moved past it."""
        queue = Queue(order)
        while len(queue):
            async with asyncio.TaskGroup() as wave:
                struck = [await self._next(queue, wave) for _ in range(min(WAVE, len(queue)))]
            names = sorted({kind.name for kind in struck if kind.settles_within is None})
            await self._settled(names, _SETTLES_WITHIN_SECONDS)

    async def _next(self, queue: Queue, wave: asyncio.TaskGroup) -> type[Fault]:
        await self._slots.acquire()
        while (kind := queue.take()) is None:
            self._freed.clear()
            await self._freed.wait()
        wave.create_task(self._strike(kind, queue))
        await asyncio.sleep(_BETWEEN_SECONDS)
        return kind

    async def _strike(self, kind: type[Fault], queue: Queue) -> None:
        fault = kind(self._world, Random(self._random.getrandbits(64)))
        label = f"row {kind.row}, {kind.name}"
        try:
            async with asyncio.timeout(_LIMIT_SECONDS):
                try:
                    await fault.inject()
                    await fault.hold()
                finally:
                    await fault.heal()
                await fault.prove()
        except NotFired as silent:
            self._log.silent.append(f"{label}: {silent}")
        except Violation as violation:
            self._log.violations.append(f"{label}: {violation}")
        except Exception as broken:  # the suite's own trouble must be told, and must not end the run
            log.exception("%s could not be carried out", label)
            self._log.violations.append(f"{label}: could not be carried out: {broken!r}")
        else:
            self._log.struck[kind.row, kind.name] += 1
            log.info("%3d  %s", self._log.faults, label)
            if kind.settles_within is not None:
                await self._settled([kind.name], kind.settles_within)
        finally:
            queue.give_back(kind)
            self._slots.release()
            self._freed.set()

    async def _settled(self, names: Sequence[str], within: float) -> None:
        try:
            seconds = await self._gap.passed(within)
        except NeverClosed as stuck:
            log.warning("the gap did not close after %s", ", ".join(names))
            self._log.violations.append(f"{', '.join(names)}: {stuck}")
            return
        log.info("moved past %d kinds of faults in %.1f s", len(names), seconds)
        for name in names:
            self._log.recovered(name, seconds)
