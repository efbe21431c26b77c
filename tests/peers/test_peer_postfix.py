"""SMTP against Postfix: STARTTLS, AUTH, sizes, refusals, the queue, and the bounces that it writes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from uuid import uuid4

from aiosmtpd.smtp import SMTP, Envelope, Session

from clarion.internal.content.v1.rendered_pb2 import Rendered, RenderedMail
from clarion.types.v1.address_pb2 import Address, MailAddress
from clarion.types.v1.channel_pb2 import PRIORITY_NORMAL
from clarion.types.v1.content_pb2 import MailContent
from clarion_channels.mail import dsn
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message, Provider
from clarion_channels.providers.smtp import Factory

from .conftest import TlsFiles
from .postfix import MAX_MAIL_BYTES, PASSWORD, USERNAME, Postfix, running_postfix
from .reports import NoReceipts, send


@dataclass
class NextHop:
    """The server that Postfix hands everything to: `gone` is unknown there, `later` must wait."""

    port: int = 0
    mails: list[Envelope] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        match address.partition("@")[0]:
            case "gone":
                return "550 5.1.1 no such user"
            case "later":
                return "451 4.7.1 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        async with self.arrived:
            self.mails.append(envelope)
            self.arrived.notify_all()
        return "250 2.0.0 taken"

    async def holds(self, count: int) -> list[Envelope]:
        async with asyncio.timeout(20), self.arrived:
            await self.arrived.wait_for(lambda: len(self.mails) >= count)
        return self.mails


@asynccontextmanager
async def next_hop() -> AsyncIterator[NextHop]:
    hop = NextHop()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(hop, hostname="next.clarion.test", loop=loop), "127.0.0.1", 0)
    hop.port = server.sockets[0].getsockname()[1]
    try:
        yield hop
    finally:
        server.close()


@asynccontextmanager
async def relay(tls_files: TlsFiles, **changes: object) -> AsyncIterator[tuple[NextHop, Postfix, Provider]]:
    async with next_hop() as hop, running_postfix(tls_files.certificate, tls_files.key, hop.port) as postfix:
        document = {
            "host": "127.0.0.1",
            "port": postfix.port,
            "username": USERNAME,
            "password": PASSWORD,
            "from_address": "shop@clarion.test",
            "ca_file": str(tls_files.authority),
            "timeout": 10,
            **changes,
        }
        provider = await Factory().connect(json.dumps(document).encode(), NoReceipts())
        try:
            yield hop, postfix, provider
        finally:
            await provider.close()


def mail(to: str, text: str = "Your order is on its way.\n.\nEnd") -> Message:
    content = RenderedMail(subject="Größe 42 ✓", literal=MailContent(text=text, html=f"<p>{text}</p>"))
    return Message(
        delivery_id=uuid4(),
        address=Address(email=MailAddress(address=to, display_name="Anna Ångström")),
        content=Rendered(mail=content),
        priority=PRIORITY_NORMAL,
        expire_at=datetime.now(UTC) + timedelta(hours=1),
        collapse_key="",
    )


def bodies(content: bytes) -> tuple[str, str, str]:
    parsed = message_from_bytes(content, policy=policy.default)
    texts = []
    for kind in ("plain", "html"):
        part = parsed.get_body((kind,))
        assert part is not None
        texts.append(str(part.get_content()).replace("\r\n", "\n").strip())
    return str(parsed["subject"]), texts[0], texts[1]


async def test_mails_pass_tls_and_auth_and_come_out_as_they_went_in(tls_files: TlsFiles) -> None:
    async with relay(tls_files) as (hop, _, provider):
        results = await send(provider, [mail(f"ann{n}@example.org") for n in range(40)])
        mails = await hop.holds(40)
    assert {result.outcome for result in results} == {Outcome.ACCEPTED}
    assert {envelope.rcpt_tos[0] for envelope in mails} == {f"ann{n}@example.org" for n in range(40)}
    text = "Your order is on its way.\n.\nEnd"
    assert bodies(mails[0].original_content or b"") == ("Größe 42 ✓", text, f"<p>{text}</p>")


async def test_each_refusal_of_postfix_has_its_outcome_and_leaves_the_connection_usable(tls_files: TlsFiles) -> None:
    async with relay(tls_files, pool_size=1) as (hop, _, provider):
        unknown, too_large, good = [
            (await send(provider, [message]))[0]
            for message in (
                mail("nobody@clarion.test"),
                mail("ann@example.org", "x" * 70 + "\n" * 10 + "Y" * MAX_MAIL_BYTES),
                mail("ann@example.org"),
            )
        ]
        await hop.holds(1)
    assert (unknown.outcome, unknown.code) == (Outcome.DEAD, "550:5.1.1")
    assert too_large.outcome is Outcome.BAD
    assert good.outcome is Outcome.ACCEPTED


async def test_wrong_password_stops_the_lane(tls_files: TlsFiles) -> None:
    async with relay(tls_files, password="wrong") as (_, _, provider):
        [result] = await send(provider, [mail("ann@example.org")])
    assert result.outcome is Outcome.CRED


async def test_bounce_of_postfix_is_read(tls_files: TlsFiles) -> None:
    async with relay(tls_files) as (hop, _, provider):
        message = mail("gone@example.org")
        [result] = await send(provider, [message])
        [bounce] = await hop.holds(1)
    assert result.outcome is Outcome.ACCEPTED
    assert (bounce.mail_from, bounce.rcpt_tos) == ("<>", ["shop@clarion.test"])
    notification = dsn.parse(bounce.original_content or b"")
    [status] = notification.recipients
    assert (status.action, status.status, status.final_recipient) == (dsn.Action.FAILED, "5.1.1", "gone@example.org")
    assert notification.delivery_id == message.delivery_id


async def test_mail_that_the_next_server_puts_off_waits_in_the_queue(tls_files: TlsFiles) -> None:
    async with relay(tls_files) as (hop, postfix, provider):
        [result] = await send(provider, [mail("later@example.org")])
        [waiting] = await postfix.queue_of(1)
    assert result.outcome is Outcome.ACCEPTED, "the relay has it: from here on it is the relay's to deliver"
    recipients = waiting["recipients"]
    assert isinstance(recipients, list)
    assert recipients[0]["address"] == "later@example.org"
    assert hop.mails == []
