"""Percentiles and rates are exact."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_local.bench import disk, samples

VALUES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=300)


@given(VALUES, st.floats(min_value=0, max_value=100))
def test_percentile_is_a_measured_value_that_enough_do_not_exceed(values: list[float], percent: float) -> None:
    ascending = sorted(values)

    found = samples.percentile(ascending, percent)

    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values) - 1e-6
    assert sum(value < found for value in values) <= max(percent / 100 * len(values), 0)


def test_percentiles_of_a_hundred_are_the_values_themselves() -> None:
    spread = samples.spread(float(value) for value in range(100, 0, -1))

    assert (spread.count, spread.p50_ms, spread.p99_ms, spread.max_ms) == (100, 50.0, 99.0, 100.0)


@pytest.mark.parametrize("percent", [-0.1, 100.1])
def test_what_is_no_percentile_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        samples.percentile([1.0], percent)


def test_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        samples.spread([])


def test_steady_rate_leaves_out_how_it_began_and_ended() -> None:
    steady = [10.0 + number / 100 for number in range(1_000)]
    slow_ends = [float(number) for number in range(-40, 10, 1)] + [20.0 + number * 5 for number in range(50)]

    assert samples.steady_rate(steady + slow_ends) == pytest.approx(100.0, rel=0.02)


@pytest.mark.parametrize("moments", [[], [1.0], [5.0] * 40])
def test_steady_rate_of_too_few_or_of_one_moment_is_none(moments: list[float]) -> None:
    assert samples.steady_rate(moments) == 0.0


@given(st.lists(st.floats(min_value=0, max_value=50), max_size=200))
def test_every_moment_counts_in_one_second(moments: list[float]) -> None:
    counts = samples.by_second(moments, 0.0)

    assert sum(counts) == len(moments)
    assert all(counts[int(moment)] for moment in moments)


@given(VALUES)
def test_kept_latencies_are_read_back_unchanged(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    path: Path = tmp_path_factory.mktemp("samples") / "kept"
    samples.write(path, values)

    assert list(samples.read(path)) == values


def test_disk_is_timed_write_by_write_and_its_file_is_gone(tmp_path: Path) -> None:
    found = disk.syncs(tmp_path, 5)

    assert found.count == 5
    assert 0.0 < found.p50_ms <= found.max_ms
    assert not list(tmp_path.iterdir())
