"""Prometheus' own tool takes every rule and every query of a dashboard, and each alert fires when it should and only then."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from .alert_cases import CASES, Case
from .alerting import alerts, bare_rules_file, is_objective, rules_file
from .charts import at, listing
from .dashboards import ALL
from .promql import as_prometheus_sees
from .promtool import complaints, recording, unit_tests

pytestmark = pytest.mark.helm


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(rules_file())
    return path


def severities() -> dict[str, str]:
    return {name: str(at(rule, "labels", "severity")) for name, rule in alerts().items()}


def test_every_alert_has_a_case_on_which_it_fires_and_one_on_which_it_is_silent() -> None:
    assert {case.alert for case in CASES if case.fires} == set(alerts())
    assert {case.alert for case in CASES if not case.fires} == set(alerts())


def test_prometheus_takes_every_rule(rules: Path) -> None:
    assert complaints("check", "rules", rules) == ""


def test_prometheus_takes_every_query_of_a_dashboard(tmp_path: Path) -> None:
    queries = [
        as_prometheus_sees(str(target["expr"]))
        for dashboard in ALL
        for panel in listing(at(dashboard.to_json(), "panels"))
        for target in listing(panel.get("targets"))
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(recording(queries))

    assert complaints("check", "rules", path) == ""


@pytest.mark.parametrize(("objectives", "every"), [(False, "1m"), (True, "5m")], ids=["causes", "objectives"])
def test_every_alert_fires_when_it_should_and_only_then(objectives: bool, every: str, tmp_path: Path) -> None:
    played = [case for case in CASES if is_objective(case.alert) is objectives]

    assert complaints("test", "rules", _unit_tests(tmp_path, played, objectives=objectives, every=every)) == ""


def test_a_wrong_expectation_is_found(tmp_path: Path) -> None:
    fires = next(case for case in CASES if case.fires and not is_objective(case.alert))
    wrong = Case(fires.alert, fires.series, fires.after)

    assert "FAILED" in complaints("test", "rules", _unit_tests(tmp_path, [wrong], objectives=False))


def test_a_query_that_does_not_parse_is_found(tmp_path: Path) -> None:
    path = tmp_path / "queries.yaml"
    path.write_text(recording(["sum by (lane) (clarion_queue_depth"]))

    assert complaints("check", "rules", path)


def _unit_tests(folder: Path, cases: Sequence[Case], *, objectives: bool, every: str = "1m") -> Path:
    rules, tests = folder / "bare.yaml", folder / "tests.yaml"
    rules.write_text(bare_rules_file(objectives=objectives))
    tests.write_text(unit_tests(rules, cases, severities(), every=every))
    return tests
