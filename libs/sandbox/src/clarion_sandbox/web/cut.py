"""Cutting a client's connection in the middle of a request.

The HTTP server owns its sockets and offers no way to drop one, so the socket is found by its peer among this process's
descriptors. Costs some 2 µs per open descriptor; used for scripted faults alone.
"""

import os
import socket


def cut_connection(peer: str) -> bool:
    """Shut down the TCP connection whose remote end is ``peer`` (``host:port``); says whether there was one."""
    for name in os.listdir("/dev/fd"):
        try:
            copy = os.dup(int(name))
        except OSError:
            continue
        try:
            connection = socket.socket(fileno=copy)
        except OSError:  # no socket
            os.close(copy)
            continue
        with connection:
            try:
                address = connection.getpeername()
                if isinstance(address, tuple) and f"{address[0]}:{address[1]}" == peer.replace("[", "").replace(
                    "]", ""
                ):
                    connection.shutdown(socket.SHUT_RDWR)
                    return True
            except OSError:
                continue
    return False
