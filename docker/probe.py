"""Asks a daemon's gRPC health service over the mesh's own TLS; exit 0 if it is SERVING.

    clarion-probe rate-limiter live                      this pod; "" is readiness, "live" liveness
    clarion-probe gateway "" clarion-gateway:7443        another

The kubelet's own gRPC probe speaks no TLS. Standard library only: importing gRPC would cost more CPU every few seconds than
some daemons need at rest. Hence the few frames of HTTP/2 (RFC 9113) that one call takes; headers go out literal, without Huffman
(RFC 7541 §6.2.2), and only the answer's body is read.
"""

import os
import socket
import ssl
import sys
import time
from pathlib import Path

LIMIT_SECONDS = 4.0
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY = 0x0, 0x1, 0x3, 0x4, 0x6, 0x7
ACK, END_STREAM, END_HEADERS = 0x1, 0x1, 0x4
SERVING = b"\x08\x01"
"""`HealthCheckResponse{status: SERVING}`; NOT_SERVING is 08 02, and no body at all an error."""
USAGE = 'usage: clarion-probe DAEMON ""|live [HOST:PORT]\n'


def ask(daemon: str, service: str, address: str, folder: Path, until: float) -> bytes:
    """Body of the answer of `grpc.health.v1.Health/Check`. Raises OSError, ssl.SSLError, TimeoutError."""
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host.strip("[]"), int(port)), timeout=_left(until)) as plain,
        context.wrap_socket(plain, server_hostname=daemon) as connection,
    ):
        message = b"\x0a" + bytes([len(service)]) + service.encode() if service else b""
        connection.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + frame(SETTINGS, 0, 0, b"")
            + frame(HEADERS, END_HEADERS, 1, headers(daemon))
            + frame(DATA, END_STREAM, 1, b"\x00" + len(message).to_bytes(4, "big") + message)
        )
        return _answer(connection, until)


def headers(authority: str) -> bytes:
    """Header block of the call."""
    fields = (
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", b"/grpc.health.v1.Health/Check"),
        (b":authority", authority.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
    return b"".join(b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame (RFC 9113 §4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def _answer(connection: ssl.SSLSocket, until: float) -> bytes:
    body = b""
    while True:
        head = _exactly(connection, 9, until)
        kind, flags = head[3], head[4]
        payload = _exactly(connection, int.from_bytes(head[:3], "big"), until)
        ours = int.from_bytes(head[5:9], "big") == 1
        if kind in (SETTINGS, PING) and not flags & ACK:
            connection.sendall(frame(kind, ACK, 0, b"" if kind == SETTINGS else payload))
        elif kind == DATA and ours:
            body += payload
        if kind == GOAWAY or (ours and (kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM))):
            return body[5:]


def _exactly(connection: ssl.SSLSocket, size: int, until: float) -> bytes:
    data = b""
    while len(data) < size:
        connection.settimeout(_left(until))
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("closed before the answer")
        data += part
    return data


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("no answer in time")
    return left


def main(arguments: list[str]) -> int:
    """0: SERVING; 1: not, or no answer; 2: usage."""
    if len(arguments) not in (2, 3):
        sys.stderr.write(USAGE)
        return 2
    daemon, service = arguments[:2]
    port = os.environ.get("CLARION_GRPC_LISTEN", ":7443").rpartition(":")[2]
    address = arguments[2] if len(arguments) == 3 else f"127.0.0.1:{port}"
    folder = Path(os.environ.get("CLARION_TLS_DIR", "/etc/clarion/tls"))
    try:
        body = ask(daemon, service, address, folder, time.monotonic() + LIMIT_SECONDS)
    except (OSError, ValueError) as away:
        sys.stderr.write(f"{daemon} does not answer at {address}: {away}\n")
        return 1
    if body != SERVING:
        sys.stderr.write(f"{daemon} is not serving\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
