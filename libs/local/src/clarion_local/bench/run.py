"""A whole run: sections one after the other, progress on the way, results in a folder."""

import logging
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from clarion_local.bench import page, world
from clarion_local.bench.context import Context
from clarion_local.bench.results import Results, machine
from clarion_local.bench.sections.broadcasts import broadcasts
from clarion_local.bench.sections.edges import edges
from clarion_local.bench.sections.growth import growth
from clarion_local.bench.sections.latency import latency, urgent_in_flood
from clarion_local.bench.sections.profile import profile
from clarion_local.bench.sections.reads import reads
from clarion_local.bench.sections.restart import restart
from clarion_local.bench.sections.scale import scale
from clarion_local.bench.sections.scheduled import scheduled
from clarion_local.bench.sections.scrape import scrape
from clarion_local.bench.sections.stages import stages
from clarion_local.bench.sections.throughput import throughput, warm_up
from clarion_local.bench.sections.tracing import tracing
from clarion_local.bench.sections.yardstick import yardstick
from clarion_local.bench.sizes import SIZES
from clarion_local.bench.world import World

Shared = Callable[[Context, World], Awaitable[dict[str, object]]]
Own = Callable[[Context, Path], Awaitable[dict[str, object]]]

SHARED: Mapping[str, Shared] = {
    "throughput": throughput,
    "latency": latency,
    "urgent": urgent_in_flood,
    "stages": stages,
    "edges": edges,
    "reads": reads,
    "scrape": scrape,
    "broadcast": broadcasts,
    "scheduled": scheduled,
    "yardstick": yardstick,
    "profile": profile,
}
"""Sections that use one world, one after the other."""
OWN: Mapping[str, Own] = {"growth": growth, "restart": restart, "scale": scale, "tracing": tracing}
"""Sections with worlds of their own."""
NAMES = (*SHARED, *OWN)
RESULTS_FILE, PAGE_FILE = "results.json", "index.html"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to run: a name of `SIZES`, sections (empty: all, but profiles only if `profiles`), where results go, and where
    data and logs stay (None: nowhere)."""

    out: Path
    sizes: str = "full"
    only: Collection[str] = ()
    profiles: bool = False
    keep: Path | None = None

    def wanted(self) -> tuple[str, ...]:
        """Raises ValueError for a section that is none."""
        if unknown := set(self.only) - set(NAMES):
            raise ValueError(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
        chosen = set(self.only) or set(NAMES) - {"profile"}
        return tuple(name for name in NAMES if name in chosen or (name == "profile" and self.profiles))


@dataclass(slots=True)
class _Run:
    """A run on its way."""

    context: Context
    results: Results
    path: Path
    console: Console
    finished: Callable[[], None]

    async def section(self, name: str, work: Awaitable[dict[str, object]]) -> None:
        """Do one section and keep what came of it."""
        self.console.print(name)
        began = time.monotonic()
        try:
            self.results.sections[name] = await work
        except Exception as broken:  # one section that breaks is a fault of the run, and must not hide the others
            log.exception("%s broke off", name)
            self.results.broken[name] = repr(broken)
        self.results.seconds[name] = round(time.monotonic() - began, 1)
        self.results.write(self.path)
        self.finished()

    async def shared(self, folder: Path, names: list[str]) -> None:
        """The sections of one world, and what starting it took."""
        sizes = self.context.sizes
        async with world.opened(folder, sizes.recipients) as place:
            self.results.sections["start"] = {
                "ready_seconds": round(place.stack.ready_seconds, 2),
                "recipients": sizes.recipients,
                "import_seconds": round(place.import_seconds, 2),
                "imported_per_s": round(sizes.recipients / place.import_seconds, 1) if place.import_seconds else None,
            }
            await warm_up(self.context, place)
            for name in names:
                await self.section(name, self._checked(place, SHARED[name]))
                await _whole(place)
        self.results.sections["traces"] = dict(place.sink.received)

    async def _checked(self, place: World, work: Shared) -> dict[str, object]:
        """Figures of a mesh that stood all the while. Raises StartFailed if something ended by itself."""
        found = await work(self.context, place)
        place.stack.check()
        return found


async def _whole(place: World) -> None:
    """Start what a section that broke off had stopped. Raises StartFailed."""
    fleet = place.stack.fleet
    for name in fleet.names():
        if not fleet.running(name):
            await fleet.start(name)


async def run(options: BenchOptions, console: Console) -> Results:
    """Run and write results and page. What a section raises is among the results; raises what a world does that cannot be
    opened, and OSError, ValueError."""
    wanted = options.wanted()
    options.out.mkdir(parents=True, exist_ok=True)
    results = Results(options.sizes, datetime.now(UTC), machine(), whole=not options.only)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console) as progress,
        tempfile.TemporaryDirectory(prefix="clarion-bench-") as made,
    ):
        sections = progress.add_task("sections", total=len(wanted))
        arriving = progress.add_task("arrived", total=None, visible=False)

        def finished() -> None:
            progress.update(sections, advance=1)
            progress.update(arriving, visible=False)

        context = Context(
            SIZES[options.sizes],
            options.out,
            say=lambda line: console.print(f"  {line}", style="dim"),
            tell=lambda done, of: progress.update(arriving, completed=done, total=of, visible=True),
            proofs=results.proofs,
        )
        going = _Run(context, results, options.out / RESULTS_FILE, console, finished)
        folder = options.keep or Path(made)
        if shared := [name for name in wanted if name in SHARED]:
            await going.shared(folder / "main", shared)
        for name in wanted:
            if name in OWN:
                await going.section(name, OWN[name](context, folder / name))
    results.write(options.out / RESULTS_FILE)
    (options.out / PAGE_FILE).write_text(page.page(results.document()))
    return results
