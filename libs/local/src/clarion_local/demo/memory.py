"""Memory of processes as the kernel accounts for it (Linux)."""

from collections.abc import Mapping
from pathlib import Path

_PROC = Path("/proc")


def proportional_set_size(pid: int, proc: Path = _PROC) -> int | None:
    """PSS in bytes: what a process alone uses, and its share of what it uses with others. None where it is not told."""
    try:
        lines = (proc / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None


def by_daemon(pids: Mapping[str, int], proc: Path = _PROC) -> dict[str, int]:
    """PSS in bytes by name, without those that are not told."""
    sizes = {name: proportional_set_size(pid, proc) for name, pid in pids.items()}
    return {name: size for name, size in sizes.items() if size is not None}
