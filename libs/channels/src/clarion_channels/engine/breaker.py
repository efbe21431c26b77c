"""When an account is taken for broken: rules over its last answers, without I/O."""

from dataclasses import dataclass
from datetime import timedelta

from clarion_channels.engine.window import Window
from clarion_channels.outcome import Outcome

_FAILED = frozenset({Outcome.RETRY, Outcome.AFTER, Outcome.UNKNOWN})
"""Answers of a provider that is in trouble. Too fast is our trouble, a bad request is the message's."""

ANSWERED_FOR = 5.0
"""Seconds for which an accepted message proves that the credentials are good."""
REFUSALS = 3
"""Refused credentials in a row that stop an account which accepted others a moment ago."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """See clarion.provider.v1.Breaker."""

    min_attempts: int
    failure_ratio: float
    window: timedelta
    probe_after: timedelta


class Breaker:
    """Opens when most of enough attempts failed. Half-open trials are the engine's business."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._window = Window(policy.window.total_seconds())

    def count(self, outcome: Outcome, now: float) -> None:
        self._window.add("all", now)
        if outcome in _FAILED:
            self._window.add("failed", now)

    def broken(self, now: float) -> bool:
        attempts = self._window.count("all", now)
        failed = self._window.count("failed", now)
        return attempts >= self._policy.min_attempts and failed >= attempts * self._policy.failure_ratio

    def reset(self) -> None:
        self._window.clear()


class Credentials:
    """Tells refused credentials from one message that the provider will not take under them."""

    def __init__(self) -> None:
        self._accepted_at = float("-inf")
        self._refused = 0

    def count(self, outcome: Outcome, now: float) -> None:
        if outcome is Outcome.ACCEPTED:
            self._accepted_at = now
            self._refused = 0
        elif outcome is Outcome.CRED:
            self._refused += 1

    def refused(self, now: float) -> bool:
        return self._refused >= REFUSALS or (self._refused > 0 and now - self._accepted_at > ANSWERED_FOR)

    def reset(self) -> None:
        self._refused = 0


@dataclass(frozen=True, slots=True)
class DeadGuardPolicy:
    """See clarion.provider.v1.DeadGuard."""

    min_answers: int
    dead_ratio: float


DEAD_WINDOW_SECONDS = 60.0
_JUDGED = frozenset({Outcome.ACCEPTED, Outcome.DEAD, Outcome.BAD})


class DeadGuard:
    """Suspects the configuration when suddenly many addresses are called dead (a wrong project, a wrong environment)."""

    def __init__(self, policy: DeadGuardPolicy) -> None:
        self._policy = policy
        self._window = Window(DEAD_WINDOW_SECONDS)

    def count(self, outcome: Outcome, now: float) -> None:
        if outcome in _JUDGED:
            self._window.add("all", now)
        if outcome is Outcome.DEAD:
            self._window.add("dead", now)

    def suspicious(self, now: float) -> bool:
        answers = self._window.count("all", now)
        return (
            answers >= self._policy.min_answers and self._window.count("dead", now) >= answers * self._policy.dead_ratio
        )

    def reset(self) -> None:
        self._window.clear()
