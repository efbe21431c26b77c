"""``python -m tests.attack [--seed N] [--short] [--only NAME,…]``: every attack; exit 0 if none got through."""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from clarion_local.stack import Options, Stack
from clarion_testkit.memory import memory_folder
from clarion_testkit.otlp import Collector

from . import canary, flood, headers, pumping, rpc_matrix, ssrf, stolen, templates, timing, tokens, webhooks
from .finding import Finding, Size
from .report import Report, minimums
from .stage import Stage, open_stage

ATTACKS: Mapping[str, Callable[[Stage, Size], Awaitable[Finding]]] = {
    "timing": timing.attack,
    "tokens": tokens.attack,
    "rpc_matrix": rpc_matrix.attack,
    "ssrf": ssrf.attack,
    "templates": templates.attack,
    "headers": headers.attack,
    "webhooks": webhooks.attack,
    "stolen": stolen.attack,
    "pumping": pumping.attack,
    "flood": flood.attack,
    "canary": canary.attack,
}
"""In this order: what measures time comes first, what makes a crowd comes late."""

log = logging.getLogger(__name__)


async def run(seed: int, folder: Path, size: Size, only: frozenset[str]) -> Report:
    """All attacks, or some, on a mesh of its own whose daemons are processes."""
    whole = size is Size.FULL and not only
    report = Report(seed, minimums() if whole else {})
    async with Collector.start() as collector:
        options = Options(folder / "stack", otlp_endpoint=collector.endpoint, trace_ratio=0.05)
        async with Stack.start(options) as stack, open_stage(stack, seed, collector) as stage:
            for name, attack in ATTACKS.items():
                if not only or name in only:
                    await _make(name, attack, stage, size, report)
                    stack.check()
    return report


async def _make(
    name: str, attack: Callable[[Stage, Size], Awaitable[Finding]], stage: Stage, size: Size, report: Report
) -> None:
    log.info("attack: %s", name)
    began = time.monotonic()
    try:
        report.findings.append(await attack(stage, size))
    except Exception as broken:  # one attack that breaks off is a fault of the run, and must not hide the others
        log.exception("%s broke off", name)
        report.broken.append(f"{name} broke off: {broken!r}")
    log.info("%s took %.0f s", name, time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of every choice an attack makes")
    parser.add_argument("--short", action="store_true", help="the form that is among the tests")
    parser.add_argument("--only", default="", help="just these, comma separated: " + ", ".join(ATTACKS))
    parser.add_argument("--keep", type=Path, help="folder for data and logs, kept afterwards")
    options = parser.parse_args()
    only = frozenset(filter(None, options.only.split(",")))
    if unknown := only - ATTACKS.keys():
        parser.error(f"there is no attack {', '.join(sorted(unknown))}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    for noisy in ("nats", "alembic", "clarion_kit.bus"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    began = time.monotonic()
    # In memory: what a flood does to others is to be told from a disk that stands still.
    with memory_folder("attack") as made:
        size = Size.SHORT if options.short else Size.FULL
        report = asyncio.run(run(options.seed, options.keep or made, size, only))
    for row in report.table():
        log.info("%s", row)
    faults = list(report.faults())
    for fault in faults:
        log.error("ESCAPE: %s", fault)
    log.info("%.0f s in all", time.monotonic() - began)
    sys.stdout.write(report.line() + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
