"""What a closed gate that may open again makes of a delivery: ended, or resting until then. No I/O."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_ledger.caps import CapAnswer
from clarion_ledger.config import CategoryRule
from clarion_ledger.rests import Rest

JITTER = timedelta(seconds=30)
"""Many a recipient's quiet hours end at the same full hour."""


@dataclass(frozen=True, slots=True)
class Denied:
    """It ends suppressed; the rule has no personal data."""

    reason: Reason
    rule: str


def quiet_hours(
    category: CategoryRule, until: datetime | None, expire_at: datetime, now: datetime, random: Random
) -> Denied | Rest | None:
    """The gate QUIET_HOURS: None where it is open. `until`: the end of the quiet hours the recipient is in, if any."""
    if category.critical or until is None or until <= now:
        return None
    rule = f"quiet until {until:%Y-%m-%dT%H:%MZ}"
    if not category.defer_in_quiet_hours:
        return Denied(Reason.QUIET_HOURS, rule)
    if until >= expire_at:
        return Denied(Reason.DEFERRED_TOO_LONG, f"{rule}, past the deadline")
    due_at = min(until + JITTER * random.random(), until + (expire_at - until) / 2)
    return Rest(DeliveryState.DEFERRED, due_at, reason=Reason.QUIET_HOURS, code=rule)


def over_cap(
    category: CategoryRule, answer: CapAnswer, expire_at: datetime, now: datetime, random: Random
) -> Denied | Rest | None:
    """The gates CONTENT_DEDUPE and CAPS: None where they are open."""
    if answer.allowed:
        return None
    if answer.duplicate:
        return Denied(Reason.DUPLICATE_CONTENT, answer.rule)
    if not category.defer_over_cap or answer.retry_after is None:
        return Denied(Reason.CAPPED, answer.rule)
    if now + answer.retry_after >= expire_at:
        return Denied(Reason.DEFERRED_TOO_LONG, f"{answer.rule}, past the deadline")
    left = expire_at - now - answer.retry_after
    delay = answer.retry_after + min(JITTER * random.random(), left / 2)
    return Rest(DeliveryState.DEFERRED, delay=delay, reason=Reason.CAPPED, code=answer.rule)
