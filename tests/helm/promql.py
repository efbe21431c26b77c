"""What a query uses: metrics and labels that exist, or faults."""

import importlib
import re
from collections.abc import Iterator, Mapping
from typing import Protocol, cast

from clarion_kit.telemetry import names
from clarion_kit.telemetry.names import Metric, MetricKind

SCRAPED = frozenset({"namespace", "app_kubernetes_io_component", "pod", "exported_job"})
"""Labels that any series has from scraping; `exported_job` is a `job` of ours."""
OF_OTHERS: Mapping[str, frozenset[str]] = dict.fromkeys(
    ("up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"), frozenset()
)
"""Metrics of Prometheus itself and of every process."""
GRAFANA = {"$__rate_interval": "5m", "$namespace": "clarion", "$channel": "sms", "$app": "shop"}
"""What Grafana puts in the place of its variables."""
_TEMPLATED = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")


class Fault(Exception):
    """A query that cannot mean what was meant."""


class _Node(Protocol):
    """An expression as the parser gives it; which attributes it has depends on its type."""

    name: str
    func: "_Node"
    args: list["_Node"]
    expr: "_Node"
    lhs: "_Node"
    rhs: "_Node"
    vector_selector: "_Node"


def series() -> dict[str, frozenset[str]]:
    """Labels by name of series, as prometheus_client exposes the registry's metrics."""
    found = {name: labels | SCRAPED for name, labels in OF_OTHERS.items()}
    for metric in vars(names).values():
        if isinstance(metric, Metric):
            labels = frozenset("exported_job" if label == "job" else label for label in metric.labels) | SCRAPED
            if metric.kind is MetricKind.HISTOGRAM:
                found[f"{metric.name}_bucket"] = labels | {"le"}
                found |= {f"{metric.name}_{part}": labels for part in ("sum", "count")}
            else:
                found[metric.name] = labels
    return found


def as_prometheus_sees(expression: str) -> str:
    """A query of a dashboard with its variables filled in."""
    for variable, value in GRAFANA.items():
        expression = expression.replace(variable, value)
    return expression


def faults(where: str, expression: str, known: Mapping[str, frozenset[str]], text: str = "") -> Iterator[str]:
    """What is wrong with a query, and with the labels that `text` (a legend, a summary) takes from its result."""
    try:
        labels = labels_of(expression, known)
    except (Fault, ValueError) as fault:
        yield f"{where}: {fault}"
        return
    yield from (f"{where}: its result has no label {label}" for label in set(_TEMPLATED.findall(text)) - labels)


def labels_of(expression: str, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Labels that the result of a query may have. Raises Fault, ValueError where it does not parse."""
    parser = importlib.import_module("promql_parser")
    return _labels(cast(_Node, parser.parse(expression)), known)


def _labels(node: _Node, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    match type(node).__name__:
        case "VectorSelector":
            return _selected(node, known)
        case "MatrixSelector":
            return _labels(node.vector_selector, known)
        case "NumberLiteral" | "StringLiteral":
            return frozenset()
        case "Call":
            found = frozenset[str]().union(*(_labels(argument, known) for argument in node.args))
            return found - {"le"} if node.func.name == "histogram_quantile" else found
        case "AggregateExpr":
            return _grouped(node, _labels(node.expr, known))
        case "BinaryExpr":
            return _labels(node.lhs, known) | _labels(node.rhs, known)
        case "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            return _labels(node.expr, known)
        case other:
            raise Fault(f"{other} is not understood here")


def _selected(node: _Node, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if node.name not in known:
        raise Fault(f"no metric {node.name}")
    labels = known[node.name]
    matched = {str(matcher.name) for matcher in getattr(node, "matchers").matchers}  # noqa: B009  # by type of node
    if missing := matched - labels:
        raise Fault(f"{node.name} has no label {', '.join(sorted(missing))}")
    return labels


def _grouped(node: _Node, inner: frozenset[str]) -> frozenset[str]:
    modifier = getattr(node, "modifier", None)
    labels = frozenset(str(label) for label in (getattr(modifier, "labels", None) or ()))
    if missing := labels - inner:
        raise Fault(f"grouped by {', '.join(sorted(missing))}, which nothing in it has")
    if "topk" in str(getattr(node, "op", "")).lower():
        return inner
    if modifier is not None and "Without" in str(getattr(modifier, "type", "")):
        return inner - labels
    return labels
