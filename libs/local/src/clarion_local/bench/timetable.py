"""Open-loop load: every call has its moment fixed in advance, whatever became of those before it. Pure.

Latency counts from that moment, so a service that stalls is charged for all who would have called meanwhile
(coordinated omission; Gil Tene, "How NOT to Measure Latency").
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

UNARY_SHARE = 0.1
BATCH = 20


@dataclass(frozen=True, slots=True)
class Call:
    """One call: seconds after the start, its first item's number, how many items."""

    at: float
    first: int
    count: int


def timetable(rate: float, seconds: float, *, unary_share: float = UNARY_SHARE, batch: int = BATCH) -> list[Call]:
    """Calls of one item and calls of `batch`, each kind evenly spaced, together `rate` items a second; items are numbered in
    the order of their calls.

    Raises ValueError for a rate or time that is not positive, a share outside 0 to 1, or an empty batch.
    """
    if rate <= 0 or seconds <= 0 or not 0.0 <= unary_share <= 1.0 or batch < 1:
        raise ValueError("a timetable needs a rate, a time, a share and a batch that can be")
    singles = _every(rate * unary_share, seconds, 1)
    batches = _every(rate * (1.0 - unary_share) / batch, seconds, batch)
    calls: list[Call] = []
    first = 0
    for at, count in heapq.merge(singles, batches):
        calls.append(Call(at, first, count))
        first += count
    return calls


def items(calls: list[Call]) -> int:
    """How many items all calls carry."""
    return sum(call.count for call in calls)


def _every(per_second: float, seconds: float, count: int) -> Iterator[tuple[float, int]]:
    number = 0
    # Half a step late, so that the two kinds do not all begin at once.
    while per_second > 0 and (at := (number + 0.5) / per_second) < seconds:
        yield at, count
        number += 1
