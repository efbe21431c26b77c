"""The whole daemon: settings, wiring, and a stop that keeps what was opened."""

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from clarion_kit import daemon
from clarion_kit.keyfiles import load_secret, new_secret_file
from clarion_kit.links import OpenLink, sign_open
from clarion_kit.settings import FaultySettings, load
from clarion_kit.vocabulary import Channel, Receipt
from clarion_local.ports import PortLease
from clarion_testkit.plugin import App, Database
from clarion_tracker.app import build
from clarion_tracker.settings import Settings

from .tracker_ledger_samples import claimed_sms, receipt_of, send

ENV = {
    "CLARION_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "CLARION_KEK_FILE": "kek.json",
    "CLARION_INSECURE": "1",
}


async def test_daemon_serves_pixels_and_keeps_the_last_opens_when_it_stops(
    database: Database, app: App, kek_file: Path, tmp_path: Path
) -> None:
    sms = await claimed_sms(database.pool, app)
    await send(database.pool, sms, "1")
    key_file = tmp_path / "link.key"
    new_secret_file(key_file)
    token = sign_open(load_secret(key_file), OpenLink(app.app_id, sms.id, 1, 0, "", Channel.EMAIL))
    with PortLease() as http, PortLease() as rpc:
        env = {
            "CLARION_DATABASE_URL": f"{database.url}?role=clarion_tracker",
            "CLARION_INSECURE": "1",
            "CLARION_KEK_FILE": str(kek_file),
            "CLARION_LINK_KEY_FILE": str(key_file),
            "CLARION_HTTP_LISTEN": f"127.0.0.1:{http.hand_over()}",
            "CLARION_GRPC_LISTEN": f"127.0.0.1:{rpc.hand_over()}",
        }
    stopping = asyncio.Event()
    running = asyncio.create_task(daemon.run("tracker", Settings, build, env=env, stopping=stopping))
    await ready(f"127.0.0.1:{rpc.port}")

    reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
    writer.write(f"GET /o/{token}.gif HTTP/1.1\r\nhost: a\r\n\r\n".encode())
    status_line = await reader.readline()
    stopping.set()
    async with asyncio.timeout(10):
        await running
    writer.close()

    assert b"200" in status_line
    assert await receipt_of(database.pool, sms) == Receipt.SEEN


@pytest.mark.parametrize("text", ["short", "c2hvcnQ="])
async def test_daemon_refuses_a_bad_link_key(kek_file: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "link.key"
    path.write_text(text)
    env = {
        **ENV,
        "CLARION_KEK_FILE": str(kek_file),
        "CLARION_LINK_KEY_FILE": str(path),
        "CLARION_HTTP_LISTEN": "127.0.0.1:0",
    }

    with pytest.raises(FaultySettings, match="CLARION_LINK_KEY_FILE"):
        await daemon.run("tracker", Settings, build, env=env)


def test_plain_http_is_only_for_loopback() -> None:
    with pytest.raises(FaultySettings, match="CLARION_HTTP_LISTEN"):
        load(Settings, {**ENV, "CLARION_HTTP_LISTEN": "0.0.0.0:80"})

    assert load(Settings, {**ENV, "CLARION_HTTP_LISTEN": "127.0.0.1:80"}).http_listen == "127.0.0.1:80"


async def ready(target: str) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True)
        async for answer in watch:
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
    raise AssertionError("the daemon never got ready")
