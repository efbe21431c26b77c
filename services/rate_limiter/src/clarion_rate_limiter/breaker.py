"""Keeps calls away from a Valkey that does not answer, so that only the first few wait for it."""

FAILURES_TO_OPEN = 2


class Breaker:
    """Opens after two failures in a row; closes on the first success (a probe's, while it is open)."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def open(self) -> bool:
        return self._failures >= FAILURES_TO_OPEN

    def failed(self) -> None:
        self._failures += 1

    def succeeded(self) -> None:
        self._failures = 0
