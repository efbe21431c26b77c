"""The sinks against a real web server and a real mail server."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from email.policy import default

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from clarion_kit.clock import SystemClock
from clarion_kit.settings import FaultySettings, load
from clarion_local.authority import Authority
from clarion_monitor.adapters.mail import MailServer, MailSink, MailTls
from clarion_monitor.adapters.webhook import SIGNATURE_HEADER, WebhookSink, signature
from clarion_monitor.notices import Notice, Status
from clarion_monitor.ports import SinkFailed
from clarion_monitor.settings import Settings

NOTICE = Notice(
    "webhook", Status.ALERT, "stream/x", "stream", "stream PLAN: missing", 1, 1, "", datetime(2030, 1, 1, tzinfo=UTC)
)
SHORT = timedelta(milliseconds=300)


@dataclass
class WebServer:
    """Answers every request with `answer`; nothing where it is empty."""

    url: str = ""
    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def close(self) -> None:
        """End every connection; what is left open would be found by the garbage collector amid another test."""
        for writer in self.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self.writers), return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                self.requests.append((headers, await reader.readexactly(int(headers["content-length"]))))
                writer.write(self.answer)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def web() -> AsyncIterator[WebServer]:
    serving = WebServer()
    server = await asyncio.start_server(serving.serve, "127.0.0.1", 0)
    serving.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook/T0KEN"
    try:
        yield serving
    finally:
        server.close()
        await serving.close()


@asynccontextmanager
async def webhook(web: WebServer, secret: bytes = b"") -> AsyncIterator[WebhookSink]:
    async with WebhookSink.connect(web.url, secret, SystemClock(), timeout=SHORT) as sink:
        yield sink


async def test_webhook_gets_text_fields_and_a_signature_that_fits(web: WebServer) -> None:
    async with webhook(web, b"secret") as sink:
        await sink.tell(NOTICE)

    [(headers, body)] = web.requests
    document = json.loads(body)
    assert (document["text"].splitlines()[0], document["kind"]) == ("[alert] stream PLAN: missing", "stream")
    assert headers["content-type"] == "application/json"
    moment = int(headers[SIGNATURE_HEADER].partition(",")[0].removeprefix("t="))
    assert headers[SIGNATURE_HEADER] == signature(b"secret", moment, body)


async def test_webhook_without_a_secret_is_not_signed(web: WebServer) -> None:
    async with webhook(web) as sink:
        await sink.tell(NOTICE)

    assert SIGNATURE_HEADER not in web.requests[0][0]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n", "HTTP 500"),
        (b"HTTP/1.1 302 x\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n", "HTTP 302"),
        (b"", "Timeout"),
    ],
)
async def test_webhook_that_does_not_take_it_has_failed(web: WebServer, answer: bytes, fault: str) -> None:
    web.answer = answer
    async with webhook(web) as sink:
        with pytest.raises(SinkFailed, match=fault) as failed:
            await sink.tell(NOTICE)

    assert "T0KEN" not in str(failed.value)
    assert len(web.requests) == 1


async def test_webhook_that_is_away_has_failed_without_naming_its_url(web: WebServer) -> None:
    async with WebhookSink.connect("http://127.0.0.1:1/T0KEN", b"", SystemClock(), timeout=SHORT) as sink:
        with pytest.raises(SinkFailed) as failed:
            await sink.tell(NOTICE)

    assert "T0KEN" not in str(failed.value)


class Mailbox:
    """Keeps what it is handed; refuses what goes to "refused@"."""

    def __init__(self) -> None:
        self.mails: list[tuple[Envelope, Message]] = []

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("refused@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.mails.append((envelope, message_from_bytes(envelope.content, policy=default)))
        return "250 OK"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def mail_port(mailbox: Mailbox, authority: Authority) -> AsyncIterator[int]:
    """A server that takes mail over STARTTLS alone."""
    files = authority.issue("mail", ips=["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.cert, files.key)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(mailbox, tls_context=context, require_starttls=True, loop=loop), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def mail_sink(port: int, *recipients: str, tls: MailTls = MailTls.STARTTLS, ca_file: str = "") -> MailSink:
    server = MailServer("127.0.0.1", port, tls, ca_file=ca_file)
    return MailSink(server, "clarion@ops.example", recipients, SystemClock(), timeout=timedelta(seconds=5))


async def test_mail_goes_to_everybody_over_tls(mailbox: Mailbox, mail_port: int, authority: Authority) -> None:
    sink = mail_sink(mail_port, "a@ops.example", "b@ops.example", ca_file=str(authority.ca))

    await sink.tell(NOTICE)

    [(envelope, mail)] = mailbox.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == ("clarion@ops.example", ["a@ops.example", "b@ops.example"])
    assert mail["Subject"] == "Clarion [alert] stream PLAN: missing"
    assert "since 2030-01-01 00:00:00 UTC" in str(mail.get_payload())


async def test_mails_of_one_episode_are_one_thread(mailbox: Mailbox, mail_port: int, authority: Authority) -> None:
    sink = mail_sink(mail_port, "a@ops.example", ca_file=str(authority.ca))

    for status in (Status.ALERT, Status.RESOLVED):
        await sink.tell(Notice("mail", status, "stream/x", "stream", "w", 1, 1, "", NOTICE.since))

    first, second = (mail for _, mail in mailbox.mails)
    assert first["References"] == second["References"]
    assert first["Message-ID"] != second["Message-ID"]


async def test_mail_server_that_is_not_trusted_gets_nothing(mailbox: Mailbox, mail_port: int) -> None:
    with pytest.raises(SinkFailed):
        await mail_sink(mail_port, "a@ops.example").tell(NOTICE)

    assert mailbox.mails == []


async def test_mail_that_is_refused_has_failed_without_naming_its_recipient(
    mail_port: int, authority: Authority
) -> None:
    with pytest.raises(SinkFailed) as failed:
        await mail_sink(mail_port, "refused@ops.example", ca_file=str(authority.ca)).tell(NOTICE)

    assert "refused@" not in str(failed.value)


NEEDED = {"CLARION_DATABASE_URL": "postgresql://x", "CLARION_NATS_URL": "nats://x", "CLARION_INSECURE": "1"}
MAIL = {
    "CLARION_ALERT_MAIL_SERVER": "mail.example:587",
    "CLARION_ALERT_MAIL_FROM": "c@ops.example",
    "CLARION_ALERT_MAIL_TO": "a@ops.example, b@ops.example",
}


@pytest.mark.parametrize(
    ("env", "fault"),
    [
        ({"CLARION_ALERT_WEBHOOK_URL": "http://hooks.example/x"}, "CLARION_ALERT_WEBHOOK_URL: must be https"),
        ({"CLARION_ALERT_MAIL_SERVER": "mail.example"}, "CLARION_ALERT_MAIL_SERVER: 'mail.example' is not host:port"),
        ({**MAIL, "CLARION_ALERT_MAIL_TLS": "none"}, "CLARION_ALERT_MAIL_TLS: none is only for loopback"),
        ({**MAIL, "CLARION_ALERT_MAIL_FROM": ""}, "CLARION_ALERT_MAIL_FROM: required with CLARION_ALERT_MAIL_SERVER"),
        ({**MAIL, "CLARION_ALERT_MAIL_TO": "nobody"}, "CLARION_ALERT_MAIL_TO: no mail address"),
        ({"CLARION_RUNBOOK_URL": "https://x/#y"}, "CLARION_RUNBOOK_URL"),
        ({"CLARION_REMIND_SECONDS": "60"}, "CLARION_REMIND_SECONDS"),
    ],
)
def test_faulty_sink_is_named_at_the_start(env: dict[str, str], fault: str) -> None:
    with pytest.raises(FaultySettings) as faulty:
        load(Settings, {**NEEDED, **env})

    assert [one for one in faulty.value.faults if one.startswith(fault)]


def test_no_sink_and_every_sink_are_fine() -> None:
    everything = {**MAIL, "CLARION_ALERT_WEBHOOK_URL": "https://hooks.example/T0KEN"}

    assert load(Settings, NEEDED).alert_webhook_url is None
    assert "T0KEN" not in repr(load(Settings, {**NEEDED, **everything}))
