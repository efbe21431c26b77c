"""Software bills of materials: CycloneDX 1.6 in JSON (https://cyclonedx.org/docs/1.6/json/), the same for the same lock file."""

import json
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .licences import UnknownLicence, licence_of
from .locked import ROOT, Locked, chosen

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:clarion:sbom")


def bom_of(title: str, names: Iterable[str]) -> str:
    """The bill of these packages, all of them installed, for example those of one image (`docker.closure.closure_of`).

    Raises LookupError for one that is not locked.
    """
    return bom(title, chosen(names))


def bom(title: str, packages: Iterable[Locked]) -> str:
    """The bill of locked packages."""
    root = Component(name=title, type=ComponentType.APPLICATION, version=_version(), bom_ref=title)
    made = Bom(metadata=BomMetaData(component=root))
    known = {one: _component(one) for one in packages}
    made.components.update(known.values())
    for one, component in known.items():
        needed = _needs(one) if one.installed else set()
        made.register_dependency(component, [other for name, other in known.items() if name.name in needed])
    made.register_dependency(root, known.values())
    return _reproducible(JsonV1Dot6(made).output_as_string())


def _component(one: Locked) -> Component:
    # Of several files of a version one is installed: any of these hashes may be the one.
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in one.sha256]
    return Component(
        name=one.name,
        version=one.version,
        bom_ref=f"{one.name}=={one.version}",
        purl=PackageURL("pypi", name=one.name, version=one.version),
        hashes=hashes,
        licenses=_licences(one),
    )


def _licences(one: Locked) -> list[License]:
    """None of what is not here, or is a tool whose licence nobody has read; of what images hold a test knows all."""
    try:
        return [LicenseFactory().make_from_string(licence_of(one.name))] if one.installed else []
    except UnknownLicence:
        return []


def _needs(one: Locked) -> set[str]:
    found = (Requirement(line) for line in requires(one.name) or [])
    return {canonicalize_name(it.name) for it in found if it.marker is None or it.marker.evaluate({"extra": ""})}


def _reproducible(text: str) -> str:
    """Without the time of its making, and with a serial number that follows from everything else."""
    document = json.loads(text)
    del document["metadata"]["timestamp"]
    del document["serialNumber"]
    document["serialNumber"] = uuid5(_NAMESPACE, json.dumps(document, sort_keys=True)).urn
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _version() -> str:
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return version
