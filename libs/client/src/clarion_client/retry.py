"""When a failed call is tried again. Pure: time and chance come from outside."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from clarion_client.errors import ClarionError, DeadlineExceeded, Unauthenticated

DEFAULT_TIMEOUT = timedelta(seconds=10)
"""Of a call, all its attempts together."""
CLOSE_GRACE = timedelta(seconds=5)
"""What calls in progress get when a client is closed."""


MANY_ATTEMPTS = 1_000_000
"""For what goes on until its time has passed."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Full jitter: a pause is drawn evenly from 0 to a bound that doubles with each attempt up to a maximum.

    `max_attempts` counts the first one; 1 switches retries off. Overload (OVERLOADED, STORAGE_FULL) has longer bounds
    than a lost connection. `attempt_timeout`: after so long one attempt of a call that may be repeated counts as lost, so
    that a gateway that hangs costs an attempt and not the call. Raises ValueError for bounds that are not positive.
    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    max_attempts: int = 8
    first_bound: timedelta = timedelta(milliseconds=100)
    max_bound: timedelta = timedelta(seconds=3)
    overload_first_bound: timedelta = timedelta(seconds=1)
    overload_max_bound: timedelta = timedelta(seconds=20)
    attempt_timeout: timedelta = timedelta(seconds=3)

    def __post_init__(self) -> None:
        bounds = (
            self.first_bound,
            self.max_bound,
            self.overload_first_bound,
            self.overload_max_bound,
            self.attempt_timeout,
        )
        if self.max_attempts < 1 or min(bounds) <= timedelta():
            raise ValueError("max_attempts and every bound must be positive")

    def bound_seconds(self, attempt: int, *, overloaded: bool) -> float:
        """The longest pause after failed attempt number `attempt` (from 1), in seconds."""
        first, longest = (
            (self.overload_first_bound, self.overload_max_bound) if overloaded else (self.first_bound, self.max_bound)
        )
        doublings = min(attempt - 1, 32)
        return min(first.total_seconds() * 2.0**doublings, longest.total_seconds())


class Attempts:
    """The attempts of one call, within one deadline."""

    def __init__(
        self,
        policy: RetryPolicy,
        timeout: timedelta,
        *,
        idempotent: bool,
        now: Callable[[], float] = time.monotonic,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._policy = policy
        self._idempotent = idempotent
        self._now = now
        self._draw = draw
        self._deadline = now() + timeout.total_seconds()
        self._failed = 0
        self._cut_short = False
        self._token_renewed = False

    def remaining_seconds(self) -> float:
        """Time left of the call's deadline; never negative."""
        return max(0.0, self._deadline - self._now())

    def next_seconds(self) -> float:
        """Time for the next attempt: all that is left, or less where another one could follow it."""
        left, one = self.remaining_seconds(), self._policy.attempt_timeout.total_seconds()
        self._cut_short = self._idempotent and self._failed + 1 < self._policy.max_attempts and one < left
        return one if self._cut_short else left

    def pause_after(self, error: ClarionError, *, with_token: bool) -> float | None:
        """Seconds to wait before the next attempt, None to give up and raise `error`.

        A refused token is renewed once, also for calls that are not idempotent: nothing was done for them.
        """
        if isinstance(error, Unauthenticated):
            if not with_token or self._token_renewed:
                return None
            self._token_renewed = True
            return 0.0
        self._failed += 1
        retryable = error.retryable or (self._cut_short and isinstance(error, DeadlineExceeded))
        if not self._idempotent or not retryable or self._failed >= self._policy.max_attempts:
            return None
        pause = self._draw(0.0, self._policy.bound_seconds(self._failed, overloaded=error.overloaded))
        return pause if pause < self.remaining_seconds() else None
