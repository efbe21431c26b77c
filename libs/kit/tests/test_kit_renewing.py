"""Certificates and authorities that change under a running mesh."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from clarion_kit.rpc.renewing import RenewingChannel
from clarion_kit.rpc.server import MeshAuthenticator, RpcServer
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.tls import TlsFiles
from clarion_local.authority import Authority

from .echo_service import Echo, ask

SERVICE = "clarion.internal.template.v1.TemplateService"
CALLS_BETWEEN = 40


class Rotation:
    """A server and a client whose files change from one authority to another."""

    def __init__(self, folder: Path) -> None:
        self.old, self.new = Authority.create(folder / "old"), Authority.create(folder / "new")
        self.server = self.old.issue("template", dns=("localhost", "template")).cert.parent
        self.client = self.old.issue("planner", dns=("localhost", "planner")).cert.parent

    def trust(self, *authorities: Authority) -> None:
        bundle = b"".join(authority.ca.read_bytes() for authority in authorities)
        for folder in (self.server, self.client):
            (folder / "ca.crt").write_bytes(bundle)

    def reissue(self) -> None:
        """Certificates of the new authority, file by file, as a person would copy them."""
        for folder, name in ((self.server, "template"), (self.client, "planner")):
            fresh = self.new.issue(name, dns=("localhost", name)).cert.parent
            for file in ("tls.key", "tls.crt"):
                (folder / file).write_bytes((fresh / file).read_bytes())


@pytest.fixture
def rotation(tmp_path: Path) -> Rotation:
    return Rotation(tmp_path)


@asynccontextmanager
async def serving(folder: Path, echo: Echo, telemetry: Telemetry) -> AsyncIterator[int]:
    credentials = TlsFiles.in_dir(folder).mesh_server_credentials()
    server = RpcServer(
        "template", "127.0.0.1:0", credentials, MeshAuthenticator(insecure=False), telemetry, [echo.add_to]
    )
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(timedelta(0))


class Channels:
    """Channels to one port, counted."""

    def __init__(self, folder: Path, port: int) -> None:
        self.made: list[grpc.aio.Channel] = []
        self._port = port
        self.renewing = RenewingChannel(TlsFiles.in_dir(folder), self._connect, look_seconds=0)

    def _connect(self, credentials: grpc.ChannelCredentials) -> grpc.aio.Channel:
        options = [("grpc.ssl_target_name_override", "template")]
        self.made.append(grpc.aio.secure_channel(f"127.0.0.1:{self._port}", credentials, options))
        return self.made[-1]


async def echoed(channel: grpc.aio.Channel) -> bytes:
    return await ask(channel, "UnaryUnary", b"hello", service=SERVICE, timeout=10)


async def test_authority_and_certificates_change_under_load_without_a_failed_call(
    rotation: Rotation, telemetry: Telemetry
) -> None:
    answers: list[bytes] = []
    async with serving(rotation.server, Echo(SERVICE), telemetry) as port:
        channels = Channels(rotation.client, port)
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channels.renewing.unary_unary(f"/{SERVICE}/UnaryUnary")
        enough = asyncio.Condition()

        async def load(stop: asyncio.Event) -> None:
            while not stop.is_set():
                answers.append(await call(b"hello", timeout=10))
                async with enough:
                    enough.notify_all()

        async def some_calls() -> None:
            wanted = len(answers) + CALLS_BETWEEN
            async with enough:
                await enough.wait_for(lambda: len(answers) >= wanted)

        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(load(stop))
            await some_calls()
            rotation.trust(rotation.old, rotation.new)
            await some_calls()
            rotation.reissue()
            await some_calls()
            rotation.trust(rotation.new)
            await some_calls()
            stop.set()
        await channels.renewing.close()

    assert set(answers) == {b"hello"}
    assert len(channels.made) >= 4


async def test_call_in_flight_ends_on_the_channel_that_it_began_on(rotation: Rotation, telemetry: Telemetry) -> None:
    echo = Echo(SERVICE)
    async with serving(rotation.server, echo, telemetry) as port:
        channels = Channels(rotation.client, port)
        long = asyncio.ensure_future(ask(channels.renewing, "UnaryUnary", b"wait", service=SERVICE, timeout=30))
        await echo.waiting.wait()
        rotation.trust(rotation.old, rotation.new)

        assert await echoed(channels.renewing) == b"hello"
        assert len(channels.made) == 2
        echo.release.set()
        assert await long == b"wait"
        await channels.renewing.close()


async def test_files_that_do_not_belong_together_yet_change_nothing(rotation: Rotation, telemetry: Telemetry) -> None:
    async with serving(rotation.server, Echo(SERVICE), telemetry) as port:
        channels = Channels(rotation.client, port)
        assert await echoed(channels.renewing) == b"hello"
        fresh = rotation.old.issue("tracker").key
        for folder in (rotation.client, rotation.server):
            (folder / "tls.key").write_bytes(fresh.read_bytes())

        assert await echoed(channels.renewing) == b"hello"
        assert len(channels.made) == 1
        # A new connection: the server, too, still serves the pair that it has.
        async with channels._connect(TlsFiles.in_dir(identity(rotation)).mesh_channel_credentials()) as another:
            assert await echoed(another) == b"hello"
        await channels.renewing.close()


def identity(rotation: Rotation) -> Path:
    """Another folder of the same daemon, whose files are whole."""
    return Authority.load(rotation.old.ca.parent).issue("planner", dns=("localhost", "planner")).cert.parent


async def test_missing_files_change_nothing(rotation: Rotation, telemetry: Telemetry) -> None:
    async with serving(rotation.server, Echo(SERVICE), telemetry) as port:
        channels = Channels(rotation.client, port)
        for file in rotation.client.iterdir():
            file.unlink()

        assert await echoed(channels.renewing) == b"hello"
        await channels.renewing.close()
