"""Bounce mail over a real SMTP session: who may be written to, and that a 250 means stored."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import aiosmtplib
import pytest

from clarion_kit.links import ReturnPath, sign_return_path
from clarion_kit.rpc.server import PortInUse
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.tls import TlsFiles
from clarion_local.authority import Authority
from clarion_tracker.adapters import smtp_listener
from clarion_tracker.adapters.smtp_listener import ListenerStopped, SmtpListener
from clarion_tracker.bounces import MAX_MAIL_BYTES, MAX_RECIPIENTS, STORED_AS, BounceDoor, split
from clarion_tracker.ports import Account

from .tracker_samples import FakeAccounts, FakeArrivals, count, tracked

KEY = bytes(range(32))
APP, LANE = 3, 7
DELIVERY = UUID(int=5)
MAIL = "Subject: Undelivered\r\n\r\nSorry.\r\n"


def return_path(lane: int = LANE, delivery: UUID = DELIVERY, key: bytes = KEY) -> str:
    return f"{sign_return_path(key, ReturnPath(lane, delivery))}@r.example.com"


class World:
    """A listener over fakes, and clients of it."""

    def __init__(self, metrics: Metrics, accounts: FakeAccounts, arrivals: FakeArrivals) -> None:
        self.metrics = metrics
        self.accounts = accounts
        self.arrivals = arrivals
        self.listener = SmtpListener("127.0.0.1", 0, "mx.example.com", None)
        self.port = 0

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiosmtplib.SMTP]:
        async with aiosmtplib.SMTP(
            hostname="127.0.0.1", port=self.port, local_hostname="a.example", timeout=5, start_tls=False
        ) as connected:
            yield connected

    async def send(self, *recipients: str, mail: str = MAIL) -> None:
        async with self.client() as client:
            await client.sendmail("", list(recipients), mail)

    async def refused(self, recipient: str) -> int:
        """The code that a recipient is refused with."""
        async with self.client() as client:
            with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
                await client.sendmail("", [recipient], MAIL)
        code: int = refused.value.recipients[0].code
        return code


@pytest.fixture
async def world() -> AsyncIterator[World]:
    counter, metrics = tracked()
    accounts, arrivals = FakeAccounts(("smtp", Account(APP, LANE, 1, b"{}"))), FakeArrivals()
    made = World(metrics, accounts, arrivals)
    async with made.listener.serve(BounceDoor(KEY, accounts, arrivals, counter)) as port:
        made.port = port
        yield made


async def test_mail_to_a_return_path_of_ours_is_stored_as_it_came(world: World) -> None:
    await world.send(return_path().upper())

    [(app, lane, kind, body)] = world.arrivals.stored
    delivery, mail = split(body)
    assert (app, lane, kind, delivery) == (APP, LANE, STORED_AS, DELIVERY)
    assert mail == MAIL.encode()


async def test_mail_that_comes_again_is_stored_once(world: World) -> None:
    for _ in range(2):
        await world.send(return_path())

    assert len(world.arrivals.stored) == 1
    assert count(world.metrics, "bounce", "repeated") == 1


@pytest.mark.parametrize(
    "recipient",
    [
        "postmaster@r.example.com",
        "anna@elsewhere.example",
        f"b+{DELIVERY.hex}@r.example.com",
        return_path(key=bytes(32)),
        return_path(lane=8),
        "b+" + "a" * 60 + "@r.example.com",
    ],
)
async def test_nobody_else_can_be_written_to(world: World, recipient: str) -> None:
    assert await world.refused(recipient) == 550
    assert world.arrivals.stored == []


async def test_mail_that_cannot_be_stored_is_to_be_sent_again(world: World) -> None:
    world.arrivals.away = True
    with pytest.raises(aiosmtplib.SMTPDataError) as refused:
        await world.send(return_path())
    world.arrivals.away = False
    await world.send(return_path())

    assert refused.value.code == 451
    assert len(world.arrivals.stored) == 1


async def test_recipient_that_cannot_be_looked_up_is_to_be_tried_again(world: World) -> None:
    world.accounts.away = True

    assert await world.refused(return_path()) == 451


async def test_mail_that_is_too_big_is_refused(world: World) -> None:
    line = "x" * 76 + "\r\n"
    with pytest.raises(aiosmtplib.SMTPResponseException) as refused:
        await world.send(return_path(), mail=MAIL + line * (MAX_MAIL_BYTES // len(line) + 1))

    assert refused.value.code == 552
    assert world.arrivals.stored == []


async def test_recipients_of_one_mail_are_few(world: World) -> None:
    recipients = [return_path(delivery=UUID(int=n)) for n in range(MAX_RECIPIENTS + 1)]

    await world.send(*recipients)

    assert len(world.arrivals.stored) == MAX_RECIPIENTS


async def test_connections_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_listener, "MAX_CONNECTIONS", 1)
    async with world.client():
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        async with asyncio.timeout(5):
            greeting = await reader.read()
        writer.close()

    assert greeting.startswith(b"421 ")


async def test_listener_tells_whether_it_listens_and_cuts_who_lingers(world: World) -> None:
    await world.listener.ping()
    counter, _ = tracked()
    other = SmtpListener("127.0.0.1", 0, "mx.example.com", None)
    with pytest.raises(ListenerStopped):
        await other.ping()
    async with other.serve(BounceDoor(KEY, world.accounts, world.arrivals, counter)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await reader.readline()).startswith(b"220 ")
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(ListenerStopped):
        await other.ping()


async def test_taken_port_is_an_error_at_once(world: World) -> None:
    counter, _ = tracked()
    with pytest.raises(PortInUse):
        async with SmtpListener("127.0.0.1", world.port, "mx.example.com", None).serve(
            BounceDoor(KEY, world.accounts, world.arrivals, counter)
        ):
            pass


async def test_starttls_is_offered_where_files_are_given(world: World, tmp_path: Path) -> None:
    Authority.create(tmp_path / "ca").issue("tracker")
    tls = TlsFiles.in_dir(tmp_path / "ca" / "tracker")
    counter, _ = tracked()
    door = BounceDoor(KEY, world.accounts, world.arrivals, counter)
    async with SmtpListener("127.0.0.1", 0, "mx.example.com", tls).serve(door) as port:
        client = aiosmtplib.SMTP(
            hostname="localhost",
            port=port,
            local_hostname="a.example",
            start_tls=True,
            tls_context=tls.client_context(),
            timeout=5,
        )
        async with client:
            await client.sendmail("", [return_path()], MAIL)

    assert len(world.arrivals.stored) == 1
