"""Who may call whom, with real certificates."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from clarion_kit.rpc.caller import Caller
from clarion_kit.rpc.client import connect
from clarion_kit.rpc.server import MeshAuthenticator, RpcServer
from clarion_kit.settings import Common, load
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.tls import TlsFiles
from clarion_local.authority import Authority

from .echo_service import Echo, ask

INTERNAL = "clarion.internal.template.v1.TemplateService"
PUBLIC = "clarion.template.v1.TemplateService"
AS_APP = Caller("gateway", 7, "ck_1", frozenset({"admin"})).metadata()


def identity(authority: Authority, daemon: str) -> Path:
    """The folder with a daemon's certificate."""
    return authority.issue(daemon, dns=("localhost", daemon.replace("_", "-"))).cert.parent


@asynccontextmanager
async def template_serving(folder: Path, service: str, telemetry: Telemetry) -> AsyncIterator[int]:
    credentials = TlsFiles.in_dir(folder).mesh_server_credentials()
    authenticator = MeshAuthenticator(insecure=False)
    server = RpcServer("template", "127.0.0.1:0", credentials, authenticator, telemetry, [Echo(service).add_to])
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(timedelta(0))


async def ask_as(
    folder: Path, port: int, service: str, telemetry: Telemetry, metadata: tuple[tuple[str, str], ...] = ()
) -> bytes:
    peers = f'{{"template": "127.0.0.1:{port}"}}'
    settings = load(Common, {"CLARION_TLS_DIR": str(folder), "CLARION_PEERS": peers})
    async with connect("template", settings, telemetry, retry=False) as peer:
        return await ask(peer.channel, "UnaryUnary", b"caller", service=service, timeout=5, metadata=metadata)


async def test_daemon_of_the_matrix_is_let_in_by_its_certificate(tmp_path: Path, telemetry: Telemetry) -> None:
    authority = Authority.create(tmp_path)
    async with template_serving(identity(authority, "template"), INTERNAL, telemetry) as port:
        answer = await ask_as(identity(authority, "planner"), port, INTERNAL, telemetry)

    assert answer == b"planner 0  "


@pytest.mark.parametrize(("daemon", "service"), [("tracker", INTERNAL), ("planner", PUBLIC), ("template", INTERNAL)])
async def test_daemon_outside_of_the_matrix_is_refused(
    tmp_path: Path, telemetry: Telemetry, daemon: str, service: str
) -> None:
    authority = Authority.create(tmp_path)
    async with template_serving(identity(authority, "template"), service, telemetry) as port:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask_as(identity(authority, daemon), port, service, telemetry)

    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    [details] = [value for key, value in refused.value.trailing_metadata() or () if key == "grpc-status-details-bin"]
    assert isinstance(details, bytes)
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(details).details[0].Unpack(info)
    assert (info.reason, info.metadata["caller"]) == ("CALLER_REFUSED", daemon)


async def test_gateway_hands_its_clients_on(tmp_path: Path, telemetry: Telemetry) -> None:
    authority = Authority.create(tmp_path)
    async with template_serving(identity(authority, "template"), PUBLIC, telemetry) as port:
        answer = await ask_as(identity(authority, "gateway"), port, PUBLIC, telemetry, AS_APP)

    assert answer == b"gateway 7 ck_1 admin"


async def test_daemon_that_is_not_the_gateway_speaks_for_no_app(tmp_path: Path, telemetry: Telemetry) -> None:
    authority = Authority.create(tmp_path)
    async with template_serving(identity(authority, "template"), INTERNAL, telemetry) as port:
        answer = await ask_as(identity(authority, "planner"), port, INTERNAL, telemetry, AS_APP)

    assert answer == b"planner 0  "


async def test_certificate_of_another_authority_is_refused(tmp_path: Path, telemetry: Telemetry) -> None:
    ours, theirs = Authority.create(tmp_path / "ours"), Authority.create(tmp_path / "theirs")
    impostor = identity(theirs, "planner")
    (impostor / "ca.crt").write_bytes(ours.ca.read_bytes())
    async with template_serving(identity(ours, "template"), INTERNAL, telemetry) as port:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask_as(impostor, port, INTERNAL, telemetry)

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_client_without_a_certificate_is_refused_by_tls(tmp_path: Path, telemetry: Telemetry) -> None:
    authority = Authority.create(tmp_path)
    async with template_serving(identity(authority, "template"), INTERNAL, telemetry) as port:
        credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes())
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ask(channel, "UnaryUnary", b"caller", service=INTERNAL, timeout=5)

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_daemon_in_place_of_another_is_not_believed(tmp_path: Path, telemetry: Telemetry) -> None:
    authority = Authority.create(tmp_path)
    impostor = authority.issue("tracker", dns=("tracker",), ips=()).cert.parent
    async with template_serving(impostor, INTERNAL, telemetry) as port:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask_as(identity(authority, "planner"), port, INTERNAL, telemetry)

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_new_certificate_is_served_without_a_restart(tmp_path: Path, telemetry: Telemetry) -> None:
    old, new = Authority.create(tmp_path / "old"), Authority.create(tmp_path / "new")
    served = identity(old, "template")
    async with template_serving(served, INTERNAL, telemetry) as port:
        before = await ask_as(identity(old, "planner"), port, INTERNAL, telemetry)
        for file in identity(new, "template").iterdir():
            (served / file.name).write_bytes(file.read_bytes())
        after = await ask_as(identity(new, "planner"), port, INTERNAL, telemetry)
        with pytest.raises(grpc.aio.AioRpcError):
            await ask_as(identity(old, "scheduler"), port, INTERNAL, telemetry)

    assert before == after == b"planner 0  "


async def test_insecure_server_believes_the_metadata(telemetry: Telemetry) -> None:
    authenticator = MeshAuthenticator(insecure=True)
    server = RpcServer("template", "127.0.0.1:0", None, authenticator, telemetry, [Echo(PUBLIC).add_to])
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            answer = await ask(channel, "UnaryUnary", b"caller", service=PUBLIC, metadata=AS_APP)
    finally:
        await server.stop(timedelta(0))

    assert answer == b"gateway 7 ck_1 admin"
