"""What the monitor sees, and when it warns. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from clarion_kit.vocabulary import Channel, DeliveryState


@dataclass(frozen=True, slots=True)
class Queue:
    """A lane of the bus: messages waiting, taken and not settled; `age` of its oldest, zero without one."""

    lane: str
    waiting: int
    pending: int
    age: timedelta


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows of one stage and state; `age` of the oldest, zero without one."""

    stage: str
    state: str
    rows: int
    age: timedelta


@dataclass(frozen=True, slots=True)
class Findings:
    """An audit: contradictions of every check (also those without any), and rows that are overdue by minutes."""

    checks: Mapping[str, int]
    stuck: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be before a warning is due."""

    queue_age: timedelta
    backlog_age: timedelta
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A value with its limit; `subject` says of what, e.g. "queue dispatch-ios-urgent oldest seconds"."""

    subject: str
    value: float
    limit: float


@dataclass(frozen=True, slots=True)
class Crossing:
    """A reading that passed its limit, or came back."""

    reading: Reading
    passed: bool


STATES: tuple[tuple[str, str], ...] = (
    ("plan", "ready"),
    ("plan", "enqueued"),
    *(("dispatch", state.name.lower()) for state in DeliveryState if not state.terminal),
    ("schedule", "due"),
    ("receipts", "due"),
)
"""Every stage and state of the backlog."""

_OURS_TO_MOVE = frozenset({"ready", "enqueued", "due"})
# Rows in other states wait for their time, a lease or a provider; the audit finds those that are overdue.


class Thresholds:
    """Remembers what is past its limit: one crossing each way, however often it is read."""

    def __init__(self) -> None:
        self._passed: set[str] = set()

    def judge(self, readings: Iterable[Reading]) -> list[Crossing]:
        crossings = []
        for reading in readings:
            passed = reading.value > reading.limit
            if passed is not (reading.subject in self._passed):
                crossings.append(Crossing(reading, passed))
                (self._passed.add if passed else self._passed.discard)(reading.subject)
        return crossings


def queue_readings(queues: Iterable[Queue], limits: Limits) -> list[Reading]:
    return [
        Reading(f"queue {queue.lane} oldest seconds", queue.age.total_seconds(), limits.queue_age.total_seconds())
        for queue in queues
    ]


def backlog_readings(backlogs: Iterable[Backlog], limits: Limits) -> list[Reading]:
    return [
        Reading(
            f"backlog {backlog.stage} {backlog.state} oldest seconds",
            backlog.age.total_seconds(),
            limits.backlog_age.total_seconds(),
        )
        for backlog in backlogs
        if backlog.state in _OURS_TO_MOVE
    ]


def dead_letter_readings(letters: Mapping[Channel, int], limits: Limits) -> list[Reading]:
    return [Reading(f"dead letters {channel.slug}", count, limits.dead_letters) for channel, count in letters.items()]


def audit_readings(findings: Findings) -> list[Reading]:
    """Nothing may be found."""
    checks = [Reading(f"ledger {name}", count, 0) for name, count in findings.checks.items()]
    return [*checks, Reading("ledger stuck rows", findings.stuck, 0)]


def every_state(backlogs: Iterable[Backlog]) -> list[Backlog]:
    """The backlog with a zero for each state that has no rows, so that a gauge comes back down."""
    found = {(backlog.stage, backlog.state): backlog for backlog in backlogs}
    return [found.get(key) or Backlog(*key, 0, timedelta(0)) for key in STATES]


def every_channel(letters: Mapping[Channel, int]) -> dict[Channel, int]:
    return {channel: letters.get(channel, 0) for channel in Channel}
