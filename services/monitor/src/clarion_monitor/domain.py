"""What the monitor sees, and when it warns. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from clarion_kit.vocabulary import Channel, DeliveryState


class Kind(StrEnum):
    """What an alert is about; the value is also the anchor of its runbook."""

    QUEUE_AGE = "queue-age"
    BACKLOG_AGE = "backlog-age"
    OUTBOX_AGE = "outbox-age"
    LEDGER = "ledger"
    FAILURES = "failures"
    PROVIDER_ERRORS = "provider-errors"
    BREAKER = "breaker"
    LANE_STOPPED = "lane-stopped"
    TOKEN_DEATHS = "token-deaths"
    LANE_QUALITY = "lane-quality"
    CONSUMER = "consumer"
    STREAM = "stream"
    WEBHOOKS = "webhooks"


@dataclass(frozen=True, slots=True)
class Queue:
    """A lane of the bus: messages waiting, taken and not settled; `age` of its oldest, zero without one."""

    lane: str
    waiting: int
    pending: int
    age: timedelta


@dataclass(frozen=True, slots=True)
class Backlog:
    """Rows of one stage and state; `age` of the oldest, zero without one, and since when that waits."""

    stage: str
    state: str
    rows: int
    age: timedelta
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class AppBacklog:
    """Rows of one app, in all stages and states."""

    app: str
    rows: int
    age: timedelta


@dataclass(frozen=True, slots=True)
class Findings:
    """An audit: contradictions of every check (also those without any), and rows that are overdue by minutes, by app and
    stage."""

    checks: Mapping[str, int]
    stuck: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be before a warning is due. `failures` of one cause are too many, and so is any number of its dead letters
    above `dead_letters`. Rows that do not move for `standstill` stand still. Of an account's answers, a share of errors is
    too much from `error_share` on (0-1) where there are `least_answers`; dead addresses are from `dead_addresses` on where they are
    `dead_share` of them. `lane_quality`: percent of its weight that an SMS account should keep."""

    queue_age: timedelta
    backlog_age: timedelta
    dead_letters: int
    outbox_age: timedelta = timedelta(seconds=30)
    standstill: timedelta = timedelta(seconds=30)
    failures: int = 20
    error_share: float = 0.5
    least_answers: int = 10
    dead_addresses: int = 30
    dead_share: float = 0.2
    lane_quality: int = 50
    breaker_open: timedelta = timedelta(seconds=15)
    stream_fill: float = 0.9


@dataclass(frozen=True, slots=True)
class Reading:
    """A value with its limit; `subject` says of what, e.g. "queue dispatch-ios-urgent oldest seconds", and is the same in
    every reading of it. Who passes a limit without a `kind` is logged and no more.

    `what` tells people what is wrong once it is, without personal data; `unit` is what its figures are in, "" for a count.
    `reached`: the limit itself is too much.
    """

    subject: str
    value: float
    limit: float
    kind: Kind | None = None
    what: str = ""
    unit: str = ""
    app_id: int | None = None
    lane_id: int | None = None
    reached: bool = False

    @property
    def passed(self) -> bool:
        return self.value > self.limit or (self.reached and self.value == self.limit)

    @property
    def key(self) -> str:
        """The incident it belongs to, once it is passed."""
        return f"{self.kind}/{self.subject}"


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
_PUBLISHED = frozenset({"ready", "enqueued"})
_RESTING = frozenset({"ready", "due"})
# Rows in other states wait for their time, a lease or a provider; the audit finds those that are overdue.


class Thresholds:
    """Remembers what is past its limit: one crossing each way, however often it is read."""

    def __init__(self) -> None:
        self._passed: dict[str, Reading] = {}

    def judge(self, readings: Sequence[Reading]) -> list[Crossing]:
        """`readings` are whole: what was past its limit and is not among them came back."""
        passed = {reading.subject: reading for reading in readings if reading.passed}
        now = {reading.subject: reading for reading in readings}
        crossings = [Crossing(reading, True) for subject, reading in passed.items() if subject not in self._passed]
        crossings += [
            Crossing(now.get(subject, reading), False)
            for subject, reading in self._passed.items()
            if subject not in passed
        ]
        self._passed = passed
        return crossings


@dataclass(slots=True)
class _Standing:
    since: datetime
    rows: int
    seen: float


class Standstills:
    """Remembers which rows wait for us, and since when none of them moved: the oldest is still the same one, and they did
    not become fewer. A long backlog that drains is none."""

    def __init__(self, after: timedelta) -> None:
        self._after = after.total_seconds()
        self._standing: dict[tuple[str, str], _Standing] = {}

    def judge(self, backlogs: Iterable[Backlog], now: float) -> set[tuple[str, str]]:
        """Stages and states that stand still; `now` is monotonic, in seconds."""
        standing: dict[tuple[str, str], _Standing] = {}
        for backlog in backlogs:
            if backlog.state not in _RESTING or backlog.since is None or not backlog.rows:
                continue
            place = (backlog.stage, backlog.state)
            known = self._standing.get(place)
            if known is None or known.since != backlog.since or backlog.rows < known.rows:
                known = _Standing(backlog.since, backlog.rows, now)
            known.rows = backlog.rows
            standing[place] = known
        self._standing = standing
        return {place for place, known in standing.items() if now - known.seen >= self._after}


def queue_readings(queues: Iterable[Queue], limits: Limits) -> list[Reading]:
    return [
        Reading(
            f"queue {queue.lane} oldest seconds",
            queue.age.total_seconds(),
            limits.queue_age.total_seconds(),
            Kind.QUEUE_AGE,
            f"messages wait on the bus: {queue.lane}",
            "s",
        )
        for queue in queues
    ]


def backlog_readings(
    backlogs: Iterable[Backlog], limits: Limits, standing: Collection[tuple[str, str]] = ()
) -> list[Reading]:
    """`standing`: what does not move at all, which may last less long."""
    return [
        Reading(
            f"backlog {backlog.stage} {backlog.state} oldest seconds",
            backlog.age.total_seconds(),
            (limits.standstill if still else limits.backlog_age).total_seconds(),
            Kind.BACKLOG_AGE,
            f"rows {'stand still' if still else 'wait'} in the ledger: {backlog.stage} {backlog.state}",
            "s",
        )
        for backlog in backlogs
        if backlog.state in _OURS_TO_MOVE
        for still in ((backlog.stage, backlog.state) in standing,)
    ]


def outbox_age(backlogs: Iterable[Backlog]) -> timedelta:
    """Age of the oldest row that is committed and not published."""
    return max((backlog.age for backlog in backlogs if backlog.state == "ready"), default=timedelta(0))


def outbox_reading(backlogs: Iterable[Backlog], limits: Limits, *, bus_away: bool) -> Reading:
    """Rows that nothing publishes. While the bus answers there is no outbox, only a backlog."""
    ages = [backlog.age for backlog in backlogs if backlog.state in _PUBLISHED] if bus_away else []
    return Reading(
        "outbox oldest seconds",
        max(ages, default=timedelta(0)).total_seconds(),
        limits.outbox_age.total_seconds(),
        Kind.OUTBOX_AGE,
        "the bus is away and rows wait for it",
        "s",
    )


def dead_letter_readings(letters: Mapping[Channel, int], limits: Limits) -> list[Reading]:
    return [Reading(f"dead letters {channel.slug}", count, limits.dead_letters) for channel, count in letters.items()]


def audit_readings(findings: Findings) -> list[Reading]:
    """Nothing may be found."""
    checks = [
        Reading(f"ledger {name}", count, 0, Kind.LEDGER, f"the audit found a contradiction: {name}")
        for name, count in findings.checks.items()
    ]
    overdue = sum(findings.stuck.values())
    stuck = Reading("ledger stuck rows", overdue, 0, Kind.LEDGER, "rows are overdue by ten minutes")
    return [*checks, stuck]


def every_state(backlogs: Iterable[Backlog]) -> list[Backlog]:
    """The backlog with a zero for each state that has no rows, so that a gauge comes back down."""
    found = {(backlog.stage, backlog.state): backlog for backlog in backlogs}
    return [found.get(key) or Backlog(*key, 0, timedelta(0)) for key in STATES]


def every_channel(letters: Mapping[Channel, int]) -> dict[Channel, int]:
    return {channel: letters.get(channel, 0) for channel in Channel}
