"""Known vulnerabilities of what is locked, by pip-audit, where a service that knows them can be reached.

Asked is first for one package, so that a machine without such a service finds out in seconds.
"""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .locked import LOCK, ROOT

LIMIT_SECONDS = 60
_PROBE_SECONDS = 15
_CALL_SECONDS = "5"
SKIPPED = "skipped: pip-audit, no vulnerability service reachable"


@dataclass(frozen=True, slots=True)
class Audit:
    """`known` packages, others that the service does not know, and a line for each vulnerability."""

    known: int
    unknown: int
    found: list[str]


def audit(requirements: Path, seconds: float) -> Audit | None:
    """None where no service answers in time, or one that knows nothing."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", _CALL_SECONDS]
    try:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "PIP_AUDIT_CACHE_DIR": str(ROOT / "build" / "pip-audit")},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        report = read(ended.stdout)
        return report if report.known else None
    except (subprocess.TimeoutExpired, ValueError):
        return None


def read(output: str) -> Audit:
    """What pip-audit found, as it says in JSON. Raises ValueError for what is no such document: it had no answer."""
    try:
        listed = json.loads(output)["dependencies"]
        found = [
            f"{one['name']} {one['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version'}"
            for one in listed
            for flaw in one.get("vulns", [])
        ]
    except (KeyError, TypeError) as fault:
        raise ValueError("not a report of pip-audit") from fault
    known = sum("vulns" in one for one in listed)
    return Audit(known, len(listed) - known, found)


def run() -> int:
    """Say what is known; gives the exit status, 1 for a vulnerability."""
    probe = ROOT / "build" / "pip-audit.txt"
    probe.parent.mkdir(exist_ok=True)
    probe.write_text(_first_block())
    reachable = audit(probe, _PROBE_SECONDS) is not None
    report = audit(LOCK, LIMIT_SECONDS - _PROBE_SECONDS) if reachable else None
    if report is None:
        sys.stdout.write(f"{SKIPPED}\n")
        return 0
    sys.stdout.write("".join(f"{line}\n" for line in report.found))
    sys.stdout.write(
        f"{report.known} packages, {len(report.found)} known vulnerabilities; {report.unknown} packages unknown to the service\n"
    )
    return 1 if report.found else 0


def _first_block() -> str:
    """The lines of the first package in the lock file."""
    lines = LOCK.read_text().splitlines(keepends=True)
    rest = itertools.takewhile(lambda line: line.startswith(" "), lines[1:])
    return "".join((lines[0], *rest))
