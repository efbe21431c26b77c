"""Passwords and certificates of the bus change under a connection that lasts for months."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from clarion_kit.bus import BusUnavailable, JetStreamBus
from clarion_kit.settings import Common, FaultySettings, load
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.tls import TlsFiles
from clarion_local.authority import Authority
from clarion_local.authority import TlsFiles as Issued
from clarion_local.process import ManagedProcess
from clarion_local.servers.nats import NatsOptions, NatsServer, NatsUser

LIMIT_SECONDS = 60


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    made = NatsServer(tmp_path / "nats", options=NatsOptions(users=[NatsUser("planner", "first")]))
    await made.start()
    yield made
    await made.stop()


def settings(url: str, **values: str) -> Common:
    return load(Common, {"CLARION_NATS_URL": url, "CLARION_INSECURE": "1", **values})


async def until_it_answers(bus: JetStreamBus) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            try:
                return await bus.ping()
            except BusUnavailable:
                await asyncio.sleep(0.05)


async def until_it_is_refused(bus: JetStreamBus) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            try:
                await bus.ping()
            except BusUnavailable:
                return
            await asyncio.sleep(0.05)


def replace_password(server: NatsServer, password: str) -> None:
    """In the server's configuration, which it then reads again: it ends connections of the former password."""
    file = server.folder / "nats.conf"
    configuration = json.loads(file.read_text())
    for user in configuration["authorization"]["users"]:
        if user["user"] == "planner":
            user["password"] = password
    file.write_text(json.dumps(configuration))
    assert isinstance(server.process, ManagedProcess)
    server.process.send_signal(signal.SIGHUP)


async def test_replaced_password_is_used_as_soon_as_the_file_has_it(
    server: NatsServer, telemetry: Telemetry, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("planner:first\n")
    url = f"nats://127.0.0.1:{server.port}"
    given = settings(url, CLARION_NATS_CREDENTIALS_FILE=str(file))
    async with JetStreamBus.for_daemon("planner", given, telemetry) as bus:
        await bus.ping()
        replace_password(server, "second")
        await until_it_is_refused(bus)
        file.write_text("planner:second\n")

        await until_it_answers(bus)


async def test_password_file_that_is_faulty_at_the_start_ends_it(
    telemetry: Telemetry, tmp_path: Path, server: NatsServer
) -> None:
    file = tmp_path / "password"
    file.write_text("planner")
    given = settings(f"nats://127.0.0.1:{server.port}", CLARION_NATS_CREDENTIALS_FILE=str(file))

    with pytest.raises(FaultySettings, match="CLARION_NATS_CREDENTIALS_FILE"):
        JetStreamBus.for_daemon("planner", given, telemetry)


async def test_new_authority_is_trusted_and_believed_at_the_next_connection(
    tmp_path: Path, telemetry: Telemetry
) -> None:
    old, new = Authority.create(tmp_path / "old"), Authority.create(tmp_path / "new")
    ours = old.issue("planner").cert.parent
    first = NatsServer(tmp_path / "nats", options=NatsOptions(tls=old.issue("nats")))
    await first.start()
    try:
        async with JetStreamBus.for_daemon(
            "planner", settings(first.url(), CLARION_TLS_DIR=str(ours)), telemetry
        ) as bus:
            await bus.ping()
            await first.stop()
            _replace(ours, new.issue("planner"))
            second = NatsServer(tmp_path / "nats", port=first.port, options=NatsOptions(tls=new.issue("nats")))
            await second.start()
            try:
                await until_it_answers(bus)
            finally:
                await second.stop()
    finally:
        await first.stop()


def _replace(folder: Path, files: Issued) -> None:
    ours = TlsFiles.in_dir(folder)
    for source, target in ((files.key, ours.key), (files.cert, ours.certificate), (files.ca, ours.ca)):
        shutil.copyfile(source, target)
