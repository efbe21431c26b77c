"""The chart knows the daemons as their code does: edges, settings, secrets, drain times."""

import importlib
import json
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from clarion_channels.engine.lanes import provider_factories
from clarion_kit import mesh
from clarion_kit.settings import load
from clarion_kit.subjects import all_lanes
from clarion_kit.vocabulary import Channel
from clarion_tracker import doors

from . import facts
from .charts import ROOT, example_names, find, listing, mapping, of_kind, rendered_example
from .policies import daemons, environment, secret_environment

pytestmark = pytest.mark.helm

FULL = [name for name in example_names() if name != "china"]
"""Profiles with every daemon."""
GRPC_PORTS = ("grpc", 7443)


def test_facts_in_the_chart_are_those_of_the_code() -> None:
    """Otherwise: make helm-update."""
    assert facts.MESH_FILE.read_text() == facts.rendered_mesh()


def test_settings_in_the_schema_are_those_of_the_code() -> None:
    """Otherwise: make helm-update."""
    assert facts.SCHEMA_FILE.read_text() == facts.rendered_schema()


@pytest.mark.parametrize("example", FULL)
@pytest.mark.parametrize("direction", ["ingress", "egress"])
def test_network_policies_open_exactly_the_edges_of_the_mesh(example: str, direction: str) -> None:
    expected = {
        (facts.kubernetes_name(caller), facts.kubernetes_name(server))
        for caller, servers in facts.calls().items()
        if caller != "operator"
        for server in servers
    }

    assert _edges(example, direction) == expected


def test_edges_are_those_of_the_readme_of_services() -> None:
    """Through the table that a contract test compares with the map."""
    text = (ROOT / "services" / "README.md").read_text()
    for caller, servers in facts.calls().items():
        for server in servers:
            served = "dispatcher" if server in mesh.DISPATCHERS else server
            assert any(f"| {served} |" in line and caller in line for line in text.splitlines()), (caller, server)


@pytest.mark.parametrize("example", example_names())
def test_every_daemon_accepts_its_environment(example: str, tmp_path: Path) -> None:
    """Its own settings class reads what the chart gives it: nothing missing, nothing out of range."""
    for name in ("ca.crt", "tls.crt", "tls.key"):
        (tmp_path / name).touch()
    for manifest in daemons(example):
        identity = manifest.component.replace("-", "_")
        env = environment(example, manifest) | {"CLARION_TLS_DIR": str(tmp_path)}
        env |= {variable: _secret(variable) for variable in secret_environment(manifest)}

        settings = load(facts.settings_of(identity), env)

        unknown = {name for name in env if name.removeprefix("CLARION_").lower() not in type(settings).model_fields}
        assert unknown == set(), manifest
        assert settings.production is (env["CLARION_PROFILE"] == "production")


def test_every_daemon_reaches_its_peers_by_the_names_of_services() -> None:
    services = {manifest.name for manifest in of_kind("production", "Service")}
    gateway = next(manifest for manifest in daemons("production") if manifest.component == "gateway")
    template = environment("production", gateway)["CLARION_PEER_TEMPLATE"]

    for daemon in mesh.DAEMONS:
        host = template.format(daemon=facts.kubernetes_name(daemon)).removeprefix("dns:///").partition(":")[0]
        assert host in services


def test_paths_of_the_tracker_are_public_but_those_of_operators() -> None:
    values = yaml.safe_load((facts.CHART / "values.yaml").read_text())

    assert set(values["public"]["tracker"]["paths"]) == doors.ROUTES.keys() - {"/console", "/healthz"}


def test_certificates_carry_the_names_that_clients_call() -> None:
    """Services outside of the mesh's own names, and public hostnames."""
    hosts = {
        manifest.component: set(listed)
        for manifest in of_kind("production", "Certificate")
        if isinstance(listed := find(manifest.body, "spec", "dnsNames"), list)
    }

    assert {"clarion-public", "clarion-public.clarion.svc", "clarion.example.com"} <= hosts["gateway"]
    assert {"clarion-web", "clarion-web.clarion.svc", "t.example.com"} <= hosts["tracker"]
    for component, names in hosts.items():
        assert any(str(name).startswith("clarion-public") for name in names) is (component == "gateway")


def test_certificates_carry_the_identity_that_servers_check() -> None:
    certificates = {
        manifest.component: mapping(manifest.body["spec"]) for manifest in of_kind("production", "Certificate")
    }

    assert set(certificates) == {facts.kubernetes_name(daemon) for daemon in mesh.DAEMONS} | {"operator"}
    for daemon in mesh.DAEMONS:
        spec = certificates[facts.kubernetes_name(daemon)]
        assert spec["uris"] == [f"spiffe://clarion/{daemon}"]
        assert facts.kubernetes_name(daemon) in str(spec["dnsNames"])


@pytest.mark.parametrize("daemon", mesh.DISPATCHERS)
def test_drain_time_covers_the_providers_of_the_channel(daemon: str) -> None:
    """`longestProviderTimeoutSeconds` is no less than the longest default of the channel's kinds."""
    channel = daemon.removeprefix("dispatcher_")
    values = _values()["services"][facts.kubernetes_name(daemon)]
    longest = max(
        _default_timeout(kind)
        for kind, factory in provider_factories().items()
        if Channel(factory.channel).slug == channel
    )

    assert values["longestProviderTimeoutSeconds"] >= longest


def test_autoscaling_looks_at_lanes_that_exist() -> None:
    known = {lane.name for lane in all_lanes()}
    asked: set[str] = set()
    for scaler in of_kind("production", "HorizontalPodAutoscaler"):
        for metric in listing(find(scaler.body, "spec", "metrics")):
            values = find(metric, "external", "metric", "selector", "matchExpressions", 0, "values")
            asked |= {str(value) for value in values} if isinstance(values, list) else set()
    for scaled in of_kind("keda", "ScaledObject"):
        query = str(find(scaled.body, "spec", "triggers", 0, "metadata", "query"))
        if "lane=~" in query:
            asked |= set(query.partition('lane=~"')[2].partition('"')[0].split("|"))

    assert asked
    assert asked <= known


def test_each_daemon_mounts_only_the_keys_it_reads() -> None:
    for manifest in daemons("production"):
        volumes = listing(find(manifest.body, "spec", "template", "spec", "volumes"))
        keys = next((volume for volume in volumes if volume["name"] == "keys"), None)
        mounted = {str(item["key"]) for item in listing(find(keys, "secret", "items"))} if keys else set()
        named = {
            value.rpartition("/")[2]
            for name, value in environment("production", manifest).items()
            if value.startswith("/etc/clarion/keys/")
        }
        assert mounted == named, manifest


def test_channel_that_is_left_out_leaves_nothing_behind() -> None:
    assert "name: clarion-dispatcher-web\n" not in rendered_example("china")


def _edges(example: str, direction: str) -> set[tuple[str, str]]:
    names = {facts.kubernetes_name(daemon) for daemon in mesh.DAEMONS}
    found = set()
    for policy in of_kind(example, "NetworkPolicy"):
        if policy.component not in names:
            continue
        for rule in listing(find(policy.body, "spec", direction)):
            for peer in listing(rule.get("from" if direction == "ingress" else "to")):
                other = find(peer, "podSelector", "matchLabels", "app.kubernetes.io/component")
                if other in names:
                    assert [port["port"] in GRPC_PORTS for port in listing(rule["ports"])] == [True]
                    pair = (str(other), policy.component)
                    found.add(pair if direction == "ingress" else pair[::-1])
    return found


def _secret(variable: str) -> str:
    """Something of the right shape for a variable that comes from a secret."""
    schemes = {"DATABASE": "postgresql", "NATS": "nats", "VALKEY": "redis"}
    return f"{schemes.get(variable.split('_')[1], 'https')}://name:word@store.example.com/"


def _values() -> dict[str, dict[str, dict[str, float]]]:
    import helm_python

    values: dict[str, dict[str, dict[str, float]]] = helm_python.values_from_yaml(
        (facts.CHART / "values.yaml").read_text()
    )
    return values


def _default_timeout(kind: str) -> float:
    fields = importlib.import_module(f"clarion_channels.providers.{kind}.settings")
    models = [value for value in vars(fields).values() if hasattr(value, "model_fields")]
    found = []
    for model in models:
        for name in ("timeout_seconds", "timeout"):
            if name in model.model_fields:
                default = model.model_fields[name].default
                found.append(default.total_seconds() if isinstance(default, timedelta) else float(default))
    assert found, kind
    return max(found)


def test_mesh_file_is_read_by_every_template_that_needs_it() -> None:
    document = json.loads(facts.MESH_FILE.read_text())

    assert set(document) == {"daemons", "publicServices"}
    assert list(document["daemons"]) == [facts.kubernetes_name(daemon) for daemon in mesh.DAEMONS]
