"""Every object is what Kubernetes takes: its own schemas, strictly, for its three newest versions."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from .charts import Manifest, example_names, manifests

pytestmark = pytest.mark.helm

SCHEMAS = Path(__file__).with_name("schemas")
NEWEST = 3


@cache
def kubernetes_versions() -> list[str]:
    from kubernetes_validate import utils

    # Listed once for each kind of schema it has.
    return list(dict.fromkeys(utils.major_minor(version) for version in utils.all_versions()))[-NEWEST:]


@pytest.mark.parametrize("example", example_names())
def test_every_object_of_a_profile_fits_its_schema(example: str, counted: Counter[str]) -> None:
    faults = []
    for manifest in manifests(example):
        for name, validator in _validators(manifest):
            faults += [
                f"{manifest}, {name}: {'.'.join(str(step) for step in error.absolute_path)}: {error.message}"
                for error in validator.iter_errors(manifest.body)
            ]
        counted["manifests"] += 1

    assert faults == []


@pytest.mark.parametrize("kind", sorted(path.stem for path in SCHEMAS.glob("*.json")))
def test_own_schema_is_a_schema_and_some_profile_uses_it(kind: str) -> None:
    schema = json.loads((SCHEMAS / f"{kind}.json").read_text())

    jsonschema.Draft202012Validator.check_schema(schema)
    if schema["title"] != "compose":
        assert any(manifest.kind == schema["title"] for example in example_names() for manifest in manifests(example))


def test_strict_schemas_refuse_a_field_that_does_not_exist() -> None:
    deployment = next(manifest for manifest in manifests("dev") if manifest.kind == "Deployment")
    spoilt = Manifest(deployment.template, json.loads(json.dumps(deployment.body)))
    spoilt.body["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}  # type: ignore[index,call-overload]

    assert all(list(validator.iter_errors(spoilt.body)) for _, validator in _validators(spoilt))


def _validators(manifest: Manifest) -> list[tuple[str, jsonschema.Draft202012Validator]]:
    own = SCHEMAS / f"{manifest.kind.lower()}.json"
    if own.exists():
        return [("own schema", _own(own))]
    return [
        (version, _kubernetes(version, manifest.kind.lower(), manifest.api_version))
        for version in kubernetes_versions()
    ]


@cache
def _own(path: Path) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(path.read_text()))


@cache
def _kubernetes(version: str, kind: str, api_version: str) -> jsonschema.Draft202012Validator:
    """As `kubernetes_validate.validate` makes one, but once for all objects of a kind: it reads 2 MB each time."""
    from kubernetes_validate import utils
    from referencing import Registry, Resource

    folder = f"kubernetes-json-schema/v{version}.0-local-strict"
    group, _, number = api_version.rpartition("/")
    name = f"{kind}-{group.partition('.')[0]}-{number}" if group else f"{kind}-{number}"
    schema = utils.schema_contents(f"{folder}/{name}.json", version)
    definitions = Resource.from_contents(_definitions(folder, version))
    registry = definitions @ (Resource.from_contents(schema) @ Registry())
    return jsonschema.Draft202012Validator(schema, registry=registry)


@cache
def _definitions(folder: str, version: str) -> object:
    from kubernetes_validate import utils

    return utils.schema_contents(f"{folder}/_definitions.json", version)
