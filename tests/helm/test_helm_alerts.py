"""Alerts: their queries parse, their metrics and labels exist, each has its runbook."""

import re

import pytest

from clarion_monitor.domain import Kind

from .alerting import RUNBOOKS, alerts, known_series, rules
from .charts import at
from .promql import faults

pytestmark = pytest.mark.helm


def test_every_rule_parses_and_uses_metrics_and_labels_that_exist() -> None:
    found = [
        fault
        for rule in rules()
        for fault in faults(
            str(rule.get("alert") or rule["record"]),
            str(rule["expr"]),
            known_series(),
            str(at(rule, "annotations", "summary")) if "alert" in rule else "",
        )
    ]

    assert found == []


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("max(clarion_no_such_metric)", ""),
        ('clarion_queue_depth{line="x"}', ""),
        ("sum by (lane) (clarion_queue_depth", ""),
        ("sum by (line) (clarion_queue_depth)", ""),
        ("sum by (lane) (clarion_queue_depth)", "{{ $labels.line }}"),
        ("sum by (lane) (clarion_queue_depth)", "{{priority}}"),
        ("sum(clarion_queue_depth)", "{{lane}}"),
        ("histogram_quantile(0.9, sum by (le) (rate(clarion_plan_age_seconds_bucket[5m])))", "{{le}}"),
    ],
)
def test_the_lint_finds(expression: str, text: str) -> None:
    assert list(faults("spoilt", expression, known_series(), text))


def test_every_alert_has_a_severity_a_summary_and_a_heading_in_the_runbooks() -> None:
    headings = set(re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE))
    for name, rule in alerts().items():
        assert str(at(rule, "labels", "severity")) in ("page", "warning", "info"), name
        assert at(rule, "annotations", "summary"), name
        assert str(at(rule, "annotations", "runbook_url")).rpartition("#")[2] in headings, name


def test_every_incident_of_the_monitor_has_a_heading_in_the_runbooks() -> None:
    headings = set(re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE))

    assert {kind.value for kind in Kind} <= headings


def test_every_heading_of_the_runbooks_belongs_to_an_alert_or_incident() -> None:
    headings = set(re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE))
    linked = {str(at(rule, "annotations", "runbook_url")).rpartition("#")[2] for rule in alerts().values()}
    linked |= set(re.findall(r"\(#([a-z-]+)\)", RUNBOOKS))

    assert headings <= linked | {kind.value for kind in Kind}


def test_links_between_runbooks_lead_somewhere() -> None:
    headings = set(re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE))

    assert set(re.findall(r"\(#([a-z-]+)\)", RUNBOOKS)) <= headings


def test_rules_are_named_once() -> None:
    named = [str(rule.get("alert") or rule["record"]) for rule in rules()]

    assert len(named) == len(set(named))
