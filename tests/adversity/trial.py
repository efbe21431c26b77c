"""A world under load from beginning to end: load, whatever is done to it, quiet-down, reckoning."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from clarion_ledger.audit import audit

from .checker import Verdict, check
from .evidence import gather
from .gap import Gap, NeverClosed
from .load import Load, Rate
from .report import Report
from .world import World

log = logging.getLogger(__name__)

QUIET_DOWN_SECONDS = 100.0


@dataclass(slots=True)
class Trial:
    """A world with its load and its gap. `verdict` is there after the trial."""

    world: World
    load: Load
    gap: Gap
    report: Report
    verdict: Verdict | None = None

    async def recovered(self, name: str, within: float = QUIET_DOWN_SECONDS) -> None:
        """Wait until the mesh has moved past this moment and note how long it took; too long is a complaint."""
        try:
            self.report.log.recovered(name, await self.gap.passed(within))
        except NeverClosed as stuck:
            self.report.log.violations.append(f"{name}: {stuck}")

    async def accepts(self, more: int, within: float) -> float:
        """Wait until so many more were told OK; gives how long that took. Raises TimeoutError."""
        register = self.world.register
        loop = asyncio.get_running_loop()
        began, wanted = loop.time(), register.accepted + more
        async with asyncio.timeout(within):
            while register.accepted < wanted:  # noqa: ASYNC110  # the load counts, and tells nobody
                await asyncio.sleep(0.05)
        return loop.time() - began

    def struck(self, row: int, name: str) -> None:
        """Count a fault that was proven to have happened."""
        self.report.log.struck[row, name] += 1
        log.info("%3d  row %d, %s", self.report.log.faults, row, name)


@asynccontextmanager
async def trial(world: World, rate: Rate, seed: int, report: Report) -> AsyncIterator[Trial]:
    """Load while entered; then everything has to end, and the records are compared into the report."""
    gap = Gap(world.pool)
    running = Trial(world, Load(world.client, world.pool, world.register, rate, seed), gap, report)
    looking = asyncio.create_task(gap.run())
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(running.load.run())
            try:
                yield running
            finally:
                running.load.stop()
        try:
            log.info("everything has ended %.1f s after the load", await gap.closed(QUIET_DOWN_SECONDS))
        except NeverClosed as never:
            report.complaints.append(str(never))
        running.verdict = await _reckon(world, report)
    finally:
        looking.cancel()
        await asyncio.wait([looking])


async def _reckon(world: World, report: Report) -> Verdict:
    """Compare the records, and have the ledger audit itself."""
    verdict = check(await gather(world.pool, world.app_id, world.sandbox_ledger, world.register.events))
    report.verdicts.append(verdict)
    report.accepted += world.register.accepted
    for duplicate in verdict.duplicates:
        log.info("duplicate, %s: %s", "flagged" if duplicate.flagged else "NOT FLAGGED", duplicate)
    found = await audit(world.pool, since=datetime.now(UTC) - timedelta(days=1))
    if found.unaccounted:
        report.complaints.append(f"the audit found {found.findings}")
    return verdict
