"""Every profile keeps every policy, and every policy can find what it is there to find."""

import json
from collections import Counter
from collections.abc import Callable

import pytest

from . import charts, policies
from .charts import Json, Manifest, example_names, manifests
from .policies import POLICIES

pytestmark = pytest.mark.helm


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("example", example_names())
def test_profile_keeps_policy(example: str, policy: str, counted: Counter[str]) -> None:
    assert list(POLICIES[policy](example)) == []
    counted["policies"] += 1


def _daemon(found: list[Manifest], kind: str = "Deployment", name: str = "clarion-gateway") -> dict[str, Json]:
    return next(manifest.body for manifest in found if manifest.kind == kind and manifest.name == name)


def _pod(found: list[Manifest]) -> dict[str, Json]:
    return charts.mapping(charts.at(_daemon(found), "spec", "template", "spec"))


def _container(found: list[Manifest]) -> dict[str, Json]:
    return charts.containers(_pod(found))[0]


def _without(found: list[Manifest], kind: str, ending: str) -> None:
    found[:] = [manifest for manifest in found if not (manifest.kind == kind and manifest.name.endswith(ending))]


SPOILT: dict[str, Callable[[list[Manifest]], object]] = {
    "restricted_pod_security": lambda found: _pod(found).update(hostNetwork=True),
    "read_only_root": lambda found: _container(found).update(securityContext={}),
    "pinned_images": lambda found: _container(found).update(image="clarion-gateway:latest"),
    "bounded_resources": lambda found: _container(found).update(resources={"requests": {"cpu": "1"}}),
    "probes": lambda found: _container(found).pop("readinessProbe"),
    "no_secret_inline": lambda found: charts.mapping(_daemon(found, "ConfigMap")["data"]).update(
        CLARION_NATS_URL="nats://clarion:hunter2@nats:4222"
    ),
    "budget_iff_several": lambda found: _without(found, "PodDisruptionBudget", "-gateway"),
    "no_service_account_token": lambda found: _pod(found).update(automountServiceAccountToken=True),
    "own_users_on_the_bus": lambda found: charts.mapping(_daemon(found, "ConfigMap")["data"]).pop(
        "CLARION_NATS_CREDENTIALS_FILE"
    ),
    "secrets_are_renewed_in_place": lambda found: charts.listing(_container(found)["volumeMounts"])[0].update(
        subPath="tls.crt"
    ),
    "own_service_accounts": lambda found: _pod(found).update(serviceAccountName="clarion-planner"),
    "graceful_stop": lambda found: _pod(found).update(terminationGracePeriodSeconds=30),
    "rolls_without_a_gap": lambda found: charts.mapping(_daemon(found)["spec"]).update(strategy={"type": "Recreate"}),
    "spreads": lambda found: _pod(found).update(topologySpreadConstraints=[]),
    "rolls_on_change": lambda found: charts.mapping(charts.at(_daemon(found), "spec", "template", "metadata")).update(
        annotations={}
    ),
    "nothing_open_by_default": lambda found: _without(found, "NetworkPolicy", "-deny"),
    "outside_is_not_inside": lambda found: charts.mapping(_daemon(found, "NetworkPolicy")["spec"]).update(
        egress=[{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]
    ),
    "selectors_find_their_pods": lambda found: charts.mapping(_daemon(found, "Service")["spec"]).update(
        selector={"app.kubernetes.io/instance": "clarion"}
    ),
    "names_fit": lambda found: charts.mapping(_daemon(found)["metadata"]).update(name="clarion-" + "x" * 60),
    "migrations_are_bounded": lambda found: _without(found, "Job", "-migrate"),
    "has_a_test": lambda found: _without(found, "Pod", "-look"),
    "priorities_in_order": lambda found: _daemon(found, "PriorityClass", "clarion-accept").update(value=1),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_policy_finds_what_it_is_there_to_find(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spoilt = [Manifest(one.template, json.loads(json.dumps(one.body))) for one in manifests("multi-zone")]
    SPOILT[policy](spoilt)
    for module in (charts, policies):
        monkeypatch.setattr(module, "manifests", lambda example: spoilt)

    assert list(POLICIES[policy]("multi-zone"))
