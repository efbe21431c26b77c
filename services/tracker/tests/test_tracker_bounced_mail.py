"""A mail's whole way back: handed to a relay over SMTP, bounced to its signed return path, applied to its delivery."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from clarion.internal.content.v1.rendered_pb2 import Rendered, RenderedMail
from clarion.types.v1.address_pb2 import Address, MailAddress
from clarion.types.v1.channel_pb2 import PRIORITY_NORMAL
from clarion.types.v1.content_pb2 import MailContent
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message
from clarion_channels.providers.smtp import Factory
from clarion_kit import daemon
from clarion_kit.keyfiles import load_secret, new_secret_file
from clarion_kit.vocabulary import Receipt
from clarion_ledger.db import Pool
from clarion_local.authority import Authority
from clarion_local.ports import PortLease
from clarion_sandbox.server import Sandbox
from clarion_sandbox.settings import Settings as SandboxSettings
from clarion_testkit.plugin import App, Database
from clarion_tracker.app import build
from clarion_tracker.settings import Settings

from .test_tracker_daemon import ready
from .tracker_ledger_samples import Sms, claimed_sms, receipt_of, send

NOBODY = "bounce+late-550-5.1.1+ann@example.org"
"""An address of the sandbox that is taken and bounces afterwards."""


@pytest.fixture
async def mail(database: Database, app: App) -> Sms:
    """A delivery of an SMTP account, sent."""
    made = await claimed_sms(database.pool, app)
    await send(database.pool, made, "queued")
    name: str = await database.pool.fetchval("SELECT name FROM ledger.lane WHERE lane_id = $1", made.lane_id)
    sealed = (await app.keys.sealer(app.app_id)).seal("lane", name.encode(), "settings", b"{}")
    await database.pool.execute(
        "UPDATE ledger.lane SET kind = 'smtp', channel = 5, settings = $2, revision = revision + 1 WHERE lane_id = $1",
        made.lane_id,
        sealed,
    )
    return made


@pytest.fixture
def link_key_file(tmp_path: Path) -> Path:
    path = tmp_path / "link.key"
    new_secret_file(path)
    return path


@pytest.fixture
async def bounce_port(database: Database, mail: Sms, kek_file: Path, link_key_file: Path) -> AsyncIterator[int]:
    """The bounce listener of a running tracker."""
    with PortLease() as smtp, PortLease() as rpc:
        env = {
            "CLARION_DATABASE_URL": f"{database.url}?role=clarion_tracker",
            "CLARION_INSECURE": "1",
            "CLARION_KEK_FILE": str(kek_file),
            "CLARION_LINK_KEY_FILE": str(link_key_file),
            "CLARION_BOUNCE_LISTEN": f"127.0.0.1:{smtp.hand_over()}",
            "CLARION_GRPC_LISTEN": f"127.0.0.1:{rpc.hand_over()}",
            "CLARION_PEERS": json.dumps({"preference": "127.0.0.1:1"}),
        }
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(daemon.run("tracker", Settings, build, env=env, stopping=stopping))
        await ready(f"127.0.0.1:{rpc.port}")
        yield smtp.port
        stopping.set()


async def test_bounce_of_a_relay_reaches_the_delivery_of_its_return_path(
    database: Database, mail: Sms, bounce_port: int, link_key_file: Path, tmp_path: Path
) -> None:
    authority = Authority.create(tmp_path / "ca")
    files = authority.issue("sandbox")
    relay = SandboxSettings(
        dir=tmp_path / "sandbox",
        tls_cert=files.cert,
        tls_key=files.key,
        callback_urls={"smtp": f"smtp://127.0.0.1:{bounce_port}"},
        callback_delay_ms=0,
    )
    async with Sandbox.start(relay) as sandbox:
        result = await _sent(sandbox, authority.ca, load_secret(link_key_file), mail)
        await _until_received(database.pool, mail.id)

    assert result.outcome is Outcome.ACCEPTED
    assert await receipt_of(database.pool, mail) == Receipt.UNDELIVERED


async def _sent(sandbox: Sandbox, ca_file: Path, link_key: bytes, mail: Sms) -> Result:
    """The delivery handed over as the mail dispatcher does it."""
    door = sandbox.description()["smtp"]
    assert isinstance(door, dict)
    settings = {
        **{name: door[name] for name in ("host", "port", "username", "password")},
        "from_address": "shop@example.com",
        "return_path_domain": "bounces.example.com",
        "ca_file": str(ca_file),
    }
    provider = await (
        Factory().with_link_key(link_key).for_lane(mail.lane_id).connect(json.dumps(settings).encode(), _NoReceipts())
    )
    message = Message(
        mail.id,
        Address(email=MailAddress(address=NOBODY)),
        Rendered(mail=RenderedMail(subject="Order 7", literal=MailContent(text="is on its way"))),
        PRIORITY_NORMAL,
        datetime.now(UTC) + timedelta(hours=1),
    )
    results: list[Result] = []
    await provider.send([message], lambda _, result: results.append(result))
    await provider.close()
    [result] = results
    return result


class _NoReceipts:
    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError("bounces come as mail")


async def _until_received(connections: Pool, delivery_id: UUID) -> None:
    waiting = f"""
    DO $$ BEGIN
        WHILE (SELECT receipt = 0 FROM ledger.delivery WHERE id = '{delivery_id}') LOOP
            PERFORM pg_sleep(0.01);
        END LOOP;
    END $$
    """
    async with asyncio.timeout(20):
        await connections.execute(waiting)
