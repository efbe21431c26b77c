"""The chart as Helm itself renders it, and the manifests that come out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "clarion"
EXAMPLES = CHART / "examples"
GOLDEN = Path(__file__).with_name("golden")
RELEASE = "clarion"
NAMESPACE = "clarion"

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Values: TypeAlias = Mapping[str, Json]


class Refused(Exception):
    """Helm would not render: its own words."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object, and the template it came from."""

    template: str
    body: dict[str, Json]

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def api_version(self) -> str:
        return str(self.body["apiVersion"])

    @property
    def name(self) -> str:
        return str(at(self.body, "metadata", "name"))

    @property
    def component(self) -> str:
        return str(at(self.body, "metadata", "labels", "app.kubernetes.io/component"))

    @property
    def identity(self) -> str:
        return f"{self.kind}/{self.name}"

    def __str__(self) -> str:
        return self.identity


def example_names() -> list[str]:
    """Every profile by its name."""
    return sorted(path.stem for path in EXAMPLES.glob("*.yaml"))


def example_values(name: str) -> dict[str, Json]:
    """Values of a profile, read as Helm reads them."""
    import helm_python

    values: dict[str, Json] = helm_python.values_from_yaml((EXAMPLES / f"{name}.yaml").read_text())
    return values


def render(values: Values, *, release: str = RELEASE, upgrade: bool = False) -> dict[str, str]:
    """Text by template, without those that came out empty; of the first revision, or of the second. Raises Refused."""
    import helm_python

    try:
        with helm_python.Chart.load(CHART) as chart:
            texts = chart.render(
                dict(values),
                name=release,
                namespace=NAMESPACE,
                revision=1 + upgrade,
                is_install=not upgrade,
                is_upgrade=upgrade,
            )
    except helm_python.HelmError as error:
        raise Refused(str(error)) from None
    return {template: text for template, text in sorted(texts.items()) if text.strip()}


@cache
def rendered_example(name: str) -> str:
    """What a profile renders to, as one document with the templates named; notes left out."""
    texts = render(example_values(name))
    parts = [_cleaned(template, text) for template, text in texts.items() if not template.endswith("NOTES.txt")]
    return "".join(parts)


def manifests_of(text: str) -> list[Manifest]:
    """The objects of a rendered document."""
    found = []
    template = ""
    for part in text.split("\n---\n"):
        body = yaml.safe_load(part)
        for line in part.splitlines():
            if line.startswith("# Source: "):
                template = line.removeprefix("# Source: ")
        if body:
            found.append(Manifest(template, body))
    return found


@cache
def manifests(example: str) -> Sequence[Manifest]:
    """The objects of a profile."""
    return manifests_of(rendered_example(example))


def of_kind(example: str, *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests(example) if manifest.kind in kinds]


def at(body: Json, *path: str | int) -> Json:
    """What lies at a path. Raises KeyError with the whole path."""
    here = body
    for step in path:
        if isinstance(here, dict) and step in here:
            here = here[str(step)]
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        else:
            raise KeyError("/".join(str(part) for part in path))
    return here


def find(body: Json, *path: str | int) -> Json:
    """What lies at a path, or None."""
    try:
        return at(body, *path)
    except KeyError:
        return None


def mapping(body: Json) -> dict[str, Json]:
    """`body`, which must be a mapping (nothing counts as an empty one)."""
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise TypeError(f"no mapping: {body!r}")
    return body


def listing(body: Json) -> list[dict[str, Json]]:
    """`body`, which must be a list of mappings (nothing counts as an empty one)."""
    if body is None:
        return []
    if not isinstance(body, list):
        raise TypeError(f"no list: {body!r}")
    return [mapping(item) for item in body]


def pods(example: str) -> Iterator[tuple[Manifest, dict[str, Json]]]:
    """Each object that makes pods, with the pod's spec."""
    for manifest in manifests(example):
        if manifest.kind == "Pod":
            yield manifest, mapping(at(manifest.body, "spec"))
        elif manifest.kind in {"Deployment", "StatefulSet", "Job"}:
            yield manifest, mapping(at(manifest.body, "spec", "template", "spec"))


def containers(spec: dict[str, Json]) -> list[dict[str, Json]]:
    return [*listing(spec.get("initContainers")), *listing(spec["containers"])]


def _cleaned(template: str, text: str) -> str:
    documents = [part.strip("\n") for part in f"\n{text}".split("\n---\n") if part.strip()]
    return "".join(f"---\n# Source: {template}\n{document}\n" for document in documents)
