"""Alerts and dashboards: their queries parse, their metrics exist, each alert has its runbook."""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarion_kit.telemetry import names
from clarion_kit.telemetry.names import Metric
from clarion_monitor.domain import Kind

from .charts import CHART, ROOT, Json, at, listing, of_kind

pytestmark = pytest.mark.helm

RUNBOOKS = (ROOT / "helm" / "runbooks" / "README.md").read_text()
OF_PROMETHEUS = {"up": {"app_kubernetes_io_component", "pod"}}
"""Metrics of Prometheus itself, with labels that come from scraping."""
SCRAPED = {"namespace", "exported_job"}
"""Labels that any metric has from scraping; `exported_job` is a `job` of ours."""


def test_every_alert_parses_and_uses_metrics_and_labels_that_exist() -> None:
    faults = [fault for rule in _rules() for fault in _faults(str(rule["alert"]), str(rule["expr"]))]

    assert faults == []


def test_every_panel_parses_and_uses_metrics_and_labels_that_exist() -> None:
    faults = [fault for title, expression in _panels() for fault in _faults(title, expression)]

    assert faults == []


@pytest.mark.parametrize(
    "expression", ["max(clarion_no_such_metric)", 'clarion_queue_depth{line="x"}', "sum by (lane) (clarion_queue_depth"]
)
def test_the_lint_finds(expression: str) -> None:
    assert list(_faults("spoilt", expression))


def test_every_alert_has_a_severity_a_summary_and_a_heading_in_the_runbooks() -> None:
    headings = set(re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE))
    for rule in _rules():
        assert str(at(rule, "labels", "severity")) in ("page", "warning", "info"), rule["alert"]
        assert at(rule, "annotations", "summary"), rule["alert"]
        assert str(at(rule, "annotations", "runbook_url")).rpartition("#")[2] in headings, rule["alert"]


def test_every_incident_of_the_monitor_has_a_heading_in_the_runbooks() -> None:
    headings = set(re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE))

    assert {kind.value for kind in Kind} <= headings


def test_links_between_runbooks_lead_somewhere() -> None:
    headings = set(re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE))

    assert set(re.findall(r"\(#([a-z-]+)\)", RUNBOOKS)) <= headings


def test_alert_names_are_given_once() -> None:
    alerts = [rule["alert"] for rule in _rules()]

    assert len(alerts) == len(set(map(str, alerts)))


def test_dashboards_have_panels_apart_and_ids_of_their_own() -> None:
    for path in _dashboards():
        panels = json.loads(path.read_text())["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
        assert len(places) == len(panels)


def _rules() -> list[dict[str, Json]]:
    (rule,) = of_kind("production", "PrometheusRule")
    return [one for group in listing(at(rule.body, "spec", "groups")) for one in listing(group["rules"])]


def _dashboards() -> list[Path]:
    return sorted((CHART / "files" / "dashboards").glob("*.json"))


def _panels() -> Iterator[tuple[str, str]]:
    for path in _dashboards():
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"]


def _faults(where: str, expression: str) -> Iterator[str]:
    parser = importlib.import_module("promql_parser")
    try:
        parser.parse(expression)
    except ValueError as fault:
        yield f"{where}: {fault}"
        return
    known = _series()
    for name, selector in re.findall(r"\b([a-z][a-z0-9_]*)(?:\{([^}]*)\})?", _without_strings_and_groups(expression)):
        if name.startswith(("clarion_", "rpc_", "messaging_")) or name == "up":
            if name not in known:
                yield f"{where}: no metric {name}"
                continue
            labels = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", selector))
            yield from (f"{where}: {name} has no label {label}" for label in labels - known[name] - SCRAPED)


def _without_strings_and_groups(expression: str) -> str:
    return re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", re.sub(r'"[^"]*"', '""', expression))


def _series() -> dict[str, set[str]]:
    """Labels by name of series, as prometheus_client exposes the registry's metrics."""
    series = dict(OF_PROMETHEUS)
    for metric in vars(names).values():
        if isinstance(metric, Metric):
            labels = set(metric.labels)
            if metric.buckets:
                series |= {f"{metric.name}_bucket": labels | {"le"}}
                series |= {f"{metric.name}_{part}": labels for part in ("sum", "count")}
            else:
                series[metric.name] = labels
    return series
