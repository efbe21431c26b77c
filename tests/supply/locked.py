"""What requirements.lock names: versions and the hashes of the files that may be installed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from clarion_kit import mesh
from docker.closure import TOOLS, closure_of

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
IMAGES = (*mesh.DAEMONS, *TOOLS)
_BLOCK = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Locked:
    """One version of a package; `sha256` of every file of it, of which one is installed."""

    name: str
    version: str
    sha256: tuple[str, ...]

    @property
    def installed(self) -> bool:
        """Whether it is here: a lock is for every platform."""
        try:
            return version(self.name) == self.version
        except PackageNotFoundError:
            return False


def locked(text: str) -> list[Locked]:
    """Everything that a lock file names, by name."""
    found = list(_BLOCK.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    return sorted(
        (
            Locked(match[1], match[2], tuple(sorted(_HASH.findall(text[match.start() : end]))))
            for match, end in zip(found, ends, strict=True)
        ),
        key=lambda one: (one.name, one.version),
    )


def chosen(names: Iterable[str]) -> list[Locked]:
    """The locked and installed version of each name. Raises LookupError for one that is not locked."""
    wanted = set(names)
    found = [one for one in locked(LOCK.read_text()) if one.name in wanted and one.installed]
    if missing := wanted - {one.name for one in found}:
        raise LookupError(f"not in requirements.lock, or not installed (make lock, make setup): {sorted(missing)}")
    return found


def runtime() -> list[Locked]:
    """Everything that is in some image."""
    return chosen({name for image in IMAGES for name in closure_of(image).packages})
