"""Every profile renders, the same each time, to what lies in git."""

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
import yaml

from .charts import (
    CHART,
    GOLDEN,
    Json,
    Manifest,
    at,
    example_names,
    example_values,
    find,
    manifests_of,
    mapping,
    render,
    rendered_example,
)
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


def test_platform_may_choose_the_users_of_pods() -> None:
    """As OpenShift does; never root all the same."""
    text = "".join(render({"podSecurity": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}).values())

    assert "65532" not in text
    assert text.count("runAsNonRoot: true") > text.count("kind: Deployment")


def test_every_knob_is_documented_where_it_stands() -> None:
    """A comment above it, or above the one it belongs to; `services` has the knobs of `defaults`."""
    above: list[tuple[int, bool]] = []
    bare = []
    previous = ""
    text = (CHART / "values.yaml").read_text()
    for line in re.sub(r"(?ms)^services:.*?\n\n", "", text).splitlines():
        key = re.match(r"( *)[A-Za-z-]+:( |$)", line)
        if key:
            depth = len(key[1])
            above = [(level, told) for level, told in above if level < depth]
            told = previous.lstrip().startswith("#")
            if not told and not any(parent for _, parent in above[-1:]) and not line.endswith(":"):
                bare.append(line)
            above.append((depth, told))
        previous = line

    assert bare == []


def test_every_knob_of_the_schema_stands_in_the_values() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert list(_unnamed(schema, schema, values)) == []


def _unnamed(schema: Json, root: Json, values: Json, path: str = "") -> Iterator[str]:
    """Properties that the values leave out; not of what Kubernetes defines."""
    name = str(find(schema, "$ref") or "").removeprefix("#/$defs/")
    if name in ("resources", "probe"):
        return
    known = mapping(find(at(root, "$defs", name) if name else schema, "properties"))
    for key, part in known.items():
        if path == "" and key in ("global", "services"):
            continue
        if key not in mapping(values):
            yield f"{path}/{key}"
        elif isinstance(found := mapping(values)[key], dict) and found:
            yield from _unnamed(part, root, found, f"{path}/{key}")


def test_two_releases_in_a_namespace_share_no_name() -> None:
    blue, green = ({manifest.identity for manifest in _objects(render({}, release=name))} for name in ("blue", "green"))

    assert blue.isdisjoint(green)


@pytest.mark.parametrize("example", KEPT)
def test_upgrade_from_the_version_before_changes_nothing_immutable(example: str) -> None:
    before = manifests_of((PREVIOUS / f"{example}.yaml").read_text())

    after = _objects(render(example_values(example), upgrade=True))

    assert list(refused_changes(before, after)) == []


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
