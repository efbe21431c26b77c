"""What the generator is asked and what it answers: one line of JSON each. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from clarion_client import Channel, Priority

Mode = Literal["open", "closed", "unary", "batch", "stream"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send and as whom; `sandbox` and `ca_file` are paths."""

    endpoint: str
    ca_file: str
    app_key: str
    app_secret: str = field(repr=False)
    sandbox: str


@dataclass(frozen=True, slots=True)
class Job:
    """Some load.

    - `open`: `rate` items a second for `seconds`, each call at its moment, answered or not.
    - `closed`: `count` items, a tenth one by one, the rest 500 a call, as fast as they are taken while fewer than `window`
      are on their way (0: any number).
    - `unary`, `batch`, `stream`: `count` items that way only, as fast as they are taken.

    `run` names the event ids. `channels` is the pattern of the items; empty: the mix. `due_in`, `due_over`: seconds from the
    start until the first and on to the last of scheduled items; both 0 sends at once. `folder` takes latencies.
    """

    run: str
    mode: Mode
    people: int
    folder: str
    count: int = 0
    rate: float = 0.0
    seconds: float = 0.0
    unary_share: float = 0.1
    window: int = 0
    channels: tuple[int, ...] = ()
    priority: int = int(Priority.NORMAL)
    due_in: float = 0.0
    due_over: float = 0.0

    def pattern(self) -> tuple[Channel, ...]:
        return tuple(Channel(number) for number in self.channels)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a job. `began_at`: Unix seconds of its zero; `seconds`: until the last answer.

    `refused`: items by the reason in their answer; `failed`: calls by status that gave none; `late_ms`: how late the
    generator itself was at worst. Latencies lie in the job's folder as `<run>.unary` and `<run>.batch`.
    """

    accepted: int
    began_at: float
    seconds: float
    refused: Mapping[str, int]
    failed: Mapping[str, int]
    late_ms: float
    due_first: float = 0.0
    due_step: float = 0.0


def to_line(message: Target | Job | Done) -> bytes:
    return json.dumps(asdict(message)).encode() + b"\n"


def target_of(line: bytes) -> Target:
    """Raises ValueError, TypeError."""
    return Target(**json.loads(line))


def job_of(line: bytes) -> Job:
    """Raises ValueError, TypeError."""
    document = json.loads(line)
    document["channels"] = tuple(document["channels"])
    return Job(**document)


def done_of(line: bytes) -> Done:
    """Raises ValueError, TypeError."""
    return Done(**json.loads(line))
