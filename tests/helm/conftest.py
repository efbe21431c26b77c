"""Counts what was checked and prints it as the last line of `make helm`."""

import json
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

COUNTS = pytest.StashKey[Counter[str]]()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Elsewhere than in `make helm` the packages that these modules import need not be installed."""
    if collection_path.name.startswith("test_helm_") and config.option.markexpr != "helm":
        return True
    return None


@pytest.fixture
def counted(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """What this test checked, by kind: examples, manifests, policies, bad_values."""
    own: Counter[str] = Counter()
    yield own
    request.config.stash.setdefault(COUNTS, Counter()).update(own)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and item.get_closest_marker("helm"):
        item.config.stash.setdefault(COUNTS, Counter())["failures"] += 1
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    counts = config.stash.get(COUNTS, None)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if counts is None or reporter is None:
        return
    line = {name: counts[name] for name in ("examples", "manifests", "policies", "bad_values", "failures")}
    reporter.write_line(json.dumps(line, separators=(",", ":")))
