"""Every profile renders, the same each time, to what lies in git."""

import difflib
from collections import Counter
from collections.abc import Mapping

import pytest

from .charts import CHART, GOLDEN, Manifest, example_names, example_values, manifests_of, render, rendered_example
from .upgrades import KEPT, PREVIOUS, refused_changes

pytestmark = pytest.mark.helm


@pytest.mark.parametrize("example", example_names())
def test_profile_renders_to_its_golden_file(example: str, counted: Counter[str]) -> None:
    """After a change that was meant: make helm-update."""
    golden = GOLDEN / f"{example}.yaml"
    kept = golden.read_text() if golden.exists() else ""

    changes = difflib.unified_diff(
        kept.splitlines(), rendered_example(example).splitlines(), "golden", "rendered", lineterm=""
    )

    assert "\n".join(changes) == ""
    counted["examples"] += 1


def test_there_is_no_golden_file_without_its_profile() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(example_names())


@pytest.mark.parametrize("example", ["dev", "production"])
def test_rendering_again_gives_the_same(example: str) -> None:
    """Nothing random and nothing looked up: what a pipeline shows is what is installed."""
    first = render(example_values(example))

    assert render(example_values(example)) == first


@pytest.mark.parametrize("example", ["dev", "production", "keda", "gateway-api"])
def test_helm_lint_finds_nothing(example: str) -> None:
    import helm_python

    report = helm_python.lint(CHART, example_values(example), strict=True, namespace="clarion")

    warning = 2
    assert [message for message in report["messages"] if message["severity"] >= warning] == []
    assert report["errors"] == []


def test_values_as_they_stand_render() -> None:
    assert "clarion/templates/daemon/deployments.yaml" in render({})


def test_two_releases_in_a_namespace_share_no_name() -> None:
    blue, green = ({manifest.identity for manifest in _objects(render({}, release=name))} for name in ("blue", "green"))

    assert blue.isdisjoint(green)


@pytest.mark.parametrize("example", KEPT)
def test_upgrade_from_the_version_before_changes_nothing_immutable(example: str) -> None:
    before = manifests_of((PREVIOUS / f"{example}.yaml").read_text())

    assert list(refused_changes(before, manifests_of(rendered_example(example)))) == []


@pytest.mark.parametrize(
    ("was", "becomes", "field"),
    [
        (
            "      app.kubernetes.io/component: gateway\n  template:",
            "      changed: label\n  template:",
            "spec.selector",
        ),
        ("clusterIP: None", "clusterIP: 10.0.0.1", "spec.clusterIP"),
        ("storage: 10Gi", "storage: 20Gi", "spec.volumeClaimTemplates"),
    ],
)
def test_the_check_of_upgrades_finds(was: str, becomes: str, field: str) -> None:
    before = rendered_example("dev")
    assert was in before

    found = list(refused_changes(manifests_of(before), manifests_of(before.replace(was, becomes))))

    assert found
    assert all(change.endswith(field) for change in found)


def _objects(texts: Mapping[str, str]) -> list[Manifest]:
    return [
        manifest
        for template, text in texts.items()
        if not template.endswith("NOTES.txt")
        for manifest in manifests_of(text)
    ]
