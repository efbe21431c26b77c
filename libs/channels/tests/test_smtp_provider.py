import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from uuid import UUID, uuid4

import pytest
import uvloop
from aiosmtpd.smtp import SMTP as Server
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from pydantic import ValidationError

from clarion.internal.content.v1.rendered_pb2 import MailFrame, Rendered, RenderedMail
from clarion.types.v1.address_pb2 import Address, ApnsDevice, MailAddress
from clarion.types.v1.channel_pb2 import Priority
from clarion.types.v1.content_pb2 import MailContent
from clarion_channels.mail.frame import build_frame, frame_sha256
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Provider, ProviderUnavailable
from clarion_channels.providers.smtp import Factory, FrameUnavailable
from clarion_kit.links import ReturnPath, verify_return_path

from .loopback_tls import Tls, make_tls

FRAME = build_frame(["Hello ", 0, "\n.\n"], ["<p>Hello ", 0, "</p>"])
DELIVERY = UUID("0192f0c1-7a3b-7cde-8f01-23456789abcd")


class NoReceipts:
    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError("SMTP has no receipts")


class Frames:
    async def get(self, sha256: bytes) -> MailFrame:
        if sha256 != frame_sha256(FRAME):
            raise FrameUnavailable
        return FRAME


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    return make_tls(tmp_path_factory.mktemp("tls"))


@dataclass
class Mailbox:
    """A handler of aiosmtpd that keeps what it takes and answers by the recipient's local part."""

    mails: list[tuple[str, str, bytes]] = field(default_factory=list)
    peers: set[object] = field(default_factory=set)

    async def handle_RCPT(
        self, server: Server, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        local, _, _ = address.partition("@")
        replies = {"gone": "550 5.1.1 no such user", "later": "451 4.7.1 greylisted"}
        if local not in replies:
            envelope.rcpt_tos.append(address)
        return replies.get(local, "250 2.1.5 ok")

    async def handle_DATA(self, server: Server, session: Session, envelope: Envelope) -> str:
        self.peers.add(session.peer)
        if envelope.rcpt_tos[0].startswith("spam@"):
            return "554 5.7.1 looks like spam"
        content = envelope.original_content or b""
        self.mails.append((str(envelope.mail_from), envelope.rcpt_tos[0], content))
        return f"250 2.0.0 Ok: queued as {len(self.mails)}"


def authenticate(server: Server, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"clarion", b"secret")
    return AuthResult(success=good, handled=False)


class TrackedServer(Server):
    """One session of aiosmtpd whose end can be awaited."""

    def __init__(self, mailbox: Mailbox, tls: ssl.SSLContext | None) -> None:
        """STARTTLS and AUTH are required with `tls`; without, TLS is there from the start and AUTH is not asked for."""
        super().__init__(
            mailbox,
            hostname="mx.example.com",
            tls_context=tls,
            require_starttls=tls is not None,
            authenticator=authenticate,
            auth_required=tls is not None,
            auth_require_tls=tls is not None,
            loop=asyncio.get_running_loop(),
        )
        self.gone = asyncio.Event()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.gone.set()


@asynccontextmanager
async def mail_server(tls: Tls, mailbox: Mailbox, *, implicit: bool = False) -> AsyncIterator[int]:
    sessions: list[TrackedServer] = []

    def build() -> TrackedServer:
        session = TrackedServer(mailbox, None if implicit else tls.server)
        sessions.append(session)
        return session

    loop = asyncio.get_running_loop()
    server = await loop.create_server(build, "127.0.0.1", 0, ssl=tls.server if implicit else None)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for session in sessions:
            if session.transport is not None:
                session.transport.close()
            await session.gone.wait()


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted_server(tls: Tls | None, scripts: Sequence[Script]) -> AsyncIterator[int]:
    """A server that treats its n-th connection by the n-th script, over implicit TLS if given."""
    waiting = list(scripts)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await waiting.pop(0)(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls.server if tls else None)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *replies: str) -> None:
    """Answer one command with each reply."""
    for reply in replies:
        await reader.readline()
        writer.write(reply.encode() + b"\r\n")


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mx.example.com\r\n")
    await answer(reader, writer, "250 mx.example.com")


async def take_one_mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await answer(reader, writer, "250 ok", "250 ok", "354 go on")
    await reader.readuntil(b"\r\n.\r\n")
    writer.write(b"250 2.0.0 taken\r\n")


def document(port: int, tls: Tls, **more: object) -> bytes:
    settings = {
        "host": "127.0.0.1",
        "port": port,
        "from_address": "shop@example.com",
        "from_name": "The Shop",
        "ca_file": str(tls.ca_file),
        "timeout": 5,
    }
    return json.dumps(settings | more).encode()


LOGIN = {"username": "clarion", "password": "secret"}


LANE = 7
LINK_KEY = bytes(range(32))


@asynccontextmanager
async def connected(port: int, tls: Tls, **more: object) -> AsyncIterator[Provider]:
    factory = Factory().with_frames(Frames()).with_link_key(LINK_KEY).for_lane(LANE)
    provider = await factory.connect(document(port, tls, **more), NoReceipts())
    try:
        yield provider
    finally:
        await provider.close()


def message(to: str = "anna@example.org", mail: RenderedMail | None = None, delivery: UUID | None = None) -> Message:
    content = mail or RenderedMail(subject="Hi", frame_sha256=frame_sha256(FRAME), slots=["Anna"])
    return Message(
        delivery_id=delivery or uuid4(),
        address=Address(email=MailAddress(address=to, display_name="Anna")),
        content=Rendered(mail=content),
        priority=Priority.PRIORITY_NORMAL,
        expire_at=datetime.now(UTC) + timedelta(hours=1),
    )


class Results:
    """Reports by delivery; a second report of one message is a fault."""

    def __init__(self) -> None:
        self.by_delivery: dict[UUID, Result] = {}

    def __call__(self, message: Message, result: Result) -> None:
        assert message.delivery_id not in self.by_delivery
        self.by_delivery[message.delivery_id] = result


async def send(provider: Provider, *messages: Message) -> list[Result]:
    results = Results()
    await provider.send(messages, results)
    return [results.by_delivery[each.delivery_id] for each in messages]


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_mail_goes_out_authenticated_over_tls(tls: Tls, security: str) -> None:
    mailbox = Mailbox()
    async with (
        mail_server(tls, mailbox, implicit=security == "tls") as port,
        connected(port, tls, security=security, **LOGIN) as provider,
    ):
        [result] = await send(provider, message(delivery=DELIVERY))
    assert result == Result(Outcome.ACCEPTED, code="250", provider_message_id="Ok: queued as 1")
    [(sender, recipient, content)] = mailbox.mails
    assert (sender, recipient) == ("shop@example.com", "anna@example.org")
    parsed = message_from_bytes(content, policy=policy.default)
    assert parsed["Message-ID"] == f"<{DELIVERY}@example.com>"
    assert parsed["To"] == "Anna <anna@example.org>"
    plain = parsed.get_body(("plain",))
    assert plain is not None
    assert plain.get_content() == "Hello Anna\r\n.\r\n"


async def test_return_path_is_signed_and_names_account_and_delivery(tls: Tls) -> None:
    mailbox = Mailbox()
    async with (
        mail_server(tls, mailbox) as port,
        connected(port, tls, return_path_domain="bounce.example.com", **LOGIN) as provider,
    ):
        await send(provider, message(delivery=DELIVERY))
    local, _, domain = mailbox.mails[0][0].partition("@")
    assert (verify_return_path(LINK_KEY, local), domain) == (ReturnPath(LANE, DELIVERY), "bounce.example.com")


async def test_account_that_wants_return_paths_needs_the_key_only_as_a_lane(tls: Tls) -> None:
    wanted = document(465, tls, return_path_domain="bounce.example.com")

    await (await Factory().connect(wanted, NoReceipts())).close()
    with pytest.raises(ProviderUnavailable, match="return_path_domain"):
        await Factory().for_lane(LANE).connect(wanted, NoReceipts())


@pytest.mark.parametrize("offered", [True, False])
async def test_server_that_reports_is_told_what_to_report(tls: Tls, offered: bool) -> None:
    heard: list[str] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx.example.com\r\n")
        await reader.readline()
        writer.write(b"250-mx.example.com\r\n250 DSN\r\n" if offered else b"250 mx.example.com\r\n")
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"):
            heard.append((await reader.readline()).decode().strip())
            writer.write(reply)
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 2.0.0 taken\r\n")
        await reader.read()

    async with (
        scripted_server(tls, [converse]) as port,
        connected(port, tls, security="tls") as provider,
    ):
        [result] = await send(provider, message("anna+x=y@example.org", delivery=DELIVERY))
    assert result.outcome is Outcome.ACCEPTED
    mail = f" RET=HDRS ENVID={DELIVERY}" if offered else ""
    rcpt = " NOTIFY=FAILURE,DELAY ORCPT=rfc822;anna+2Bx+3Dy@example.org" if offered else ""
    assert heard == [f"MAIL FROM:<shop@example.com>{mail}", f"RCPT TO:<anna+x=y@example.org>{rcpt}", "DATA"]


async def test_address_of_another_channel_is_refused(tls: Tls) -> None:
    device = Address(ios=ApnsDevice(token="ab"))
    async with connected(1, tls) as provider:
        [result] = await send(provider, replace(message(), address=device))
    assert (result.outcome, result.code) == (Outcome.BAD, "local:not_for_mail")


async def test_literal_mail_needs_no_frame(tls: Tls) -> None:
    mailbox = Mailbox()
    mail = RenderedMail(subject="Hi", literal=MailContent(text="plain", html="<b>rich</b>"))
    async with mail_server(tls, mailbox) as port, connected(port, tls, **LOGIN) as provider:
        [result] = await send(provider, message(mail=mail))
    assert result.outcome is Outcome.ACCEPTED
    assert b"<b>rich</b>" in mailbox.mails[0][2]


async def test_a_batch_shares_the_kept_connections(tls: Tls) -> None:
    mailbox = Mailbox()
    async with mail_server(tls, mailbox) as port, connected(port, tls, pool_size=3, **LOGIN) as provider:
        for _ in range(2):
            results = await send(provider, *(message() for _ in range(20)))
            assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert len(mailbox.mails) == 40
    assert len(mailbox.peers) <= 3


async def test_connections_are_replaced_after_their_share_of_mails(tls: Tls) -> None:
    mailbox = Mailbox()
    async with (
        mail_server(tls, mailbox) as port,
        connected(port, tls, pool_size=1, max_mails_per_connection=2, **LOGIN) as provider,
    ):
        await send(provider, *(message() for _ in range(5)))
    assert len(mailbox.peers) == 3


async def test_an_idle_connection_is_left_with_a_quit(tls: Tls) -> None:
    last_words = asyncio.get_running_loop().create_future()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await take_one_mail(reader, writer)
        last_words.set_result(await reader.readline())

    async with (
        scripted_server(tls, [script]) as port,
        connected(port, tls, security="tls", max_idle=0.02) as provider,
    ):
        await send(provider, message())
        assert await last_words == b"QUIT\r\n"


async def test_refusals_leave_the_connection_fit_for_the_next_mail(tls: Tls) -> None:
    mailbox = Mailbox()
    async with mail_server(tls, mailbox) as port, connected(port, tls, pool_size=1, **LOGIN) as provider:
        addresses = ("gone@example.org", "spam@example.org", "later@example.org", "anna@example.org")
        results = await send(provider, *map(message, addresses))
    assert [(result.outcome, result.code) for result in results] == [
        (Outcome.DEAD, "550:5.1.1"),
        (Outcome.BAD, "554:5.7.1:spam"),
        (Outcome.RETRY, "451:4.7.1"),
        (Outcome.ACCEPTED, "250"),
    ]
    assert len(mailbox.peers) == 1


async def greet_pipelining(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mx.example.com\r\n")
    await reader.readline()
    writer.write(b"250-mx.example.com\r\n250 PIPELINING\r\n")


async def offered(reader: asyncio.StreamReader) -> list[str]:
    """The commands of one mail up to DATA, none of which has been answered."""
    commands = (await reader.readuntil(b"DATA\r\n")).decode().splitlines()
    return [command.partition(":")[0] for command in commands]


async def test_server_that_offers_pipelining_hears_a_whole_envelope_before_it_answers(tls: Tls) -> None:
    heard: list[list[str]] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet_pipelining(reader, writer)
        for number in range(2):
            heard.append(await offered(reader))
            writer.write(b"250 2.1.0 ok\r\n250-2.1.5 ok\r\n250 2.1.5 really\r\n354 go on\r\n")
            await reader.readuntil(b"\r\n.\r\n")
            writer.write(f"250 2.0.0 taken {number}\r\n".encode())
        await reader.read()

    async with (
        scripted_server(tls, [script]) as port,
        connected(port, tls, security="tls", pool_size=1) as provider,
    ):
        results = await send(provider, message(), message())
    assert [result.provider_message_id for result in results] == ["taken 0", "taken 1"]
    assert heard == [["MAIL FROM", "RCPT TO", "DATA"]] * 2


@pytest.mark.parametrize("waits_for_content", [False, True])
async def test_mail_refused_amid_pipelined_commands_leaves_the_connection_fit(
    tls: Tls, waits_for_content: bool
) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet_pipelining(reader, writer)
        await offered(reader)
        writer.write(b"250 2.1.0 ok\r\n550 5.1.1 no such user\r\n")
        if waits_for_content:
            writer.write(b"354 go on\r\n")
            assert await reader.readline() == b".\r\n"
        writer.write(b"554 5.5.1 no valid recipients\r\n")
        assert await offered(reader) == ["RSET", "MAIL FROM", "RCPT TO", "DATA"]
        writer.write(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go on\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 2.0.0 taken\r\n")
        await reader.read()

    async with (
        scripted_server(tls, [script]) as port,
        connected(port, tls, security="tls", pool_size=1) as provider,
    ):
        results = await send(provider, message("gone@example.org"), message())
    assert [(result.outcome, result.code) for result in results] == [
        (Outcome.DEAD, "550:5.1.1"),
        (Outcome.ACCEPTED, "250"),
    ]


async def test_refusal_counts_although_the_server_left_before_it_answered_the_rest(tls: Tls) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet_pipelining(reader, writer)
        await offered(reader)
        writer.write(b"550 5.1.1 no such user\r\n")
        await writer.drain()

    async with scripted_server(tls, [script]) as port, connected(port, tls, security="tls") as provider:
        [result] = await send(provider, message())
    assert (result.outcome, result.code) == (Outcome.DEAD, "550:5.1.1")


async def test_reply_that_nobody_asked_for_decides_on_no_mail(tls: Tls) -> None:
    async def says_too_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet_pipelining(reader, writer)
        await offered(reader)
        writer.write(b"250 ok\r\n250 ok\r\n354 go on\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 2.0.0 taken\r\n250 2.0.0 and the next one too\r\n")
        await reader.read()

    async def takes_another(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await take_one_mail(reader, writer)
        await reader.read()

    async with (
        scripted_server(tls, [says_too_much, takes_another]) as port,
        connected(port, tls, security="tls", pool_size=1) as provider,
    ):
        results = await send(provider, message(), message())
    assert [result.provider_message_id for result in results] == ["taken", "taken"]


async def test_wrong_password_stops_the_lane(tls: Tls) -> None:
    async with (
        mail_server(tls, Mailbox()) as port,
        connected(port, tls, username="clarion", password="wrong") as provider,
    ):
        [result] = await send(provider, message())
        assert (result.outcome, result.code) == (Outcome.CRED, "535:5.7.8")
        with pytest.raises(ProviderUnavailable, match="535"):
            await provider.probe()


async def test_probe_passes_with_good_credentials(tls: Tls) -> None:
    async with mail_server(tls, Mailbox()) as port, connected(port, tls, **LOGIN) as provider:
        await provider.probe()


async def test_untrusted_certificate_stops_the_lane(tls: Tls) -> None:
    async with mail_server(tls, Mailbox()) as port, connected(port, tls, ca_file=None, **LOGIN) as provider:
        [result] = await send(provider, message())
    assert (result.outcome, result.code) == (Outcome.CRED, "certificate")


async def test_a_server_without_starttls_stops_the_lane(tls: Tls) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.read()

    async with scripted_server(None, [refuse]) as port, connected(port, tls) as provider:
        [result] = await send(provider, message())
    assert (result.outcome, result.code) == (Outcome.CRED, "unsupported")


async def test_an_unreachable_server_is_tried_again(tls: Tls) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with connected(port, tls) as provider:
        [result] = await send(provider, message())
    assert (result.outcome, result.code) == (Outcome.RETRY, "connection")


async def test_connection_lost_after_the_content_leaves_it_unknown(tls: Tls) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await answer(reader, writer, "250 ok", "250 ok", "354 go on")
        await reader.readuntil(b"\r\n.\r\n")

    async with scripted_server(tls, [script]) as port, connected(port, tls, security="tls") as provider:
        [result] = await send(provider, message())
    assert (result.outcome, result.code) == (Outcome.UNKNOWN, "lost_after_content")


async def test_no_reply_after_the_content_leaves_it_unknown(tls: Tls) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await answer(reader, writer, "250 ok", "250 ok", "354 go on")
        await reader.read()

    async with scripted_server(tls, [script]) as port, connected(port, tls, security="tls", timeout=0.3) as provider:
        [result] = await send(provider, message())
    assert (result.outcome, result.code) in {(Outcome.UNKNOWN, "timeout"), (Outcome.UNKNOWN, "lost_after_content")}


@pytest.mark.parametrize("replies", [[], ["250 ok"], ["250 ok", "250 ok"]])
async def test_connection_lost_before_the_content_is_tried_again(tls: Tls, replies: list[str]) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await answer(reader, writer, *replies)
        await reader.readline()

    async with scripted_server(tls, [script]) as port, connected(port, tls, security="tls") as provider:
        [result] = await send(provider, message())
    assert (result.outcome, result.code) == (Outcome.RETRY, "connection")


@pytest.mark.parametrize("farewell", [b"", b"421 4.4.2 idle too long\r\n"])
async def test_a_stale_kept_connection_is_replaced_once(tls: Tls, farewell: bytes) -> None:
    async def ends_after_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await take_one_mail(reader, writer)
        await reader.readline()
        writer.write(farewell)
        await writer.drain()

    async def takes_another(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await take_one_mail(reader, writer)
        await reader.readline()

    async with (
        scripted_server(tls, [ends_after_one, takes_another]) as port,
        connected(port, tls, security="tls", pool_size=1) as provider,
    ):
        results = await send(provider, message(), message())
    assert [result.outcome for result in results] == [Outcome.ACCEPTED, Outcome.ACCEPTED]


async def test_garbage_instead_of_a_reply_is_tried_again(tls: Tls) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await answer(reader, writer, "\x00\xff what")
        await reader.read()

    async with scripted_server(tls, [script]) as port, connected(port, tls, security="tls") as provider:
        [result] = await send(provider, message())
    assert result.outcome is Outcome.RETRY


async def test_cancellation_reports_what_was_written_as_unknown_and_the_rest_as_retry(tls: Tls) -> None:
    got_content = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await answer(reader, writer, "250 ok", "250 ok", "354 go on")
        await reader.readuntil(b"\r\n.\r\n")
        got_content.set()
        await reader.read()

    results = Results()
    messages = [message(), message()]
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(scripted_server(tls, [script]))
        provider = await stack.enter_async_context(connected(port, tls, security="tls", pool_size=1))
        sending = asyncio.ensure_future(provider.send(messages, results))
        await got_content.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert [results.by_delivery[each.delivery_id].outcome for each in messages] == [Outcome.UNKNOWN, Outcome.RETRY]


@pytest.mark.parametrize(
    ("mail", "to", "outcome"),
    [
        (RenderedMail(subject="x", frame_sha256=b"?" * 32), "anna@example.org", Outcome.RETRY),
        (RenderedMail(subject="x", frame_sha256=frame_sha256(FRAME)), "anna@example.org", Outcome.BAD),
        (RenderedMail(subject="x"), "anna@example.org", Outcome.BAD),
        (RenderedMail(subject="x\r\nBcc: b@example.org", literal=MailContent(text="t")), "a@example.org", Outcome.BAD),
        (RenderedMail(subject="x", literal=MailContent(text="t")), "a@example.org>\r\nRCPT TO:<b", Outcome.BAD),
    ],
)
async def test_mails_that_cannot_be_built_never_reach_the_server(
    tls: Tls, mail: RenderedMail, to: str, outcome: Outcome
) -> None:
    async with scripted_server(tls, []) as port, connected(port, tls, security="tls") as provider:
        [result] = await send(provider, message(to, mail))
    assert result.outcome is outcome


async def test_sending_after_close_is_tried_elsewhere(tls: Tls) -> None:
    async with scripted_server(tls, []) as port, connected(port, tls, security="tls") as provider:
        await provider.close()
        [result] = await send(provider, message())
    assert result.outcome is Outcome.RETRY


async def test_faulty_settings_are_named(tls: Tls) -> None:
    with pytest.raises(ValidationError) as caught:
        await Factory().connect(
            document(0, tls, from_address="nobody", security="none", return_path_domain="a b", password=["s3cret"]),
            NoReceipts(),
        )
    assert "s3cret" not in str(caught.value)
    assert {error["loc"] for error in caught.value.errors()} == {
        ("port",),
        ("from_address",),
        ("security",),
        ("password",),
        ("return_path_domain",),
    }


async def test_a_missing_ca_file_is_named(tls: Tls) -> None:
    with pytest.raises(ProviderUnavailable, match="ca_file"):
        await Factory().connect(document(465, tls, ca_file="missing.pem"), NoReceipts())


@pytest.mark.parametrize(
    "scenario",
    [
        test_server_that_offers_pipelining_hears_a_whole_envelope_before_it_answers,
        test_reply_that_nobody_asked_for_decides_on_no_mail,
        test_connection_lost_after_the_content_leaves_it_unknown,
        test_no_reply_after_the_content_leaves_it_unknown,
        test_cancellation_reports_what_was_written_as_unknown_and_the_rest_as_retry,
        test_untrusted_certificate_stops_the_lane,
    ],
)
def test_the_daemons_event_loop_serves_as_well(
    tls: Tls, scenario: Callable[[Tls], Coroutine[None, None, None]]
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario(tls))
