"""Grafana's JSON from few words: rows of panels, laid out and numbered by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .charts import Json

COLUMNS = 24
SCHEMA_VERSION = 39
"""Of dashboards that Grafana 10.4 and later read; later versions migrate it by themselves."""
DATASOURCE: dict[str, Json] = {"type": "prometheus", "uid": "${datasource}"}
JAEGER = "JAEGER"
"""The chart puts the address of Jaeger here."""

Query: TypeAlias = tuple[str, str]
"""Expression and legend."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `unit` is Grafana's name of it; `exemplars`: dots that lead to traces; `bad_from`: red from here on."""

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"
    description: str = ""
    width: int = 12
    height: int = 8
    exemplars: bool = False
    bad_from: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One topic."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard: values of a label."""

    name: str
    series: str
    label: str


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page. Every query is of one namespace, `$namespace`."""

    name: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()

    def to_json(self) -> dict[str, Json]:
        """As Grafana's sidecar takes it."""
        return {
            "uid": f"clarion-{self.name}",
            "title": self.title,
            "description": self.description,
            "tags": ["clarion"],
            "timezone": "utc",
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": False,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "graphTooltip": 1,
            "links": [
                {
                    "title": "Clarion",
                    "type": "dashboards",
                    "tags": ["clarion"],
                    "asDropdown": True,
                    "includeVars": True,
                    "keepTime": True,
                },
                {"title": "Jaeger", "type": "link", "url": JAEGER, "targetBlank": True},
            ],
            "templating": {
                "list": [
                    {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
                    _variable(Variable("namespace", "process_start_time_seconds", "namespace")),
                    *(_variable(one) for one in self.variables),
                ]
            },
            "panels": list(_panels(self.rows)),
        }


def _variable(variable: Variable) -> dict[str, Json]:
    scope = "" if variable.name == "namespace" else '{namespace="$namespace"}'
    return {
        "name": variable.name,
        "type": "query",
        "datasource": dict(DATASOURCE),
        "query": f"label_values({variable.series}{scope}, {variable.label})",
        "refresh": 2,
        "sort": 1,
    }


def _panels(rows: Sequence[Row]) -> list[Json]:
    made: list[Json] = []
    top = 0
    for row in rows:
        place: dict[str, Json] = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        made.append(
            {"id": len(made) + 1, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        )
        top += 1
        left = tallest = 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            made.append(_panel(panel, len(made) + 1, left, top))
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return made


def _panel(panel: Panel, number: int, left: int, top: int) -> dict[str, Json]:
    defaults: dict[str, Json] = {"unit": panel.unit, "min": 0}
    if panel.bad_from is not None:
        steps: list[Json] = [{"color": "green", "value": None}, {"color": "red", "value": panel.bad_from}]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        defaults["color"] = {"mode": "thresholds"}
    options: dict[str, Json] = {}
    if panel.kind == "stat":
        options["reduceOptions"] = {"calcs": ["lastNotNull"]}
    elif panel.kind == "timeseries":
        options["legend"] = {"displayMode": "list", "placement": "bottom", "showLegend": True}
        options["tooltip"] = {"mode": "multi", "sort": "desc"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "gridPos": {"x": left, "y": top, "w": panel.width, "h": panel.height},
        "datasource": dict(DATASOURCE),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [_target(panel, index, *query) for index, query in enumerate(panel.queries)],
    }


def _target(panel: Panel, index: int, expression: str, legend: str) -> dict[str, Json]:
    target: dict[str, Json] = {
        "refId": chr(ord("A") + index),
        "datasource": dict(DATASOURCE),
        "expr": expression,
        "legendFormat": legend,
    }
    if panel.exemplars:
        target["exemplar"] = True
    if panel.kind == "table":
        target |= {"format": "table", "instant": True}
    return target
