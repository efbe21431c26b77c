"""What a local mesh shows to others: nothing beyond loopback, and no list of its methods."""

import asyncio
import ipaddress
import os
from pathlib import Path

import grpc
import psutil
import pytest

from clarion_kit import mesh
from clarion_kit.tls import TlsFiles
from clarion_local.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALL_SECONDS = 10


def listening() -> list[tuple[str, int, str]]:
    """Address, port and program of every socket that this process and its children listen on."""
    family = [psutil.Process(os.getpid()), *psutil.Process(os.getpid()).children(recursive=True)]
    found = []
    for process in family:
        for connection in process.net_connections(kind="inet"):
            if connection.status == psutil.CONN_LISTEN or (connection.status == psutil.CONN_NONE and connection.laddr):
                found.append((connection.laddr.ip, connection.laddr.port, process.name()))
    return found


def is_loopback(address: str) -> bool:
    """Also as a socket of both families tells it."""
    return ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback


async def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    sockets = await asyncio.to_thread(listening)

    ports = {port for _, port, _ in sockets}
    assert {int(target.rpartition(":")[2].split(",")[0]) for target in stack.endpoints.peers.values()} <= ports
    assert [socket for socket in sockets if not is_loopback(socket[0])] == []


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_no_daemon_tells_its_methods(stack: Stack, version: str) -> None:
    credentials = TlsFiles.in_dir(Path(stack.endpoints.operator_tls_dir)).mesh_channel_credentials()
    for daemon in mesh.DAEMONS:
        options = [("grpc.ssl_target_name_override", daemon.replace("_", "-"))]
        async with grpc.aio.secure_channel(stack.endpoints.peers[daemon], credentials, options) as channel:
            ask: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
            )
            # Nothing is written: a stream that is refused while it writes may end as INTERNAL.
            assert await ask(timeout=CALL_SECONDS).code() is grpc.StatusCode.UNIMPLEMENTED, daemon
