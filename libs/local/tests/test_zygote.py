import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2

from clarion_local.authority import Authority, TlsFiles
from clarion_local.process import Command, ManagedProcess, StartFailed, becomes_true
from clarion_local.zygote.supervisor import Entry, Zygote, ZygoteChild

GRACE = timedelta(seconds=5)
READY = timedelta(seconds=20)
HEAVY = [
    "grpc.aio",
    "grpc_health.v1.health",
    "asyncpg",
    "uvloop",
    "ssl",
    "cryptography.x509",
    "opentelemetry.sdk.trace",
]

# Daemons to fork; each reports by writing a line to its log, at once: unbuffered, every part would be a write of its own.
DAEMONS = """
import asyncio, json, os, random, signal, subprocess, sys, time

import grpc, uvloop
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from grpc_health.v1 import health, health_pb2_grpc


async def _serve():
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    ca, cert, key = (open(os.environ[name], "rb").read() for name in ("CA", "CERT", "KEY"))
    credentials = grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    AESGCM(AESGCM.generate_key(256)).encrypt(os.urandom(12), b"text", None)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print(f"port {port}\\n", end="", flush=True)
    await stop.wait()
    await server.stop(1)


def serve():
    uvloop.run(_serve())


def describe():
    print(json.dumps({
        "environment": dict(os.environ), "session": os.getsid(0), "argv": sys.argv, "stdin": sys.stdin.read(),
        "random": random.random(), "descriptors": sorted(os.listdir("/proc/self/fd")),
        "name": open("/proc/self/comm").read().strip(),
    }))


def sleep():
    print("asleep\\n", end="", flush=True)
    time.sleep(60)


def fail():
    raise RuntimeError("no such table")


def leave():
    return 7


def run_a_program():
    return subprocess.run(["true"]).returncode
"""


@pytest.fixture
async def zygote(tmp_path: Path) -> AsyncIterator[Zygote]:
    (tmp_path / "sample_daemons.py").write_text(DAEMONS)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    zygote = await Zygote.start(HEAVY, tmp_path / "zygote.log", env=environment)
    yield zygote
    await zygote.stop()


def entry(tmp_path: Path, function: str, name: str = "sample", **env: str) -> Entry:
    return Entry(name, "sample_daemons", tmp_path / f"{name}.log", env, function)


async def logged(child: ZygoteChild, text: str) -> str:
    """The child's log, once it contains `text`."""
    assert await becomes_true(lambda: text in child.log_tail or child.returncode is not None, READY)
    assert text in child.log_tail
    return child.log_tail


async def check(port: int, files: TlsFiles) -> int:
    credentials = grpc.ssl_channel_credentials(files.ca.read_bytes(), files.key.read_bytes(), files.cert.read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        method = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answer = await method(health_pb2.HealthCheckRequest(), timeout=5)
        return int(answer.status)


@pytest.mark.parametrize("fork_support", ["0", "1"])
async def test_children_forked_at_once_all_serve_grpc_over_mutual_tls(tmp_path: Path, fork_support: str) -> None:
    (tmp_path / "sample_daemons.py").write_text(DAEMONS)
    files = Authority.create(tmp_path / "tls").issue("sample")
    paths = {"CA": str(files.ca), "CERT": str(files.cert), "KEY": str(files.key)}
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "GRPC_ENABLE_FORK_SUPPORT": fork_support}
    zygote = await Zygote.start(HEAVY, tmp_path / "zygote.log", env=environment)
    try:
        children = await asyncio.gather(
            *(zygote.spawn(entry(tmp_path, "serve", f"sample-{number}", **paths)) for number in range(4))
        )
        logs = await asyncio.gather(*(logged(child, "port") for child in children))
        answers = await asyncio.gather(*(check(int(log.split()[1]), files) for log in logs))
        codes = await asyncio.gather(*(child.stop(GRACE) for child in children))
    finally:
        await zygote.stop()

    assert answers == [health_pb2.HealthCheckResponse.SERVING] * 4
    assert codes == [0, 0, 0, 0]


async def test_child_has_its_own_environment_session_streams_and_name(zygote: Zygote, tmp_path: Path) -> None:
    child = await zygote.spawn(entry(tmp_path, "describe", "dispatcher_ios", ONLY="1"))
    assert await asyncio.wait_for(child.wait(), 10) == 0

    seen = json.loads(child.log_tail)
    # The listing itself holds one descriptor; nothing of the zygote is left.
    assert seen.pop("descriptors") == ["0", "1", "2", "3"]
    seen.pop("random")
    assert seen == {
        "environment": {"ONLY": "1"},
        "session": child.pid,
        "argv": ["dispatcher_ios"],
        "stdin": "",
        "name": "dispatcher_ios",
    }


async def test_children_draw_different_random_numbers(zygote: Zygote, tmp_path: Path) -> None:
    children = [await zygote.spawn(entry(tmp_path, "describe", f"sample-{number}")) for number in range(3)]
    await asyncio.gather(*(child.wait() for child in children))

    assert len({json.loads(child.log_tail)["random"] for child in children}) == 3


async def test_result_of_the_function_is_the_exit_code(zygote: Zygote, tmp_path: Path) -> None:
    child = await zygote.spawn(entry(tmp_path, "leave"))

    assert await child.wait() == 7


async def test_exception_ends_the_child_with_a_traceback_in_its_own_log(zygote: Zygote, tmp_path: Path) -> None:
    child = await zygote.spawn(entry(tmp_path, "fail"))

    assert await child.wait() == 1
    assert child.log_tail.endswith("RuntimeError: no such table")


async def test_child_can_run_programs_of_its_own(zygote: Zygote, tmp_path: Path) -> None:
    child = await zygote.spawn(entry(tmp_path, "run_a_program"))

    assert await child.wait() == 0


async def test_signal_after_the_end_reaches_nobody(zygote: Zygote, tmp_path: Path) -> None:
    child = await zygote.spawn(entry(tmp_path, "leave"))
    await child.wait()

    child.send_signal(signal.SIGKILL)

    assert await child.stop(GRACE) == 7
    assert not psutil.pid_exists(child.pid)


async def test_killed_zygote_takes_its_children_along(zygote: Zygote, tmp_path: Path) -> None:
    child = await zygote.spawn(entry(tmp_path, "sleep"))
    await logged(child, "asleep")
    descriptor = os.pidfd_open(child.pid)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, ended.set)

    zygote.process.send_signal(signal.SIGKILL)

    assert await asyncio.wait_for(child.wait(), 5) == -signal.SIGKILL
    await asyncio.wait_for(ended.wait(), 5)
    asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)
    with pytest.raises(StartFailed):
        await zygote.spawn(entry(tmp_path, "leave"))


async def test_zygote_and_children_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    (tmp_path / "sample_daemons.py").write_text(DAEMONS)
    supervisor = """
import asyncio
from pathlib import Path
from clarion_local.zygote.supervisor import Entry, Zygote

async def main():
    zygote = await Zygote.start([], Path("zygote.log"))
    child = await zygote.spawn(Entry("sample", "sample_daemons", Path("sample.log"), {}, "sleep"))
    print("pids", zygote.process.pid, child.pid, flush=True)
    await child.wait()

asyncio.run(main())
"""
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    process = await ManagedProcess.start(
        Command("supervisor", [sys.executable, "-c", supervisor], tmp_path / "log", env=environment, cwd=tmp_path)
    )
    await process.ready_when_logged("pids", READY)
    loop = asyncio.get_running_loop()
    ended = []
    for pid in process.log_tail.split()[1:]:
        descriptor, event = os.pidfd_open(int(pid)), asyncio.Event()
        loop.add_reader(descriptor, event.set)
        ended.append((descriptor, event))

    await process.stop(timedelta(0))

    for descriptor, event in ended:
        await asyncio.wait_for(event.wait(), 5)
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def test_failing_import_is_a_start_failure_that_names_the_module(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="No module named 'absent_module'"):
        await Zygote.start(["absent_module"], tmp_path / "zygote.log")


async def test_module_that_starts_a_thread_cannot_be_forked(tmp_path: Path) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    zygote = await Zygote.start(["threaded"], tmp_path / "zygote.log", env=environment)
    try:
        with pytest.raises(StartFailed, match="started a thread"):
            await zygote.spawn(entry(tmp_path, "leave"))
    finally:
        await zygote.stop()
