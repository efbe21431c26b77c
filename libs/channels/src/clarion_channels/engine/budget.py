"""The retry budget: while most attempts of an account fail, retries may not add much to what it has to bear."""

from clarion_channels.engine.window import Window
from clarion_channels.outcome import Outcome

WINDOW_SECONDS = 10.0
MOST_FAIL = 0.5
_MAX_SAVED = 100.0
"""Retries that first attempts may save up."""
_RESERVE = 10.0
"""Retries that are free, so that one failure of an account with little traffic is simply tried again."""
_RESERVE_PER_SECOND = 0.1


class RetryBudget:
    """Every first attempt earns `share` of a retry; a retry spends one, unless less than half of all attempts fail. A small
    reserve refills slowly. Times are monotonic seconds."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._saved = _RESERVE
        self._refilled_at = 0.0
        self._window = Window(WINDOW_SECONDS)

    def attempted(self, attempt: int, outcome: Outcome, now: float) -> None:
        """Count an answer to the `attempt`-th try (from 1)."""
        self._window.add("all", now)
        if outcome.retryable:
            self._window.add("failed", now)
        if attempt == 1:
            self._saved = min(_MAX_SAVED, self._saved + self._share)

    def allows(self, attempt: int, now: float) -> bool:
        """Whether a delivery may be tried for the `attempt`-th time now; spends what it needs."""
        if attempt == 1 or not self._most_fail(now):
            return True
        if self._saved < _RESERVE:
            self._saved = min(_RESERVE, self._saved + (now - self._refilled_at) * _RESERVE_PER_SECOND)
        self._refilled_at = now
        if self._saved < 1:
            return False
        self._saved -= 1
        return True

    def _most_fail(self, now: float) -> bool:
        return self._window.count("failed", now) > MOST_FAIL * self._window.count("all", now)
