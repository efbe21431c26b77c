"""Bills of materials: valid, whole, and the same for the same lock file."""

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from docker.closure import closure_of

from . import locked, sbom
from .licences import licence_of
from .locked import Locked


@pytest.fixture(scope="module")
def bill(runtime: list[Locked]) -> str:
    return sbom.bom("clarion", runtime)


def names(bill: str) -> set[str]:
    return {str(component["name"]) for component in json.loads(bill)["components"]}


def test_bill_of_the_runtime_fits_its_schema(bill: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None


def test_bill_of_everything_fits_its_schema_and_names_every_locked_version() -> None:
    everything = locked.locked(locked.LOCK.read_text())
    bill = sbom.bom("clarion-workspace", everything)

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    told = {(one["name"], one["version"]) for one in json.loads(bill)["components"]}
    assert told == {(one.name, one.version) for one in everything}


def test_bill_of_the_runtime_names_what_images_hold_and_no_tool(bill: str, runtime: list[Locked]) -> None:
    told = names(bill)

    assert told == {package.name for package in runtime}
    assert {"asyncpg", "cryptography", "granian", "grpcio", "nats-py"} <= told
    assert not {"pytest", "mypy", "pip-audit", "clarion-kit"} & told


def test_bill_of_one_image_names_its_packages_alone() -> None:
    packages = closure_of("rate_limiter").packages

    assert names(sbom.bom_of("clarion-rate-limiter", packages)) == packages


def test_each_component_tells_version_hashes_and_licence(bill: str, runtime: list[Locked]) -> None:
    components = {one["name"]: one for one in json.loads(bill)["components"]}

    for package in runtime:
        told = components[package.name]
        assert (told["version"], told["purl"]) == (package.version, f"pkg:pypi/{package.name}@{package.version}")
        assert {one["content"] for one in told["hashes"]} == set(package.sha256)
        [licence] = told["licenses"]
        assert (licence.get("expression") or licence["license"]["id"]) == licence_of(package.name)


def test_bill_tells_who_needs_whom(bill: str) -> None:
    needs = {one["ref"]: one.get("dependsOn", []) for one in json.loads(bill)["dependencies"]}
    by_name = {ref.partition("==")[0]: {other.partition("==")[0] for other in needed} for ref, needed in needs.items()}

    assert "hpack" in by_name["h2"]
    assert by_name["clarion"] == names(bill)


def test_bill_made_again_is_the_same(bill: str, runtime: list[Locked]) -> None:
    assert sbom.bom("clarion", list(reversed(runtime))) == bill


def test_serial_number_follows_from_what_is_in_it(bill: str, runtime: list[Locked]) -> None:
    other = sbom.bom("clarion", runtime[1:])

    assert json.loads(other)["serialNumber"] != json.loads(bill)["serialNumber"]


def test_package_that_is_not_locked_is_named() -> None:
    with pytest.raises(LookupError, match="nobody-knows-this"):
        sbom.bom_of("x", ["nobody-knows-this"])


def test_block_of_a_lock_file_is_read_with_all_its_hashes() -> None:
    text = (
        "one==1.0 ; sys_platform == 'win32' \\\n"
        f"    --hash=sha256:{'a' * 64} \\\n"
        f"    --hash=sha256:{'b' * 64}\n"
        f"two==2 \\\n    --hash=sha256:{'c' * 64}\n"
    )

    assert locked.locked(text) == [Locked("one", "1.0", ("a" * 64, "b" * 64)), Locked("two", "2", ("c" * 64,))]
