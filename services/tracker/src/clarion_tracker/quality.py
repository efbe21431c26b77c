"""How well the accounts of SMS deliver, by country, and what percent of its weight that leaves an account. Pure.

An account's factor follows its receipts of the last quarter of an hour: the square of the share delivered, less for slow
ones. It moves only by a clear step, so that routes do not tremble with the sample; an account with too few receipts to
judge, which a bad one soon has, is trusted again step by step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

WINDOW = timedelta(minutes=15)
LEAST_SAMPLES = 50
LEAST_FACTOR = 5
BEST_FACTOR = 100
STEP = 10
"""Percent points that a factor moves at least, and that an account is trusted again by."""
GRAIN = 5
QUICK_SECONDS = 32
"""A median up to this costs nothing; beyond, an account loses in proportion, half its factor at most."""
SLOWEST = 0.5
FAILED = -1

Tally = Mapping[int, int]
"""Receipts by bucket: the power of two of the seconds to delivery, or `FAILED`."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What an account's receipts of one country say; the median is rounded up to a power of two."""

    delivered: int = 0
    undelivered: int = 0
    median_seconds: int = 0

    @property
    def samples(self) -> int:
        return self.delivered + self.undelivered


@dataclass(frozen=True, slots=True)
class Standing:
    """An account in one country as it stands; `unchanged_for`: how long its factor is what it is."""

    lane_id: int
    country: str
    factor: int = BEST_FACTOR
    unchanged_for: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Judged:
    """A standing with what was measured, and its factor from now on."""

    lane_id: int
    country: str
    measured: Measured
    factor: int


def measure(tally: Tally) -> Measured:
    """A window's receipts. One that was corrected in it counts back a failure of before it: no count is below zero."""
    by_bucket = sorted((bucket, max(0, count)) for bucket, count in tally.items() if bucket != FAILED)
    delivered = sum(count for _, count in by_bucket)
    passed, median = 0, 0
    for bucket, count in by_bucket:
        passed += count
        if 2 * passed >= delivered > 0:
            median = 1 << bucket
            break
    return Measured(delivered, max(0, tally.get(FAILED, 0)), median)


def score(measured: Measured) -> int:
    """The factor that receipts alone would give, in steps of `GRAIN`. `measured` has samples."""
    share = measured.delivered / measured.samples
    speed = max(SLOWEST, min(1.0, QUICK_SECONDS / max(1, measured.median_seconds)))
    percent = BEST_FACTOR * share * share * speed
    return max(LEAST_FACTOR, min(BEST_FACTOR, GRAIN * round(percent / GRAIN)))


def judge(standing: Standing, measured: Measured) -> int:
    """The factor from now on."""
    if measured.samples < LEAST_SAMPLES:
        forgiven = standing.factor < BEST_FACTOR and standing.unchanged_for >= WINDOW
        return min(BEST_FACTOR, standing.factor + STEP) if forgiven else standing.factor
    found = score(measured)
    return found if abs(found - standing.factor) >= STEP else standing.factor


def judge_all(standings: Iterable[Standing], tallies: Mapping[tuple[int, str], Tally]) -> list[Judged]:
    """All that have a standing or receipts, in the order of their keys."""
    known = {(standing.lane_id, standing.country): standing for standing in standings}
    judged = []
    for lane_id, country in sorted(known.keys() | tallies.keys()):
        standing = known.get((lane_id, country), Standing(lane_id, country))
        measured = measure(tallies.get((lane_id, country), {}))
        judged.append(Judged(lane_id, country, measured, judge(standing, measured)))
    return judged
