"""The set algebra of the suite (after Jepsen's set checker): told ⊆ ledger ⊆ accounted, sent = received. No I/O.

One event is one notification for one channel of one recipient, so it is one delivery.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from clarion_kit.vocabulary import DeliveryState, Reason

from .told import Told, Word


@dataclass(frozen=True, slots=True)
class Stored:
    """What the ledger says of one event; the delivery's part is empty while it is not planned.

    `may_repeat`: a provider call was made whose answer nobody knows.
    """

    notification_id: str
    delivery_id: str = ""
    state: DeliveryState | None = None
    reason: Reason | None = None
    may_repeat: bool = False
    deliveries: int = 0

    @property
    def ended(self) -> bool:
        return self.state is not None and self.state.terminal


@dataclass(frozen=True, slots=True)
class Duplicate:
    """One delivery that providers received more than once. `flagged`: the ledger calls it ambiguous."""

    event_id: str
    delivery_id: str
    times: int
    flagged: bool
    at_most_once: bool
    phase: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All three records, by event id. `received`: messages a provider took; `foreign`: those of no known event."""

    told: Mapping[str, Told]
    stored: Mapping[str, Stored]
    received: Mapping[str, int]
    foreign: int = 0


@dataclass(slots=True)
class Verdict:
    """What the sets say; everything but `duplicates` must be empty, those flagged and never at most once."""

    missing: list[str] = field(default_factory=list)
    """Told OK, and the ledger has no such notification, or another one."""
    unfinished: list[str] = field(default_factory=list)
    """Stored and not ended after the quiet-down: the gap did not close."""
    unreceived: list[str] = field(default_factory=list)
    """Called sent, and no provider has it."""
    unrecorded: list[str] = field(default_factory=list)
    """A provider has it, and the ledger neither calls it sent nor doubts it."""
    revived: list[str] = field(default_factory=list)
    """Told that it was refused, and stored all the same."""
    split: list[str] = field(default_factory=list)
    """One event with several notifications or deliveries."""
    duplicates: list[Duplicate] = field(default_factory=list)
    foreign: int = 0

    @property
    def lost(self) -> int:
        return len(self.missing) + len(self.unfinished) + len(self.unreceived)

    @property
    def unflagged(self) -> list[Duplicate]:
        """Duplicates that the ledger does not own up to."""
        return [duplicate for duplicate in self.duplicates if not duplicate.flagged]

    @property
    def forbidden(self) -> list[Duplicate]:
        """Duplicates of what may arrive at most once."""
        return [duplicate for duplicate in self.duplicates if duplicate.at_most_once]

    def complaints(self) -> Iterator[str]:
        """Why the run is no success, in words; none: it is one."""
        for name in ("missing", "unfinished", "unreceived", "unrecorded", "revived", "split"):
            found: list[str] = getattr(self, name)
            if found:
                yield f"{len(found)} {name}, such as {', '.join(found[:3])}"
        if self.unflagged:
            yield f"{len(self.unflagged)} duplicates are not flagged, such as {self.unflagged[0]}"
        if self.forbidden:
            yield f"{len(self.forbidden)} duplicates of at-most-once deliveries, such as {self.forbidden[0]}"
        if self.foreign:
            yield f"{self.foreign} messages belong to no event"


def check(evidence: Evidence) -> Verdict:
    """Compare the three records, event by event."""
    verdict = Verdict(foreign=evidence.foreign)
    for event_id, told in evidence.told.items():
        stored = evidence.stored.get(event_id)
        if stored is None:
            if told.word is Word.OK:
                verdict.missing.append(event_id)
            elif evidence.received.get(event_id):
                verdict.unrecorded.append(event_id)
            continue
        _judge(verdict, event_id, told, stored, evidence.received.get(event_id, 0))
    return verdict


def _judge(verdict: Verdict, event_id: str, told: Told, stored: Stored, received: int) -> None:
    if told.word is Word.OK and told.notification_id != stored.notification_id:
        verdict.missing.append(event_id)
    if told.word is Word.REFUSED:
        verdict.revived.append(event_id)
    if told.contradicted or stored.deliveries > 1:
        verdict.split.append(event_id)
    if not stored.ended:
        verdict.unfinished.append(event_id)
    elif stored.state is DeliveryState.SENT and not received:
        verdict.unreceived.append(event_id)
    elif stored.state is not DeliveryState.SENT and received and not stored.may_repeat:
        verdict.unrecorded.append(event_id)
    if received > 1:
        verdict.duplicates.append(
            Duplicate(event_id, stored.delivery_id, received, stored.may_repeat, told.at_most_once, told.phase)
        )
