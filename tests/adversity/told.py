"""What clients were told of every event id: the left side of the checker's sets. No I/O."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from clarion_client import Channel, ClarionError, Notification, SendOutcome, Sent
from clarion_client.reasons import ErrorReason

_CERTAIN_REFUSALS = frozenset(
    {
        ErrorReason.INVALID_FIELD,
        ErrorReason.TEMPLATE_NOT_FOUND,
        ErrorReason.CATEGORY_NOT_FOUND,
        ErrorReason.MISSING_VARIABLE,
        ErrorReason.EVENT_ID_REUSED,
        ErrorReason.SCOPE_MISSING,
        ErrorReason.TOO_LARGE,
    }
)


class Word(Enum):
    """What a caller knows."""

    OK = "ok"
    """Durable."""
    REFUSED = "refused"
    """Certainly not stored."""
    UNKNOWN = "unknown"
    """May be stored or not; the same event id decides."""


@dataclass(slots=True)
class Told:
    """The last word on one event. `phase` names the part of the run it was first sent in."""

    channel: Channel
    at_most_once: bool
    phase: str
    word: Word = Word.UNKNOWN
    notification_id: str = ""
    contradicted: bool = False
    """Two OKs named different notifications."""


@dataclass(slots=True)
class Register:
    """Every event that was handed in, and the failures that reached a caller, by phase and reason."""

    events: dict[str, Told] = field(default_factory=dict)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    accepted: int = 0

    def handed_in(self, notification: Notification, *, at_most_once: bool, phase: str) -> None:
        """Before it is sent: from now on it may be stored."""
        self.events.setdefault(notification.event_id, Told(notification.channels[0], at_most_once, phase))

    def heard(self, event_id: str, outcome: SendOutcome) -> bool:
        """Note an answer; whether it was the last word, else the event should be sent again."""
        told = self.events[event_id]
        if isinstance(outcome, Sent):
            if told.word is Word.OK:
                told.contradicted |= told.notification_id != outcome.notification_id
            else:
                self.accepted += 1
            told.word, told.notification_id = Word.OK, outcome.notification_id
            return True
        self.failures[told.phase, outcome.reason or outcome.code.name] += 1
        return self._refused(told, outcome)

    def failed_in(self, phase: str) -> int:
        """Failures that reached callers in a phase."""
        return sum(count for (when, _), count in self.failures.items() if when == phase)

    @staticmethod
    def _refused(told: Told, error: ClarionError) -> bool:
        if error.reason not in _CERTAIN_REFUSALS or told.word is Word.OK:
            return told.word is Word.OK
        told.word = Word.REFUSED
        return True
