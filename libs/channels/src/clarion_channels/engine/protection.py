"""What one account's answers say about it, and how much it may be given now."""

import time
from datetime import timedelta

from clarion_channels.engine.breaker import Breaker, Credentials, DeadGuard
from clarion_channels.engine.budget import RetryBudget
from clarion_channels.engine.limit import AdaptiveLimit
from clarion_channels.engine.policies import LanePolicy
from clarion_channels.outcome import Outcome
from clarion_kit.vocabulary import StopReason

SHORTEST_REST = timedelta(milliseconds=200)
LONGEST_REST = timedelta(seconds=30)
_RATE_SMOOTHING = 0.2
_RUNS_DRY = 0.25
"""Share of its limit below which a lane has too little to do, while others wait for their turn."""


class Protection:
    """Breaker, credentials, dead guard, retry budget and in-flight limit of one lane in this process."""

    def __init__(self, policy: LanePolicy, most_open: int, timeout: timedelta) -> None:
        self.policy = policy
        self.budget = RetryBudget(policy.retry.budget)
        self._limit = AdaptiveLimit(min(most_open, policy.max_in_flight or most_open), timeout.total_seconds())
        self._breaker = Breaker(policy.breaker)
        self._credentials = Credentials()
        self._guard = DeadGuard(policy.dead_guard)
        self._turns = Turns()

    @property
    def limit(self) -> int:
        """Messages it may have open now."""
        return self._limit.limit

    def answered(self, outcome: Outcome, *, attempt: int, latency: float, in_flight: int) -> StopReason | None:
        """Count an answer; why the lane should stop now, if it should."""
        now = time.monotonic()
        self._limit.answered(outcome, latency, in_flight, now)
        self.budget.attempted(attempt, outcome, now)
        self._turns.answered(now)
        if in_flight < self.limit * _RUNS_DRY:
            self._turns.hasten(now)
        self._breaker.count(outcome, now)
        self._credentials.count(outcome, now)
        self._guard.count(outcome, now)
        if outcome is Outcome.CRED and self._credentials.refused(now):
            return StopReason.CREDENTIALS
        if outcome is Outcome.DEAD and self._guard.suspicious(now):
            return StopReason.DEAD_JUMP
        if outcome.retryable and self._breaker.broken(now):
            return StopReason.BREAKER
        return None

    def next_turn(self) -> timedelta:
        """How long a delivery rests that found the lane full: one turn after the other, at the rate of its answers. Before
        there is a rate, all that the lane holds is thought to take a second."""
        return self._turns.next(time.monotonic(), self._turns.per_second or self.limit)

    def next_paced_turn(self, wait: timedelta) -> timedelta:
        """How long a delivery rests that is not to go for `wait`: one turn after the other, at the rate of its pace."""
        pace = self.policy.pace
        per_second = pace.per_second if pace is not None else self._turns.per_second
        return max(wait, self._turns.next(time.monotonic(), per_second))

    def reset(self) -> None:
        """Forget what was held against the lane: it was tried and works."""
        self._breaker.reset()
        self._credentials.reset()
        self._guard.reset()


class Turns:
    """Spreads those who wait for a lane over the time that it needs for them."""

    def __init__(self) -> None:
        self.per_second = 0.0
        self._counted = 0
        self._since: float | None = None
        self._next = 0.0
        self._hastened_at = float("-inf")

    def answered(self, now: float) -> None:
        if self._since is None:
            self._since = now
            return
        self._counted += 1
        if now - self._since >= 1.0:
            rate = self._counted / (now - self._since)
            self.per_second += (rate - self.per_second) * (_RATE_SMOOTHING if self.per_second else 1.0)
            self._counted, self._since = 0, now

    def hasten(self, now: float) -> None:
        """The lane runs dry. If there are turns to come, they were put too far apart: who comes with the rate of the answers
        alone can never make it faster. It doubles, once a second, and the next turn is soon."""
        if self._next > now + SHORTEST_REST.total_seconds() and now - self._hastened_at >= 1.0:
            self._hastened_at = now
            self.per_second *= 2
            self._next = now

    def next(self, now: float, per_second: float) -> timedelta:
        turn = max(self._next, now + SHORTEST_REST.total_seconds()) + 1 / max(per_second, 1.0)
        self._next = min(turn, now + LONGEST_REST.total_seconds())
        return timedelta(seconds=self._next - now)
