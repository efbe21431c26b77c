"""`clarion bench`."""

from pathlib import Path
from typing import Annotated

import typer

from clarion_local.cli.command import command
from clarion_local.cli.failures import UsageFault
from clarion_local.cli.output import Output

_DEFAULT_OUT = Path("build/bench")


@command
def bench(
    out: Output,
    only: Annotated[str, typer.Option(metavar="SECTIONS", help="Only these, comma-separated.")] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Smaller counts, same parts.")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="Tiny counts: correctness, no figures.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Also what takes each daemon's CPU (py-spy).")] = False,
    results: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for results and page.")] = _DEFAULT_OUT,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Folder for data and logs, kept afterwards.")
    ] = None,
) -> None:
    """Measure the whole mesh on this machine, against the sandbox; exit 1 if a message is unaccounted for.

    Takes up to 45 minutes and wants the machine for itself. The last line of stdout is JSON.
    """
    # Imported here: it costs more than a second that other commands need not pay (measured with `demo`).
    from clarion_local.bench.__main__ import bench as run_bench
    from clarion_local.bench.run import BenchOptions

    if quick and smoke:
        raise UsageFault("--quick and --smoke exclude each other")
    sizes = "smoke" if smoke else "quick" if quick else "full"
    options = BenchOptions(results, sizes, tuple(name for name in only.split(",") if name), profile, keep)
    try:
        options.wanted()
    except ValueError as fault:
        raise UsageFault(str(fault)) from None
    if status := run_bench(options):
        raise typer.Exit(status)
