"""What supervisor and zygote say to each other: JSON objects, one a line, over a Unix socket pair."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TypeVar

# A request carries a whole environment; the kernel allows 128 KiB for a single variable.
MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Spawn:
    """Request: fork a child that calls `function` of `module` with exactly the environment `env`."""

    id: int
    name: str
    module: str
    function: str
    env: Mapping[str, str]
    log: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Request: deliver a signal, unless the child has ended.

    Only the zygote may do so safely: it alone knows that a pid is not yet reaped and so not yet another's.
    """

    pid: int
    signal: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Report, once: the imports are done and took `import_seconds` of CPU."""

    import_seconds: float


@dataclass(frozen=True, slots=True)
class Spawned:
    """Report: request `id` runs as `pid`."""

    id: int
    pid: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Report: request `id` was not carried out."""

    id: int
    problem: str


@dataclass(frozen=True, slots=True)
class Exited:
    """Report: a child has ended with an exit code, or minus the signal that ended it."""

    pid: int
    returncode: int


Request = Spawn | Signal
Report = Ready | Spawned | Refused | Exited

_Message = TypeVar("_Message", Spawn | Signal, Ready | Spawned | Refused | Exited)

_REQUESTS: Mapping[str, type[Request]] = {"spawn": Spawn, "signal": Signal}
_REPORTS: Mapping[str, type[Report]] = {"ready": Ready, "spawned": Spawned, "refused": Refused, "exited": Exited}


def encode(message: Request | Report) -> bytes:
    """One line. Raises ValueError when it would be longer than `MAX_LINE_BYTES`."""
    line = json.dumps({"kind": type(message).__name__.lower(), **asdict(message)}).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"a message of {len(line)} bytes is over the limit of {MAX_LINE_BYTES}")
    return line


def decode_request(line: bytes) -> Request:
    """Raises ValueError, KeyError or TypeError for anything `encode` does not write."""
    return _decode(line, _REQUESTS)


def decode_report(line: bytes) -> Report:
    """Raises ValueError, KeyError or TypeError for anything `encode` does not write."""
    return _decode(line, _REPORTS)


def _decode(line: bytes, kinds: Mapping[str, type[_Message]]) -> _Message:
    fields = json.loads(line)
    return kinds[fields.pop("kind")](**fields)
