"""Exact percentiles: a run has some hundred thousand latencies, so all of them are kept and none is put in a bucket."""

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

CURVE = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0)
"""Percentiles that plots are drawn from."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What is said of many latencies, in milliseconds."""

    count: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    curve: tuple[tuple[float, float], ...] = ()

    def document(self) -> dict[str, object]:
        return asdict(self)


def percentile(ascending: Sequence[float], percent: float) -> float:
    """The least value that at least `percent` of all do not exceed (nearest rank, so it was measured).

    Raises ValueError without values, or for a percentile that is none.
    """
    if not ascending:
        raise ValueError("nothing was measured")
    if not 0.0 <= percent <= 100.0:
        raise ValueError(f"{percent} is no percentile")
    rank = math.ceil(len(ascending) * percent / 100.0 - 1e-9)
    return ascending[max(rank, 1) - 1]


def spread(values_ms: Iterable[float]) -> Spread:
    """Raises ValueError without values."""
    ascending = sorted(values_ms)
    points = tuple((percent, round(percentile(ascending, percent), 3)) for percent in CURVE)
    by_percent = dict(points)
    return Spread(len(ascending), by_percent[50.0], by_percent[99.0], by_percent[99.9], by_percent[100.0], points)


def steady_rate(moments: Iterable[float]) -> float:
    """How many a second happened between the first and the last of the middle 90 %; `moments` in seconds, any order.

    0 where there are too few to leave out the ends, or all came at once.
    """
    ascending = sorted(moments)
    left_out = len(ascending) // 20
    middle = ascending[left_out : len(ascending) - left_out]
    if len(middle) < 2 or middle[-1] <= middle[0]:
        return 0.0
    return (len(middle) - 1) / (middle[-1] - middle[0])


def by_second(moments: Iterable[float], first: float) -> list[int]:
    """How many happened in each second since `first`."""
    counts: list[int] = []
    for moment in moments:
        second = max(0, int(moment - first))
        counts.extend([0] * (second + 1 - len(counts)))
        counts[second] += 1
    return counts


def write(path: Path, values: Iterable[float]) -> None:
    """Keep values for another process of this machine."""
    with path.open("wb") as file:
        array("d", values).tofile(file)


def read(path: Path) -> Sequence[float]:
    """What `write` kept. Raises OSError."""
    values = array("d")
    values.frombytes(path.read_bytes())
    return values
