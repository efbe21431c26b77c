"""``python -m clarion_local.bench [run|readme]``: the benchmark, or its results written into the READMEs.

The last line of stdout is JSON; exit 0 if everything was accounted for, whatever the figures.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

import uvloop
from rich.console import Console

from clarion_kit import tls
from clarion_local.bench import tables
from clarion_local.bench.run import NAMES, RESULTS_FILE, BenchOptions, run
from clarion_local.bench.sizes import SIZES
from clarion_local.cli.signals import until_signalled

OUT = Path("build/bench")
INTERRUPTED = 130


def bench(options: BenchOptions) -> int:
    """Run, print the last line, and give the exit status. Raises what `run` does."""
    tls.restrict_cipher_suites()
    console = Console(stderr=True)
    results = uvloop.run(until_signalled(run(options, console)))
    if results is None:
        console.print("interrupted; everything is stopped")
        return INTERRUPTED
    for fault in results.faults():
        console.print(f"FAULT: {fault}", style="bold red", markup=False)
    sys.stdout.write(json.dumps(results.summary()) + "\n")
    return 1 if any(results.faults()) else 0


def _readme(out: Path, second: Path | None) -> int:
    """Write the tables; 1 if there are two runs that do not agree."""
    first = json.loads((out / RESULTS_FILE).read_text())
    again = json.loads((second / RESULTS_FILE).read_text()) if second else None
    for path in tables.write(Path.cwd(), first, again):
        sys.stdout.write(f"{path}\n")
    apart = tables.disagreements(first, again) if again else {}
    for key, share in apart.items():
        sys.stderr.write(f"{key}: {'not in both runs' if share is None else f'{share:.0%} apart'}\n")
    return 1 if apart else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m clarion_local.bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("run", "readme"), default="run")
    parser.add_argument("--only", default="", help=f"sections, comma-separated: {', '.join(NAMES)}")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", dest="sizes", action="store_const", const="quick", help="smaller counts, same parts")
    sizes.add_argument("--smoke", dest="sizes", action="store_const", const="smoke", help="tiny counts; no figures")
    parser.add_argument("--profile", action="store_true", help="also py-spy on every daemon")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for results and page")
    parser.add_argument("--second", type=Path, help="readme: folder of a second run, that stands beside the first")
    parser.add_argument("--keep", type=Path, help="folder for data and logs, kept afterwards")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    for noisy in ("nats", "alembic", "clarion_kit.bus"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    if given.what == "readme":
        return _readme(given.out, given.second)
    only = tuple(name for name in given.only.split(",") if name)
    options = BenchOptions(given.out, given.sizes or next(iter(SIZES)), only, given.profile, given.keep)
    try:
        options.wanted()
    except ValueError as fault:
        parser.error(str(fault))
    return bench(options)


if __name__ == "__main__":
    sys.exit(main())
