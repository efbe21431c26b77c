"""Free TCP ports on loopback."""

import os
import random
import socket
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_SPAN = 12_000
_TRIES = 200
_RESERVED_SECONDS = 60.0
"""From picking a port to its server's bind, whatever else the machine does meanwhile."""


class PortLease:
    """A free loopback port, kept from everyone else until it is handed over.

    The lease holds a bound socket that never listens, so the kernel gives the port to nobody (neither to another
    lease nor as the source port of a connection) and nothing stays in TIME_WAIT. Between `hand_over` and the server's
    own bind no socket guards it: it lies below the range that the kernel takes the source ports of connections from, and
    no other lease of this user, in whatever process, takes it within a minute.
    """

    def __init__(self) -> None:
        """Raises OSError when no port is free."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            _bind(self._socket)
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]

    def hand_over(self) -> int:
        """Let go of the port and return it; calling again returns the same port."""
        self._socket.close()
        return self.port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


def _bind(unbound: socket.socket) -> None:
    """Bind to a free port below the ephemeral range; to any free one where that range is unknown or all is taken."""
    try:
        top = int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError):
        top = 0
    if top > _SPAN + 1_024:
        for port in random.sample(range(top - _SPAN, top), _TRIES):
            try:
                if _reserve(port):
                    unbound.bind((LOOPBACK, port))
                    return
            except OSError:
                continue
    unbound.bind((LOOPBACK, 0))


def _reserve(port: int) -> bool:
    """Whether no other lease took it a moment ago; then none will for a while. A file's age says so."""
    folder = Path(tempfile.gettempdir()) / f"clarion-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    mark = folder / str(port)
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        if time.time() - mark.stat().st_mtime < _RESERVED_SECONDS:
            return False
        mark.touch()
    return True


def free_ports(count: int) -> list[int]:
    """`count` different ports that were all free at one moment."""
    leases = [PortLease() for _ in range(count)]
    return [lease.hand_over() for lease in leases]
