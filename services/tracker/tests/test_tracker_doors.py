"""The doors of the whole daemon over real sockets and a real Postgres: from a provider's call to the delivery."""

import asyncio
import json
import smtplib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from clarion_kit import daemon
from clarion_kit.keyfiles import load_secret, new_secret_file
from clarion_kit.links import (
    OpenLink,
    ReturnPath,
    UnsubscribeLink,
    click_key,
    packed,
    sign_click,
    sign_event,
    sign_return_path,
    sign_unsubscribe,
)
from clarion_kit.settings import FaultySettings, load
from clarion_kit.vocabulary import Channel, Receipt
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool, pool
from clarion_local.ports import PortLease
from clarion_testkit.plugin import App, Database
from clarion_tracker.adapters import twilio
from clarion_tracker.adapters.configuration import Configuration, NotRead
from clarion_tracker.adapters.granian_server import GranianServer, Limits
from clarion_tracker.app import build
from clarion_tracker.ports import BodyTooLarge, Reply, Request
from clarion_tracker.settings import Settings

from .test_tracker_daemon import ENV, ready
from .tracker_calls import Bytes, twilio_account, twilio_call, twilio_url
from .tracker_ledger_samples import Sms, claimed_sms, receipt_of, send


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that is ready, its ports and its link key."""

    http: int
    smtp: int
    key: bytes


@pytest.fixture
async def sms(database: Database, app: App) -> Sms:
    """A delivery that an account of Twilio took."""
    made = await claimed_sms(database.pool, app)
    await send(database.pool, made, "SM1")
    await make_twilio(database, app, made.lane_id)
    return made


@pytest.fixture
async def running(database: Database, sms: Sms, kek_file: Path, tmp_path: Path) -> AsyncIterator[Running]:
    key_file = tmp_path / "link.key"
    new_secret_file(key_file)
    with PortLease() as http, PortLease() as smtp, PortLease() as rpc:
        env = {
            "CLARION_DATABASE_URL": f"{database.url}?role=clarion_tracker",
            "CLARION_INSECURE": "1",
            "CLARION_KEK_FILE": str(kek_file),
            "CLARION_LINK_KEY_FILE": str(key_file),
            "CLARION_HTTP_LISTEN": f"127.0.0.1:{http.hand_over()}",
            "CLARION_BOUNCE_LISTEN": f"127.0.0.1:{smtp.hand_over()}",
            "CLARION_GRPC_LISTEN": f"127.0.0.1:{rpc.hand_over()}",
            "CLARION_PEERS": json.dumps({"preference": "127.0.0.1:1"}),
        }
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(daemon.run("tracker", Settings, build, env=env, stopping=stopping))
        await ready(f"127.0.0.1:{rpc.port}")
        yield Running(http.port, smtp.port, load_secret(key_file))
        stopping.set()


async def http(port: int, request: bytes) -> bytes:
    """The status line of the answer to one request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()
    return line


def posted(path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: a", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


async def make_twilio(database: Database, app: App, lane_id: int) -> None:
    """Turn a lane into an account of Twilio, sealed as the gateway seals it."""
    _, account = twilio_account(lane_id)
    name: str = await database.pool.fetchval("SELECT name FROM ledger.lane WHERE lane_id = $1", lane_id)
    sealed = (await app.keys.sealer(app.app_id)).seal("lane", name.encode(), "settings", account.settings)
    await database.pool.execute(
        "UPDATE ledger.lane SET kind = 'twilio', settings = $2, revision = revision + 1 WHERE lane_id = $1",
        lane_id,
        sealed,
    )


async def test_callback_is_committed_when_it_is_answered_and_reaches_its_delivery(
    database: Database, sms: Sms, running: Running
) -> None:
    call = twilio_call({"MessageSid": "SM1", "MessageStatus": "failed", "ErrorCode": "30008"}, lane=sms.lane_id)
    assert isinstance(call.body, Bytes)
    posting = posted(call.path, dict(call.headers), call.body.content)

    forged = await http(running.http, posting.replace(b"30008", b"30007"))
    answered = await http(running.http, posting)
    rows = await database.pool.fetchval("SELECT count(*) FROM tracking.inbound WHERE kind = 'twilio.callback'")
    await database.pool.execute(_UNTIL_APPLIED)

    assert (forged.split()[1], answered.split()[1]) == (b"403", b"204")
    assert rows == 1
    assert await receipt_of(database.pool, sms) == Receipt.UNDELIVERED


_UNTIL_APPLIED = """
DO $$ BEGIN
    WHILE EXISTS (SELECT FROM tracking.inbound WHERE applied_at IS NULL) LOOP PERFORM pg_sleep(0.01); END LOOP;
END $$
"""


async def test_click_is_redirected_and_reaches_its_delivery(
    database: Database, app: App, sms: Sms, running: Running
) -> None:
    await database.pool.execute("UPDATE ledger.delivery SET terminal_at = now() - interval '1 minute'")
    about = packed(OpenLink(app.app_id, sms.id, 1, 0, "", Channel.EMAIL))
    token = sign_click(click_key(running.key, about), about, 0, "https://shop.example.com/")

    lines = [
        await http(running.http, f"GET /c/{path} HTTP/1.1\r\nhost: a\r\nuser-agent: Mozilla/5.0\r\n\r\n".encode())
        for path in (token, token[:-1] + "!", token + "/")
    ]
    await database.pool.execute(_UNTIL_CLICKED)

    assert [line.split()[1] for line in lines] == [b"302", b"404", b"404"]
    assert await receipt_of(database.pool, sms) == Receipt.CLICKED


_UNTIL_CLICKED = """
DO $$ BEGIN
    WHILE NOT EXISTS (SELECT FROM tracking.activity) LOOP PERFORM pg_sleep(0.01); END LOOP;
END $$
"""


async def test_app_event_is_committed_when_it_is_answered_and_reaches_its_delivery(
    database: Database, app: App, sms: Sms, running: Running
) -> None:
    token = sign_event(running.key, OpenLink(app.app_id, sms.id, 1, 0, "", Channel.ANDROID))
    body = json.dumps({"events": [{"token": token, "id": "1", "type": "opened"}]}).encode()
    posting = posted("/v1/events", {"content-type": "application/json"}, body)

    lines = [await http(running.http, posting) for _ in range(2)]
    rows = await database.pool.fetchval("SELECT count(*) FROM tracking.activity")
    await database.pool.execute(_UNTIL_APPLIED)

    assert [line.split()[1] for line in lines] == [b"200", b"200"]
    assert rows == 1
    assert await receipt_of(database.pool, sms) == Receipt.SEEN


async def test_bounce_mail_is_committed_when_it_is_answered(database: Database, sms: Sms, running: Running) -> None:
    recipient = f"{sign_return_path(running.key, ReturnPath(sms.lane_id, sms.id))}@r.example.com"

    def deliver() -> None:
        with smtplib.SMTP("127.0.0.1", running.smtp, local_hostname="a.example", timeout=5) as client:
            client.sendmail("", [recipient], "Subject: x\r\n\r\nSorry, anna@example.com\r\n")

    await asyncio.to_thread(deliver)

    rows = await database.pool.fetch("SELECT kind, body FROM tracking.inbound")
    assert [row["kind"] for row in rows] == ["mail.bounce"]
    assert b"anna@" not in rows[0]["body"]


async def test_nothing_is_answered_for_while_the_preference_service_is_away(app: App, running: Running) -> None:
    link = UnsubscribeLink(app.app_id, UUID(int=9), app.categories["transactional"], Channel.EMAIL)
    path = f"/u/{sign_unsubscribe(running.key, link)}"
    form = {"content-type": "application/x-www-form-urlencoded"}

    asked = await http(running.http, f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
    posted_ = await http(running.http, posted(path, form, b"List-Unsubscribe=One-Click"))

    assert (asked.split()[1], posted_.split()[1]) == (b"200", b"503")


async def test_body_is_read_no_further_than_it_may_be() -> None:
    read: list[int] = []

    async def handler(request: Request) -> Reply:
        try:
            read.append(len(await request.body.read(1_000)))
        except BodyTooLarge:
            return Reply(413, headers={"connection": "close"})
        return Reply(200)

    async with GranianServer("127.0.0.1", 0, None, Limits()).serve(handler) as port:
        small = await http(port, posted("/", {}, bytes(1_000)))
        big = await http(port, posted("/", {}, bytes(1_001)))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n400\r\n" + bytes(0x400) + b"\r\n"
        )
        async with asyncio.timeout(5):
            endless = await reader.readline()
        writer.close()

    assert [line.split()[1] for line in (small, big, endless)] == [b"200", b"413", b"413"]
    assert read == [1_000]


async def test_accounts_are_opened_with_their_apps_key_and_anew_when_they_change(
    database: Database, app: App, sms: Sms
) -> None:
    async with pool(f"{database.url}?role=clarion_tracker", size=2, application="test") as tracker_pool:
        cache = ConfigCache(tracker_pool, with_lanes=True)
        configuration = Configuration(cache, app.keys)
        with pytest.raises(NotRead):
            await configuration.account(sms.lane_id)
        await cache.refresh()

        first = await configuration.account(sms.lane_id, "twilio")
        await make_twilio(database, app, sms.lane_id)
        await cache.refresh()
        second = await configuration.account(sms.lane_id, "twilio")
        await _damage(database.pool, sms.lane_id)
        await cache.refresh()

        assert first is not None
        assert second is not None
        assert (first.app_id, second.revision) == (app.app_id, first.revision + 1)
        assert twilio.Source().verifier(first.settings) is not None
        assert twilio_url(sms.lane_id).encode() in first.settings
        assert await configuration.account(sms.lane_id, "smpp") is None
        assert await configuration.account(10**6) is None
        with pytest.raises(NotRead):
            await configuration.account(sms.lane_id)
        assert configuration.category(app.app_id, app.categories["transactional"]) == "transactional"
        assert configuration.category(app.app_id + 1, app.categories["transactional"]) is None


async def _damage(connections: Pool, lane_id: int) -> None:
    await connections.execute(
        "UPDATE ledger.lane SET settings = substr(settings, 2), revision = revision + 1 WHERE lane_id = $1", lane_id
    )


def test_bounce_mail_needs_the_key_that_return_paths_are_signed_with() -> None:
    with pytest.raises(FaultySettings, match="CLARION_BOUNCE_LISTEN"):
        load(Settings, {**ENV, "CLARION_BOUNCE_LISTEN": "127.0.0.1:25"})
