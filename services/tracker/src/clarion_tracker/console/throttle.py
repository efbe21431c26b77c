"""How many logins a replica lets through: guessing 256-bit secrets is hopeless, but must not load the gateway either."""

from clarion_kit.clock import Clock

BURST = 10
PER_SECOND = 0.5


class Throttle:
    """A token bucket: `burst` at once, then `per_second`."""

    def __init__(self, clock: Clock, *, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        self._clock = clock
        self._burst = float(burst)
        self._per_second = per_second
        self._left = self._burst
        self._at = clock.monotonic()

    def admit(self) -> bool:
        """Whether one more may try now; it counts if so."""
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    @property
    def retry_after_seconds(self) -> int:
        """When the next one may try, at the latest."""
        return max(1, round(1.0 / self._per_second))
