"""How a delivery rests before it goes: deferred by a gate, waiting for its turn. No I/O."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from clarion_kit.vocabulary import DeliveryState, Reason


@dataclass(frozen=True, slots=True)
class Rest:
    """Why a delivery does not go at once: `state` DEFERRED (decided again) or WAITING (for its turn), from `due_at` on or,
    where that is None, `delay` after the plan. `reason` and `code` stand in its timeline."""

    state: DeliveryState
    due_at: datetime | None = None
    delay: timedelta = timedelta(0)
    reason: Reason | None = None
    code: str = ""


UNTIL_APP_RECEIPT = 101
"""Until it was delivered, where the app itself tells which pushes arrive; no number of the contract."""


@dataclass(frozen=True, slots=True)
class EscalationStep:
    """Place in an escalation: `step` from 0, `until` a clarion.notification.v1.EscalateUntil or UNTIL_APP_RECEIPT, `after`
    between steps."""

    step: int
    until: int
    after: timedelta


@dataclass(frozen=True, slots=True)
class DigestWindow:
    """What a member of a digest waits for: the one open window of (app, recipient, category, key). `time_zone`: its
    recipient's, empty where it is not known."""

    key: str
    length: timedelta
    time_zone: str = ""
