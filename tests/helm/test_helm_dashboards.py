"""Dashboards: they are what their definitions give, fit Grafana's schema, and ask for what exists."""

import json
from pathlib import Path

import jsonschema
import pytest

from clarion_kit.telemetry import names
from clarion_kit.telemetry.names import Metric

from .alerting import known_series, rules
from .charts import Json, at, find, listing, of_kind
from .dashboards import ALL, FOLDER, path_of, text_of
from .grafana import JAEGER, Dashboard
from .promql import as_prometheus_sees, faults

pytestmark = pytest.mark.helm

SCHEMA = json.loads(Path(__file__).with_name("grafana_schema.json").read_text())
each_dashboard = pytest.mark.parametrize("dashboard", ALL, ids=lambda dashboard: dashboard.name)


def panels(dashboard: Dashboard) -> list[dict[str, Json]]:
    return listing(at(dashboard.to_json(), "panels"))


@each_dashboard
def test_dashboard_is_what_its_definition_gives(dashboard: Dashboard) -> None:
    assert path_of(dashboard).read_text() == text_of(dashboard), "run make helm-update"


def test_no_dashboard_is_left_over() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == {path_of(dashboard).name for dashboard in ALL}


@each_dashboard
def test_dashboard_fits_the_schema(dashboard: Dashboard) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)

    assert [error.message for error in validator.iter_errors(dashboard.to_json())] == []


@pytest.mark.parametrize("spoilt", ["uid", "panels", "templating"])
def test_schema_finds_what_is_missing(spoilt: str) -> None:
    document = {name: value for name, value in ALL[0].to_json().items() if name != spoilt}

    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(document))


@each_dashboard
def test_every_panel_asks_for_metrics_and_labels_that_exist(dashboard: Dashboard) -> None:
    found = [
        fault
        for panel in panels(dashboard)
        for target in listing(panel.get("targets"))
        for fault in faults(
            str(panel["title"]),
            as_prometheus_sees(str(target["expr"])),
            known_series(),
            str(target["legendFormat"]),
        )
    ]

    assert found == []


@each_dashboard
def test_every_choice_of_a_dashboard_is_a_label_that_exists(dashboard: Dashboard) -> None:
    for variable in dashboard.variables:
        assert variable.label in known_series()[variable.series], variable.name


@each_dashboard
def test_every_query_is_of_the_chosen_namespace_and_datasource(dashboard: Dashboard) -> None:
    for panel in panels(dashboard):
        for target in listing(panel.get("targets")):
            expression = str(target["expr"])
            assert expression.count('namespace="$namespace"') == expression.count("{"), panel["title"]
            assert "$" not in as_prometheus_sees(expression), panel["title"]
            assert at(target, "datasource", "uid") == "${datasource}"


@each_dashboard
def test_panels_lie_apart_within_rows(dashboard: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(dashboard):
        place = at(panel, "gridPos")
        x, y, width, height = (int(str(at(place, name))) for name in ("x", "y", "w", "h"))
        cells = {(column, line) for column in range(x, x + width) for line in range(y, y + height)}
        assert not cells & taken, panel["title"]
        assert x + width <= 24
        taken |= cells
    assert panels(dashboard)[0]["type"] == "row"
    assert len({str(panel["id"]) for panel in panels(dashboard)}) == len(panels(dashboard))


@each_dashboard
def test_latency_leads_to_traces(dashboard: Dashboard) -> None:
    """Only histograms whose observations carry their trace are asked for exemplars, and all of these are."""
    traced = (
        "rpc_server_call_duration",
        "clarion_delivery_age",
        "clarion_dispatch_age",
        "clarion_plan_age",
        "clarion_provider_call",
    )
    for panel in panels(dashboard):
        for target in listing(panel.get("targets")):
            asks = any(f"{name}_seconds_bucket" in str(target["expr"]) for name in traced)
            assert (find(target, "exemplar") is True) is asks, panel["title"]


def test_every_metric_of_the_registry_is_on_a_dashboard_or_in_an_alert() -> None:
    asked = [
        str(target["expr"])
        for dashboard in ALL
        for panel in panels(dashboard)
        for target in listing(panel.get("targets"))
    ]
    text = " ".join((*asked, *(str(rule["expr"]) for rule in rules())))
    registered = [value.name for value in vars(names).values() if isinstance(value, Metric)]

    assert [name for name in registered if name not in text] == []


def test_every_dashboard_is_installed_with_its_links() -> None:
    maps = {manifest.name: manifest for manifest in of_kind("production", "ConfigMap") if "dashboard" in manifest.name}

    assert {name.rpartition("-")[2] for name in maps} == {dashboard.name for dashboard in ALL}
    for dashboard in ALL:
        (manifest,) = [one for name, one in maps.items() if name.endswith(f"-{dashboard.name}")]
        text = str(at(manifest.body, "data", f"{dashboard.name}.json"))
        assert json.loads(text)["uid"] == f"clarion-{dashboard.name}"
        assert JAEGER not in text
