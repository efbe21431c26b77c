"""What follows from a provider's answer: a pure rule over outcome, attempt and policy."""

from dataclasses import dataclass
from datetime import timedelta
from random import Random

from clarion_channels.outcome import Outcome, Result
from clarion_kit.vocabulary import DeliveryState, Reason


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter: uniform in (0, base · 2^(attempt-1)], at most `cap`.

    `budget`: share of first attempts that may be retried while most attempts fail. `deadline`: no attempt begins later
    than this after planning.
    """

    base: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(seconds=60)
    budget: float = 0.1
    deadline: timedelta = timedelta(days=1)

    def delay(self, attempt: int, random: Random) -> timedelta:
        """The wait after the `attempt`-th try (from 1)."""
        ceiling = min(self.cap, self.base * (1 << min(attempt - 1, 30)))
        return ceiling * max(random.random(), 0.01)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a delivery; `delay` for RETRY_WAIT. `tried` False: the attempt does not count."""

    state: DeliveryState
    reason: Reason | None = None
    delay: timedelta = timedelta(0)
    ambiguous: bool = False
    tried: bool = True


def decide(
    result: Result,
    *,
    attempt: int,
    max_attempts: int,
    at_most_once: bool,
    stopped: bool,
    age: timedelta,
    policy: RetryPolicy,
    random: Random,
) -> Decision:
    """The consequence of one answer. `age`: since planning. `stopped`: its lane takes no work any more; what that lane may
    be to blame for is held."""
    match result.outcome:
        case Outcome.ACCEPTED:
            return Decision(DeliveryState.SENT)
        case Outcome.CRED if stopped:
            return Decision(DeliveryState.HELD, tried=False)
        case Outcome.DEAD if stopped:
            return Decision(DeliveryState.HELD, tried=False)
        case Outcome.BAD:
            return Decision(DeliveryState.FAILED, Reason.REFUSED)
        case Outcome.DEAD:
            return Decision(
                DeliveryState.FAILED, Reason.OPTED_OUT_AT_PROVIDER if result.opted_out else Reason.ADDRESS_DEAD
            )
        case Outcome.UNKNOWN if at_most_once:
            return Decision(DeliveryState.FAILED, Reason.AMBIGUOUS, ambiguous=True)
    ambiguous = result.outcome is Outcome.UNKNOWN
    delay = policy.delay(attempt, random)
    if result.retry_after is not None:
        # The provider's word is a floor; jitter goes above it, so that waiters do not come back as one.
        delay = result.retry_after * (1 + random.random() / 10) + min(delay, policy.base)
    if attempt >= max_attempts or age + delay > policy.deadline:
        return Decision(DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED, ambiguous=ambiguous)
    if stopped:
        return Decision(DeliveryState.HELD, ambiguous=ambiguous)
    return Decision(DeliveryState.RETRY_WAIT, delay=delay, ambiguous=ambiguous)
