"""Searches files for values that must not be in them, in every form that they may have taken."""

import base64
import mmap
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_SHORTEST = 8
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True, slots=True)
class Hit:
    """A value that was found: its label, the form, the file."""

    label: str
    form: str
    place: str


def forms(value: str) -> Mapping[str, bytes]:
    """A value as bytes by the name of each form: as it is, in hex, base64 (wherever it begins in what is encoded), UTF-16 and
    percent-encoded throughout."""
    raw = value.encode()
    found = {
        "plain": raw,
        "hex": raw.hex().encode(),
        "upper hex": raw.hex().upper().encode(),
        "UTF-16LE": value.encode("utf-16-le"),
        "UTF-16BE": value.encode("utf-16-be"),
        "percent": "".join(f"%{byte:02x}" for byte in raw).encode(),
        "upper percent": "".join(f"%{byte:02X}" for byte in raw).encode(),
        "escaped": "".join(f"\\u{ord(character):04x}" for character in value).encode(),
    }
    if value.isalpha():
        found["upper"] = value.upper().encode()
    for offset in range(3):
        encoded = found[f"base64 at {offset}"] = _base64_within(raw, offset)
        if (url_safe := encoded.translate(_URL_SAFE)) != encoded:
            found[f"base64url at {offset}"] = url_safe
    return {name: form for name, form in found.items() if len(form) >= _SHORTEST}


def search(places: Iterable[Path], values: Mapping[str, str]) -> tuple[list[Hit], int]:
    """Every value (by label) in every file of these files and folders, and how many bytes were looked at.

    grep looks for all of them in one pass; what is in a file that it names is looked up then. Files that vanish meanwhile
    are left out. Raises OSError when a file cannot be read.
    """
    wanted = list(
        {form: (label, name, form) for label, value in values.items() for name, form in forms(value).items()}.values()
    )
    paths = [path for path in places if path.exists()]
    hits: list[Hit] = []
    for path in _holding(paths, [form for _, _, form in wanted]):
        with suppress(FileNotFoundError):
            _search_file(path, wanted, hits)
    return hits, sum(_sizes(paths))


def _holding(paths: Sequence[Path], needles: Sequence[bytes]) -> Iterator[Path]:
    """The files that have one of these byte sequences, none of which holds a line break."""
    with tempfile.NamedTemporaryFile() as patterns:
        patterns.write(b"".join(needle + b"\n" for needle in needles))
        patterns.flush()
        command = ["grep", "-rlaFZ", "-f", patterns.name, "--", *map(str, paths)]
        found = subprocess.run(
            command, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, capture_output=True, check=False
        )
    faults = [line for line in found.stderr.decode().splitlines() if "No such file" not in line]
    if faults:
        raise OSError(faults[0])
    yield from (Path(os.fsdecode(name)) for name in found.stdout.split(b"\0") if name)


def _search_file(path: Path, wanted: Iterable[tuple[str, str, bytes]], hits: list[Hit]) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        hits += [Hit(label, name, str(path)) for label, name, form in wanted if content.find(form) >= 0]


def _sizes(paths: Iterable[Path]) -> Iterator[int]:
    for place in paths:
        for path in [place] if place.is_file() else place.rglob("*"):
            with suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink():
                    yield path.stat().st_size


def _base64_within(raw: bytes, offset: int) -> bytes:
    """The characters that do not depend on what stands before and behind it."""
    encoded = base64.b64encode(b"\0" * offset + raw)
    first = (offset * 8 + 5) // 6
    return encoded[first : (offset + len(raw)) * 8 // 6]
