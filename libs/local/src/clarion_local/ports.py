"""Free TCP ports on loopback."""

import socket
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"


class PortLease:
    """A free loopback port, kept from everyone else until it is handed over.

    The lease holds a bound socket that never listens, so the kernel gives the port to nobody (neither to another
    lease nor as the source port of a connection) and nothing stays in TIME_WAIT. Between `hand_over` and the server's
    own bind the port is unguarded: hand over right before the server starts.
    """

    def __init__(self) -> None:
        """Raises OSError when no port is free."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.bind((LOOPBACK, 0))
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


def free_ports(count: int) -> list[int]:
    """`count` different ports that were all free at one moment."""
    leases = [PortLease() for _ in range(count)]
    return [lease.hand_over() for lease in leases]
