"""How many messages of an account a worker holds: adapts downwards when its provider struggles, and back.

Additive increase, multiplicative decrease, as TCP does: an answer that says so (throttled, no answer) and a latency that
nears the account's timeout are congestion. The latency is that of the whole call, so a queue that grows before a slow
provider counts as well.
"""

from clarion_channels.outcome import Outcome

LEAST = 4
_SHRINK = 0.7
_SHRINK_PAUSE = 1.0
"""Seconds between two decreases, or the latency if that is longer: one congestion, one decrease."""
SLOW = 0.25
"""Share of the account's timeout that a latency must exceed, on average, to be congestion."""
_SMOOTHING = 0.1


class AdaptiveLimit:
    """Open messages allowed at a time, between LEAST and `most`. Times are monotonic seconds."""

    def __init__(self, most: int, timeout: float) -> None:
        self._most = most
        self._limit = float(most)
        self._slow = timeout * SLOW
        self._latency = 0.0
        self._shrunk_at = float("-inf")

    @property
    def limit(self) -> int:
        return int(self._limit)

    def answered(self, outcome: Outcome, latency: float, in_flight: int, now: float) -> None:
        """Count an answer that took `latency` seconds, with `in_flight` messages open beside it."""
        self._latency += (latency - self._latency) * _SMOOTHING
        if outcome in (Outcome.THROTTLE, Outcome.UNKNOWN) or self._latency > self._slow:
            self._shrink(now)
        elif in_flight * 2 >= self._limit:  # only a limit that is made use of is known to be too low
            self._limit = min(float(self._most), self._limit + 1 / self._limit * 4)

    def _shrink(self, now: float) -> None:
        if now - self._shrunk_at >= max(_SHRINK_PAUSE, self._latency):
            self._shrunk_at = now
            self._limit = max(float(min(LEAST, self._most)), self._limit * _SHRINK)
