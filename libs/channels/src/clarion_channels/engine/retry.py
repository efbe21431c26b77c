"""What follows from a provider's answer: a pure rule over outcome, attempt and policy."""

from dataclasses import dataclass
from datetime import timedelta
from random import Random

from clarion_channels.outcome import Outcome, Result
from clarion_kit.vocabulary import DeliveryState, Reason

HOLD = timedelta(seconds=60)
"""How long a delivery rests when its lane's credentials are refused, and between probes of that lane."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter: uniform in (0, base · 2^(attempt-1)], at most `cap`."""

    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(seconds=60)

    def delay(self, attempt: int, random: Random) -> timedelta:
        """The wait after the `attempt`-th try (from 1)."""
        ceiling = min(self.cap, self.base * (1 << min(attempt - 1, 30)))
        return ceiling * max(random.random(), 0.01)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a delivery; `delay` for RETRY_WAIT and HELD. `tried` False: the attempt does not count."""

    state: DeliveryState
    reason: Reason | None = None
    delay: timedelta = timedelta(0)
    ambiguous: bool = False
    tried: bool = True


def decide(
    result: Result, *, attempt: int, max_attempts: int, at_most_once: bool, policy: RetryPolicy, random: Random
) -> Decision:
    """The consequence of one answer."""
    match result.outcome:
        case Outcome.ACCEPTED:
            return Decision(DeliveryState.SENT)
        case Outcome.BAD:
            return Decision(DeliveryState.FAILED, Reason.REFUSED)
        case Outcome.DEAD:
            return Decision(DeliveryState.FAILED, Reason.ADDRESS_DEAD)
        case Outcome.CRED:
            return Decision(DeliveryState.HELD, delay=HOLD * (1 + random.random() / 5), tried=False)
        case Outcome.UNKNOWN if at_most_once:
            return Decision(DeliveryState.FAILED, Reason.AMBIGUOUS, ambiguous=True)
    ambiguous = result.outcome is Outcome.UNKNOWN
    if attempt >= max_attempts:
        return Decision(DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED, ambiguous=ambiguous)
    delay = policy.delay(attempt, random)
    if result.retry_after is not None:
        # The provider's word is a floor; jitter goes above it, so that waiters do not come back as one.
        delay = result.retry_after * (1 + random.random() / 10) + min(delay, policy.base)
    return Decision(DeliveryState.RETRY_WAIT, delay=delay, ambiguous=ambiguous)
