"""The main part of a run: a storm of faults on a replicated mesh under load, then rolling restarts."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

from .faults import EVERY
from .faults.cache import SendsWhileFrozen, ValkeyFrozen
from .load import Rate
from .report import Report
from .rolling import restart_all
from .schedule import drawn
from .storm import Storm
from .trial import Trial, trial
from .world import open_world

log = logging.getLogger(__name__)

ROLLING = "rolling"
ROLLING_PER_SECOND = 200
"""Half of all daemons start anew at once: on two cores that leaves no room for more."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything."""

    faults: int
    accepted: int
    restarts: int
    rate: Rate


async def campaign(folder: Path, seed: int, plan: Plan, report: Report) -> None:
    """Run it and write into the report. Raises what starting the world raises."""
    async with open_world(folder) as world, trial(world, plan.rate, seed, report) as running:
        await Storm(world, running.gap, Random(f"{seed} strikes"), report.log).rage(
            drawn(EVERY, plan.faults, Random(f"{seed} order"))
        )
        _tell("the storm is over", running)
        await _measure_valkey(running, seed)
        await _roll(running, plan.restarts)
        _tell("every replica was restarted", running)
        missing = plan.accepted - world.register.accepted
        if missing > 0:
            await running.accepts(missing, within=30 + 4 * missing / plan.rate.per_second)
    if running.verdict is not None:
        repeated = [duplicate for duplicate in running.verdict.duplicates if duplicate.phase == ROLLING]
        if repeated:
            report.complaints.append(f"{len(repeated)} duplicates during rolling restarts, such as {repeated[0]}")


async def _measure_valkey(running: Trial, seed: int) -> None:
    added = await SendsWhileFrozen(ValkeyFrozen(running.world, Random(seed))).added_seconds()
    log.info("a frozen Valkey adds %.0f ms to a Send", added * 1000)
    running.struck(ValkeyFrozen.row, "Valkey frozen, single sends timed")


async def _roll(running: Trial, rounds: int) -> None:
    """Rolling restarts in a phase of their own, whose figures must all be 0."""
    report, register = running.report, running.world.register
    await running.recovered("the storm")
    running.load.go_at(ROLLING_PER_SECOND)
    running.load.phase = ROLLING
    for number in range(rounds):
        began = time.monotonic()
        killed = await restart_all(running.world)
        running.struck(30, "rolling restart of every daemon")
        report.complaints += [f"rolling restart {number + 1}: {name} had to be killed" for name in killed]
        log.info("rolling restart %d took %.1f s", number + 1, time.monotonic() - began)
    running.load.phase = "after"
    if failed := register.failed_in(ROLLING):
        reasons = {reason: count for (phase, reason), count in register.failures.items() if phase == ROLLING}
        report.complaints.append(f"{failed} calls failed during rolling restarts: {reasons}")


def _tell(what: str, running: Trial) -> None:
    register = running.world.register
    log.info("%s: %d accepted, callers saw %s", what, register.accepted, dict(register.failures))
