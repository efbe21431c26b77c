"""CPU time of process trees as the kernel accounts for it (Linux, proc(5))."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Stat:
    """One process: its ticks, those of children it has waited for included."""

    pid: int
    parent: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Machine:
    """Seconds of all cores together since boot."""

    busy: float
    idle: float
    stolen: float

    def since(self, before: "Machine") -> "Machine":
        return Machine(self.busy - before.busy, self.idle - before.idle, self.stolen - before.stolen)


def parse_stat(text: str) -> Stat:
    """A line of /proc/<pid>/stat; the name in it may hold anything, also parentheses. Raises ValueError."""
    pid, _, rest = text.partition(" (")
    fields = rest.rpartition(") ")[2].split()
    if len(fields) < 15:
        raise ValueError("not a line of /proc/<pid>/stat")
    return Stat(int(pid), int(fields[1]), sum(int(field) for field in fields[11:15]))


def parse_machine(text: str, ticks_per_second: int = _TICKS) -> Machine:
    """The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. Raises ValueError."""
    name, *fields = text.split()
    if name != "cpu" or len(fields) < 8:
        raise ValueError("not the first line of /proc/stat")
    user, nice, system, idle, waiting, irq, softirq, stolen = (int(field) / ticks_per_second for field in fields[:8])
    return Machine(user + nice + system + irq + softirq, idle + waiting, stolen)


def seconds_by_name(
    stats: Iterable[Stat], roots: Mapping[str, int], ticks_per_second: int = _TICKS
) -> dict[str, float]:
    """CPU seconds of each root with everything below it. A process below two roots counts for the nearer one.

    What a child used moves to its parent's account when the parent has waited for it, so the sum over a tree that still
    stands loses nothing.
    """
    by_pid = {stat.pid: stat for stat in stats}
    names = {pid: name for name, pid in roots.items()}
    ticks: dict[str, int] = defaultdict(int)
    for stat in by_pid.values():
        at: Stat | None = stat
        for _ in range(len(by_pid)):
            if at is None or at.pid in names:
                break
            at = by_pid.get(at.parent)
        if at is not None and at.pid in names:
            ticks[names[at.pid]] += stat.ticks
    return {name: ticks.get(name, 0) / ticks_per_second for name in roots}


def take(roots: Mapping[str, int], proc: Path = _PROC) -> dict[str, float]:
    """`seconds_by_name` of now; a root that has ended has 0. Raises OSError where there is no /proc."""
    return seconds_by_name(_all(proc), roots)


def machine(proc: Path = _PROC) -> Machine:
    """Raises OSError, ValueError."""
    with (proc / "stat").open() as file:
        return parse_machine(file.readline())


def written(pid: int, proc: Path = _PROC) -> int:
    """Bytes that a process has had written to disk (/proc/<pid>/io). Raises OSError."""
    for line in (proc / str(pid) / "io").read_text().splitlines():
        name, _, value = line.partition(": ")
        if name == "write_bytes":
            return int(value)
    return 0


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Seconds between two looks, by name. A process that was started anew counts from its start."""
    return {name: now - before.get(name, 0.0) if now >= before.get(name, 0.0) else now for name, now in after.items()}


def micros_each(seconds: Mapping[str, float], count: int) -> dict[str, float]:
    """Microseconds a piece, by name, dearest first. Raises ValueError for no pieces."""
    if count < 1:
        raise ValueError("nothing was done")
    dearest = sorted(seconds.items(), key=lambda item: -item[1])
    return {name: round(value * 1e6 / count, 1) for name, value in dearest}


def _all(proc: Path) -> Iterable[Stat]:
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                yield parse_stat((entry / "stat").read_text())
            except (OSError, ValueError):
                continue  # ended between the two looks
