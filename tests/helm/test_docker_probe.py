"""The probe of the image against a daemon's real server over mutual TLS."""

import asyncio
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest
import pytest_asyncio

from clarion_kit.rpc.server import MeshAuthenticator, RpcServer
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.telemetry.tracing import Tracing
from clarion_kit.tls import TlsFiles
from clarion_local.authority import Authority

PROBE = Path(__file__).resolve().parents[2] / "docker" / "probe.py"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "tls")


@pytest_asyncio.fixture
async def server(authority: Authority) -> AsyncIterator[RpcServer]:
    files = authority.issue("rate_limiter", dns=["rate-limiter"])
    credentials = TlsFiles.in_dir(files.cert.parent).mesh_server_credentials()
    async with Tracing("clarion-rate-limiter", 0.0, None) as tracing:
        telemetry = Telemetry(tracing, Metrics())
        started = RpcServer(
            "rate_limiter", "127.0.0.1:0", credentials, MeshAuthenticator(insecure=False), telemetry, ()
        )
        await started.start()
        yield started
        await started.stop(timedelta(seconds=1))


async def test_live_daemon_that_is_not_ready_is_left_alone(server: RpcServer, authority: Authority) -> None:
    assert await _exit_status(server.port, authority, "live") == 0
    assert await _exit_status(server.port, authority, "") == 1


async def test_ready_daemon_gets_traffic_until_it_drains(server: RpcServer, authority: Authority) -> None:
    await server.set_ready(True)
    assert await _exit_status(server.port, authority, "") == 0

    await server.drain()
    assert await _exit_status(server.port, authority, "") == 1


async def test_service_that_does_not_exist_is_not_serving(server: RpcServer, authority: Authority) -> None:
    assert await _exit_status(server.port, authority, "nothing") == 1


async def test_another_daemon_on_the_port_is_told_apart(server: RpcServer, authority: Authority) -> None:
    assert await _exit_status(server.port, authority, "live", daemon="gateway") == 1


async def test_without_an_identity_nothing_is_told(server: RpcServer, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority.create(tmp_path / "other")

    assert await _exit_status(server.port, stranger, "live") == 1


def test_silence_ends_within_the_limit(authority: Authority) -> None:
    """A port that takes connections and says nothing."""
    probe = _probe()
    files = authority.issue("rate_limiter", dns=["rate-limiter"])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(OSError, match=r"timed out|no answer"):
            probe.ask("rate-limiter", "live", f"127.0.0.1:{silent.getsockname()[1]}", files.cert.parent, began + 0.2)

    assert time.monotonic() - began < probe.LIMIT_SECONDS


def test_usage_is_told() -> None:
    assert _probe().main([]) == 2


async def _exit_status(port: int, authority: Authority, service: str, daemon: str = "rate-limiter") -> int:
    files = authority.issue("probe")
    env = {
        "CLARION_GRPC_LISTEN": f"0.0.0.0:{port}",
        "CLARION_TLS_DIR": str(files.cert.parent),
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "-IS", str(PROBE), daemon, service]
    done = await asyncio.to_thread(subprocess.run, command, env=env, check=False, timeout=20, capture_output=True)
    return done.returncode


def _probe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("clarion_probe", PROBE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
