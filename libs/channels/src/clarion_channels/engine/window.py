"""Counts of the last seconds: whole buckets, so that forgetting costs nothing."""

from collections import Counter, deque
from dataclasses import dataclass, field

BUCKETS = 10


@dataclass(slots=True)
class _Bucket:
    number: int
    counts: Counter[str] = field(default_factory=Counter)


class Window:
    """Named counts over a sliding window of `seconds`, to a tenth of it. Times are monotonic seconds."""

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self._buckets: deque[_Bucket] = deque()
        self._sums: Counter[str] = Counter()

    def add(self, name: str, now: float, count: int = 1) -> None:
        number = int(now / self._width)
        self._forget(number)
        if not self._buckets or self._buckets[-1].number != number:
            self._buckets.append(_Bucket(number))
        self._buckets[-1].counts[name] += count
        self._sums[name] += count

    def count(self, name: str, now: float) -> int:
        self._forget(int(now / self._width))
        return self._sums[name]

    def clear(self) -> None:
        self._buckets.clear()
        self._sums.clear()

    def _forget(self, number: int) -> None:
        while self._buckets and self._buckets[0].number <= number - BUCKETS:
            self._sums.subtract(self._buckets.popleft().counts)
