"""The job that counts: one tracker at a time, until there is nothing left, and never past a stop."""

from datetime import UTC, datetime, timedelta

from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_tracker.rolling import Roller, Step
from clarion_tracker.statistics import Kept

from .tracker_samples import FixedClock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEPT = Kept(timedelta(days=35), timedelta(days=400))


class FakeRollups:
    """Gives its steps one by one; the job is this tracker's for `held` askings."""

    def __init__(self, *steps: Step, held: int = 100, old: int = 0) -> None:
        self.steps = list(steps)
        self.old = old
        self._held = held

    async def mine(self) -> bool:
        self._held -= 1
        return self._held >= 0

    async def step(self, most: int) -> Step:
        return self.steps.pop(0)

    async def prune(self, kept: Kept, limit: int) -> int:
        assert kept == KEPT
        pruned = min(limit, self.old)
        self.old -= pruned
        return pruned


def _roller(rollups: FakeRollups) -> tuple[Roller, Metrics]:
    metrics = Metrics()
    counted, lag = metrics.counter(names.ROLLED), metrics.gauge(names.ROLLUP_LAG)
    return Roller(rollups, KEPT, counted, lag, FixedClock(NOW)), metrics


def _value(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(name)


async def test_steps_follow_each_other_until_all_is_counted() -> None:
    full, rest = Step(10_000, more=True, as_of=NOW - timedelta(minutes=1)), Step(7, more=False, as_of=NOW)
    rollups = FakeRollups(full, full, rest, rest)
    roller, metrics = _roller(rollups)

    await roller.run(lambda: False)

    assert rollups.steps == [rest]
    assert _value(metrics, names.ROLLED.name) == 20_007
    assert _value(metrics, names.ROLLUP_LAG.name) == 0.0


async def test_lag_is_the_age_of_what_is_complete() -> None:
    roller, metrics = _roller(FakeRollups(Step(7, more=False, as_of=NOW - timedelta(seconds=3))))

    await roller.run(lambda: False)

    assert _value(metrics, names.ROLLUP_LAG.name) == 3.0


async def test_tracker_that_is_not_asked_to_counts_nothing() -> None:
    rollups = FakeRollups(Step(7, more=False, as_of=NOW), held=0)
    roller, _ = _roller(rollups)

    await roller.run(lambda: False)
    await roller.prune(lambda: False)

    assert len(rollups.steps) == 1


async def test_job_taken_over_while_catching_up_is_left() -> None:
    full = Step(10_000, more=True, as_of=NOW)
    rollups = FakeRollups(full, full, full, held=2)
    roller, _ = _roller(rollups)

    await roller.run(lambda: False)

    assert len(rollups.steps) == 1


async def test_stop_ends_the_catching_up_between_steps() -> None:
    full = Step(10_000, more=True, as_of=NOW)
    rollups = FakeRollups(full, full, full)
    roller, _ = _roller(rollups)

    await roller.run(lambda: len(rollups.steps) < 2)

    assert len(rollups.steps) == 1


async def test_old_counts_are_forgotten_in_batches() -> None:
    rollups = FakeRollups(old=50_000)
    roller, _ = _roller(rollups)

    await roller.prune(lambda: False)

    assert rollups.old == 0
