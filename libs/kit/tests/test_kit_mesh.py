"""The map of the mesh covers every service of the contracts."""

from importlib import import_module
from pathlib import Path

from google.protobuf.descriptor import ServiceDescriptor

import clarion
from clarion.options.v1 import options_pb2
from clarion_kit import mesh
from clarion_kit.rpc.caller import SCOPES


def services_of_the_contracts() -> dict[str, ServiceDescriptor]:
    """Every service for which there is a generated module."""
    found: dict[str, ServiceDescriptor] = {}
    for root in clarion.__path__:
        for path in sorted(Path(root).rglob("*_pb2.py")):
            module = ".".join(["clarion", *path.relative_to(root).with_suffix("").parts])
            for service in import_module(module).DESCRIPTOR.services_by_name.values():
                found[service.full_name] = service
    return found


def test_every_service_is_public_or_internal() -> None:
    public = {service.full_name for service in mesh.public_services()}
    internal = {service.full_name for service in mesh.internal_services()}

    assert public | internal == set(services_of_the_contracts())
    assert {name for name in public | internal if name.startswith("clarion.internal.")} == internal


def test_every_service_is_served_by_a_daemon() -> None:
    for name, service in services_of_the_contracts().items():
        daemon = mesh.served_by(service)
        assert daemon in mesh.DAEMONS or (daemon == "dispatcher" and "dispatch" in name), name


def test_every_public_method_has_a_rule() -> None:
    scopes = SCOPES | {"none", "any", "send"}
    for service in mesh.public_services():
        for method in service.methods:
            assert method.GetOptions().HasExtension(options_pb2.rule), method.full_name

    for path, method_ in mesh.public_methods().items():
        assert method_.required_scope in scopes, path
        assert 0 < method_.max_request_bytes <= 4 << 20, path


def test_caller_matrix_covers_every_internal_service() -> None:
    assert set(mesh.INTERNAL_CALLERS) == {service.full_name for service in mesh.internal_services()}


def test_callers_are_daemons_or_operators() -> None:
    for service, callers in mesh.INTERNAL_CALLERS.items():
        assert callers, service
        assert callers <= {*mesh.DAEMONS, "operator"}, service


def test_public_services_are_called_by_the_gateway_alone() -> None:
    for service in mesh.public_services():
        assert mesh.callers(service.full_name) == {mesh.GATEWAY}
