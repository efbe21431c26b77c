"""The sandbox as a process of its own."""

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from clarion_sandbox.server import Sandbox
from clarion_sandbox.settings import Settings

LIMIT_SECONDS = 20


def environment(folder: Path, certificate: tuple[Path, Path], **extra: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
    return clean | {
        "CLARION_SANDBOX_DIR": str(folder),
        "CLARION_SANDBOX_TLS_CERT": str(certificate[0]),
        "CLARION_SANDBOX_TLS_KEY": str(certificate[1]),
        **extra,
    }


@asynccontextmanager
async def running(env: dict[str, str], *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(command or (sys.executable, "-m", "clarion_sandbox")),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready_line(process: asyncio.subprocess.Process) -> dict[str, object]:
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_SECONDS):
        line: dict[str, object] = json.loads(await process.stdout.readline())
    return line


async def test_ready_line_comes_with_a_private_description_and_sigterm_ends(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    async with running(environment(tmp_path, certificate)) as process:
        line = await ready_line(process)
        described = tmp_path / "sandbox.json"
        description = json.loads(described.read_bytes())
        assert (line["event"], line["url"], line["smpp_port"]) == (
            "ready",
            description["url"],
            description["smpp"]["port"],
        )
        assert stat.S_IMODE(described.stat().st_mode) == 0o600
        assert description["api_token"] not in json.dumps(line)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 2) == 0


async def test_every_faulty_setting_is_named(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    env = environment(tmp_path, certificate, CLARION_SANDBOX_TLS_KEY="/nowhere", CLARION_SANDBOX_SMPP_PORT="99999")
    async with running(env) as process:
        _, stderr = await asyncio.wait_for(process.communicate(), LIMIT_SECONDS)
    named = sorted(line.split(b":")[0] for line in stderr.splitlines())
    assert (process.returncode, named) == (2, [b"CLARION_SANDBOX_SMPP_PORT", b"CLARION_SANDBOX_TLS_KEY"])


async def test_key_of_another_certificate_is_a_fault(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    env = environment(tmp_path, certificate, CLARION_SANDBOX_TLS_KEY=str(certificate[0]))
    async with running(env) as process:
        _, stderr = await asyncio.wait_for(process.communicate(), LIMIT_SECONDS)
    assert (process.returncode, stderr.startswith(b"cannot run: ")) == (2, True)


async def test_sandbox_ends_with_its_parent(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    env = environment(tmp_path, certificate, CLARION_DIE_WITH_PARENT="1")
    # The parent passes the child's ready line on, says the child's pid, and waits to be killed.
    parent = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'clarion_sandbox'], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print('{\"pid\": %d}' % child.pid, flush=True)\n"
        "child.wait()\n"
    )
    async with running(env, sys.executable, "-c", parent) as process:
        pid = (await ready_line(process))["pid"]
        assert isinstance(pid, int)
        watched = os.pidfd_open(pid)
        try:
            ended = asyncio.Event()
            asyncio.get_running_loop().add_reader(watched, ended.set)
            process.kill()
            await asyncio.wait_for(ended.wait(), 5)
            asyncio.get_running_loop().remove_reader(watched)
        finally:
            os.close(watched)


async def test_credentials_outlive_a_restart(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    settings = Settings(dir=tmp_path, tls_cert=certificate[0], tls_key=certificate[1])
    async with Sandbox.start(settings) as first:
        credentials = first.credentials
    async with Sandbox.start(settings) as second:
        assert second.credentials == credentials


async def test_port_is_free_again_after_the_stop(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    settings = Settings(dir=tmp_path, tls_cert=certificate[0], tls_key=certificate[1])
    async with Sandbox.start(settings) as first:
        ports = first.ports
    again = settings.model_copy(
        update={
            "https_port": ports.https,
            "http2_port": ports.http2,
            "smpp_port": ports.smpp,
            "smtp_port": ports.smtp,
            "smtps_port": ports.smtps,
        }
    )
    async with Sandbox.start(again) as second:
        assert second.ports == ports
