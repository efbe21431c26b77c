"""Memory of processes as the kernel accounts for it (Linux)."""

from pathlib import Path


def proportional_set_size(pid: int, proc: Path = Path("/proc")) -> int | None:
    """PSS in bytes: what a process alone uses, and its share of what it uses with others. None where it is not told."""
    try:
        lines = (proc / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None
