"""``python -m tests.adversity [--seed N] [--smoke]``: the fault suite; exit 0 if nothing was lost and everything struck."""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

from .campaign import Plan, campaign
from .episodes import ALONGSIDE, CONTROLS, IN_ORDER
from .episodes.base import Episode
from .load import Rate
from .report import Report, Wanted

FULL = Plan(faults=320, accepted=200_000, restarts=20, rate=Rate(200))
SMOKE = Plan(faults=28, accepted=8_000, restarts=1, rate=Rate(300))
FULL_WANTED = Wanted(faults=300, kinds=25, accepted=200_000, negative_controls=True)
SMOKE_WANTED = Wanted(faults=24, kinds=20, accepted=8_000, negative_controls=False)

log = logging.getLogger(__name__)


async def run(seed: int, folder: Path, *, smoke: bool, only: str = "") -> Report:
    """Every part of the suite; what waits more than it works runs beside the rest."""
    if only:
        report = Report(seed, Wanted(faults=0, kinds=0, accepted=0, negative_controls=False))
        for episode in (*IN_ORDER, *ALONGSIDE, *CONTROLS):
            if only in episode.name:
                await _play(episode, folder, seed, report)
        return report
    report = Report(seed, SMOKE_WANTED if smoke else FULL_WANTED)
    if smoke:
        await campaign(folder / "storm", seed, SMOKE, report)
        return report
    async with asyncio.TaskGroup() as group:
        for episode in ALONGSIDE:
            group.create_task(_play(episode, folder, seed, report))
        await campaign(folder / "storm", seed, FULL, report)
        for episode in (*IN_ORDER, *CONTROLS):
            await _play(episode, folder, seed, report)
    return report


async def _play(episode: Episode, folder: Path, seed: int, report: Report) -> None:
    if reason := episode.unavailable():
        report.untested.append(f"{episode.name}: {reason}")
        return
    log.info("episode: %s", episode.name)
    began = time.monotonic()
    place = folder / type(episode).__name__.lower()
    place.mkdir(parents=True)
    try:
        await episode.run(place, seed, report)
    except Exception as broken:  # one episode that breaks is a fault of the run, and must not hide the others
        log.exception("%s broke off", episode.name)
        report.complaints.append(f"{episode.name} broke off: {broken!r}")
    log.info("episode took %.0f s: %s", time.monotonic() - began, episode.name)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.adversity", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of every choice the suite makes")
    parser.add_argument("--smoke", action="store_true", help="the short form, for every change")
    parser.add_argument("--only", default="", help="just the episodes whose name has this in it")
    parser.add_argument("--keep", type=Path, help="folder for data and logs, kept afterwards")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    for noisy in ("nats", "alembic", "clarion_kit.bus"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="clarion-adversity-") as made:
        report = asyncio.run(run(options.seed, options.keep or Path(made), smoke=options.smoke, only=options.only))
    for (row, name), count in sorted(report.log.struck.items()):
        recovered = report.log.recovery_seconds.get(name)
        log.info("row %2d  %4d times  %s%s", row, count, name, f", moved on in {recovered:.1f} s" if recovered else "")
    for what in report.log.silent:
        log.info("left no trace: %s", what)
    for what in report.untested:
        log.warning("not tested here: %s", what)
    faults = list(report.faults())
    for fault in faults:
        log.error("FAULT: %s", fault)
    log.info("%d faults in %.0f s", report.log.faults, time.monotonic() - began)
    sys.stdout.write(report.line() + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
