"""The rules of the chart as Prometheus gets them."""

from collections.abc import Mapping
from functools import cache

import yaml

from .charts import ROOT, Json, at, listing, of_kind
from .promql import labels_of, series

OBJECTIVES = frozenset({"clarion-slo-ratios", "clarion-slo"})
"""Groups of rules about what was promised."""
RUNBOOKS = (ROOT / "helm" / "runbooks" / "README.md").read_text()


@cache
def groups() -> list[dict[str, Json]]:
    """Every group of rules, rendered with the values of production."""
    (rule,) = of_kind("production", "PrometheusRule")
    return listing(at(rule.body, "spec", "groups"))


def rules() -> list[dict[str, Json]]:
    return [rule for group in groups() for rule in listing(group["rules"])]


def alerts() -> dict[str, dict[str, Json]]:
    """Alerts by name."""
    return {str(rule["alert"]): rule for rule in rules() if "alert" in rule}


@cache
def known_series() -> Mapping[str, frozenset[str]]:
    """Series of the registry, and those that rules record."""
    known = series()
    for rule in rules():
        if "record" in rule:
            known[str(rule["record"])] = labels_of(str(rule["expr"]), known)
    return known


def rules_file() -> str:
    """All groups as a file for promtool."""
    return yaml.safe_dump({"groups": groups()}, width=1_000)


def bare_rules_file(*, objectives: bool) -> str:
    """Groups of objectives, or all others, as unit tests need them: without annotations, which promtool would compare, and
    without intervals of their own."""
    kept = [
        {"name": group["name"], "rules": [_bare(rule) for rule in listing(group["rules"])]}
        for group in groups()
        if (group["name"] in OBJECTIVES) is objectives
    ]
    return yaml.safe_dump({"groups": kept}, width=1_000)


def is_objective(alert: str) -> bool:
    """Whether an alert is about an objective, which takes hours to play."""
    return any(
        rule.get("alert") == alert
        for group in groups()
        if group["name"] in OBJECTIVES
        for rule in listing(group["rules"])
    )


def _bare(rule: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in rule.items() if name != "annotations"}
