"""`make test`: the whole suite in two processes, then the few that failed there once more, alone.

Most of the suite runs against real servers, and two processes of tests keep two cores busy throughout. A test that fails
then and passes alone waited for something that had no core to run on: it is named as unsteady, for its wait to be mended. What
fails alone, too, fails the run, and so do more than `FEW` at once.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FEW = 3
TWO_PROCESSES = ("--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder")
_TESTS_FAILED = 1


def run(folder: Path, arguments: Sequence[str] = TWO_PROCESSES) -> int:
    """Run the tests below `folder`; gives the exit code: 0 when every test passed, at the latest alone."""
    record = folder / ".pytest_cache/v/cache/lastfailed"
    record.unlink(missing_ok=True)
    code = _pytest(folder, *arguments)
    if code != _TESTS_FAILED:
        return code
    failed = sorted(json.loads(record.read_text(encoding="utf-8")))
    if len(failed) > FEW:
        return code
    _say(f"{len(failed)} failed beside others and run once more, alone:", failed)
    if code := _pytest(folder, *failed):
        return code
    _say(
        "unsteady: failed beside others, passed alone; each waits for something that a busy machine brings late:",
        failed,
    )
    return 0


def _pytest(folder: Path, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=folder, check=False).returncode


def _say(what: str, names: Sequence[str]) -> None:
    sys.stdout.write("\n".join(["", what, *(f"  {name}" for name in names), ""]))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run(Path(__file__).resolve().parents[2]))
