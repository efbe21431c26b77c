"""SMTP submission with aiosmtplib, and raw sockets where a good client would not go."""

import asyncio
import base64
import json
import ssl
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from pathlib import Path
from typing import cast

import aiosmtplib
import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from clarion_sandbox.server import Sandbox
from clarion_sandbox.view import present


def mail(to: str = "ann@example.org", body: str = "Hello\n.leading dot\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "news@example.com", to, "Grüße"
    message["Message-ID"] = "<delivery-7@example.com>"
    message.set_content(body)
    return message


def client(sandbox: Sandbox, certificate: tuple[Path, Path], *, password: str | None = None) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(
        hostname="127.0.0.1",
        port=sandbox.ports.smtp,
        username=sandbox.credentials.smtp_username,
        password=password or sandbox.credentials.smtp_password,
        start_tls=True,
        tls_context=ssl.create_default_context(cafile=str(certificate[0])),
        local_hostname="client.invalid",
        timeout=5,
    )


def entries(sandbox: Sandbox) -> list[dict[str, object]]:
    return [json.loads(line) for line in sandbox.ledger.read(0, 100).splitlines()]


async def test_mail_over_starttls_is_queued_and_kept_whole(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    async with client(sandbox, certificate) as smtp:
        refused, text = await smtp.send_message(mail())
    (entry,) = entries(sandbox)
    assert refused == {}
    assert text == f"2.0.0 Ok: queued as {entry['message_id']}"
    assert (entry["destination"], entry["our_id"]) == ("ann@example.org", "<delivery-7@example.com>")
    kept = sandbox.ledger.arrival(1)
    assert kept is not None
    shown = present(kept)
    assert shown["text"] == "Hello\r\n.leading dot\r\n"
    assert ["Subject", "Grüße"] in shown["headers"]  # type: ignore[operator]


async def test_implicit_tls_port_takes_mail(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    smtp = aiosmtplib.SMTP(
        hostname="127.0.0.1",
        port=sandbox.ports.smtps,
        username=sandbox.credentials.smtp_username,
        password=sandbox.credentials.smtp_password,
        use_tls=True,
        tls_context=ssl.create_default_context(cafile=str(certificate[0])),
        local_hostname="client.invalid",
    )
    async with smtp:
        await smtp.send_message(mail())
    assert [entry["answer"] for entry in entries(sandbox)] == ["250"]


async def test_wrong_password_is_refused(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    with pytest.raises(aiosmtplib.SMTPAuthenticationError) as caught:
        await client(sandbox, certificate, password="wrong").connect()
    assert caught.value.code == 535


async def test_login_mechanism_works(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    smtp = aiosmtplib.SMTP(
        hostname="127.0.0.1",
        port=sandbox.ports.smtp,
        start_tls=True,
        tls_context=ssl.create_default_context(cafile=str(certificate[0])),
        local_hostname="client.invalid",
    )
    async with smtp:
        await smtp.ehlo()
        reply = await smtp.auth_login(sandbox.credentials.smtp_username, sandbox.credentials.smtp_password)
    assert reply.code == 235


@pytest.mark.parametrize(
    ("code", "enhanced"),
    [
        (550, "5.1.1"),
        (451, "4.7.1"),
        (452, "4.2.2"),
        (450, "4.7.28"),
        (552, "5.3.4"),
        (550, "5.7.26"),
        (554, "5.9.9"),
    ],
)
async def test_magic_mailbox_chooses_the_reply_to_rcpt(
    sandbox: Sandbox, certificate: tuple[Path, Path], code: int, enhanced: str
) -> None:
    async with client(sandbox, certificate) as smtp:
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as caught:
            await smtp.send_message(mail(f"bounce+{code}-{enhanced}+user7@example.org"))
    refusal = caught.value.recipients[0]
    assert (refusal.code, refusal.message.split()[0]) == (code, enhanced)


async def test_magic_mailbox_may_refuse_the_message_instead(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    async with client(sandbox, certificate) as smtp:
        with pytest.raises(aiosmtplib.SMTPDataError) as caught:
            await smtp.send_message(mail("bounce+data-554-5.6.0@example.org"))
    assert (caught.value.code, caught.value.message) == (554, "5.6.0 Content refused")


async def test_flaky_mailbox_works_after_its_failures(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    flaky = mail("bounce+451-4.7.1-x1@example.org")
    async with client(sandbox, certificate) as smtp:
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await smtp.send_message(flaky)
        refused, _ = await smtp.send_message(flaky)
    assert refused == {}


@pytest.mark.parametrize(
    ("fate", "error"),
    [("cut", aiosmtplib.SMTPServerDisconnected), ("hang", aiosmtplib.SMTPReadTimeoutError)],
)
async def test_mailbox_that_is_never_answered_takes_nothing(
    sandbox: Sandbox, certificate: tuple[Path, Path], fate: str, error: type[Exception]
) -> None:
    smtp = client(sandbox, certificate)
    await smtp.connect()
    with pytest.raises(error):
        await smtp.send_message(mail(f"bounce+{fate}@example.org"), timeout=0.2)
    assert [(entry["accepted"], entry["answer"]) for entry in entries(sandbox)] == [(False, fate)]


async def test_lost_answer_leaves_the_mail_accepted(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    smtp = client(sandbox, certificate)
    await smtp.connect()
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await smtp.send_message(mail("bounce+lostcut@example.org"))
    assert [(entry["accepted"], entry["answer"]) for entry in entries(sandbox)] == [(True, "lostcut")]


class Raw:
    """A client that says what it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, sandbox: Sandbox, certificate: tuple[Path, Path], *, secure: bool = True) -> "Raw":
        context = ssl.create_default_context(cafile=str(certificate[0])) if secure else None
        port = sandbox.ports.smtps if secure else sandbox.ports.smtp
        raw = cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context))
        await raw.reply()
        return raw

    async def reply(self) -> str:
        async with asyncio.timeout(5):
            while True:
                line = (await self.reader.readline()).decode()
                if line[3:4] != "-":
                    return line.rstrip()

    async def say(self, *lines: str) -> list[str]:
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        return [await self.reply() for _ in lines]

    async def at_data(self, sandbox: Sandbox) -> None:
        login = f"\0{sandbox.credentials.smtp_username}\0{sandbox.credentials.smtp_password}"
        replies = await self.say(
            "EHLO client.invalid",
            "AUTH PLAIN " + base64.b64encode(login.encode()).decode(),
            "MAIL FROM:<a@example.com>",
            "RCPT TO:<b@example.org>",
            "DATA",
        )
        assert [reply[:3] for reply in replies] == ["250", "235", "250", "250", "354"]

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_pipelined_commands_are_answered_in_order(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    raw = await Raw.connect(sandbox, certificate)
    await raw.at_data(sandbox)
    assert (await raw.say("Subject: x\r\n\r\nbody\r\n."))[0].startswith("250 2.0.0 Ok: queued as ")
    await raw.close()


@pytest.mark.parametrize("body", [b"x\n.\nMAIL FROM:<evil@x>\r\n", b"x\r\n.\nmore\r\n", b"x\r.\r\n", b"x\n"])
async def test_bare_newlines_are_refused_as_smuggling(
    sandbox: Sandbox, certificate: tuple[Path, Path], body: bytes
) -> None:
    raw = await Raw.connect(sandbox, certificate)
    await raw.at_data(sandbox)
    raw.writer.write(body + b"\r\n.\r\n")
    assert (await raw.reply()).startswith("521 5.5.2")
    assert [entry["accepted"] for entry in entries(sandbox)] == [False]
    await raw.close()


async def test_command_with_bare_newline_ends_the_connection(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    raw = await Raw.connect(sandbox, certificate)
    raw.writer.write(b"EHLO client.invalid\n")
    assert (await raw.reply()).startswith("521 5.5.2")
    await raw.close()


async def test_empty_message_ends_at_its_first_dot(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    raw = await Raw.connect(sandbox, certificate)
    await raw.at_data(sandbox)
    assert (await raw.say("."))[0].startswith("250 2.0.0")
    await raw.close()


async def test_line_beyond_998_octets_is_refused(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    raw = await Raw.connect(sandbox, certificate)
    await raw.at_data(sandbox)
    assert (await raw.say("x" * 999 + "\r\n."))[0].startswith("554 5.6.0")
    await raw.close()


async def test_nothing_goes_without_tls_and_login(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    raw = await Raw.connect(sandbox, certificate, secure=False)
    replies = await raw.say("EHLO client.invalid", "AUTH PLAIN AGEAYg==", "MAIL FROM:<a@example.com>")
    assert [reply[:3] for reply in replies] == ["250", "538", "530"]
    await raw.close()
    raw = await Raw.connect(sandbox, certificate)
    replies = await raw.say("EHLO client.invalid", "MAIL FROM:<a@example.com>")
    assert replies[1].startswith("530 5.7.0")
    await raw.close()


async def test_commands_injected_after_starttls_end_the_connection(
    sandbox: Sandbox, certificate: tuple[Path, Path]
) -> None:
    raw = await Raw.connect(sandbox, certificate, secure=False)
    await raw.say("EHLO client.invalid")
    raw.writer.write(b"STARTTLS\r\nRSET\r\n")
    assert (await raw.reply()).startswith("521 5.5.1")
    await raw.close()


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("MAIL FROM:<a@example.com> SIZE=99999999", "552 5.3.4"),
        ("MAIL FROM:<a@example.com> HOLDFOR=60", "555 5.5.4"),
        ("MAIL FROM:<ä@example.com>", "553 5.6.7"),
        ("MAIL FROM:a@example.com", "501 5.5.4"),
        ("RCPT TO:<b@example.org>", "503 5.5.1"),
        ("BDAT 3", "500 5.5.1"),
    ],
)
async def test_faulty_command_gets_its_reply(
    sandbox: Sandbox, certificate: tuple[Path, Path], line: str, reply: str
) -> None:
    raw = await Raw.connect(sandbox, certificate)
    await raw.at_data(sandbox)
    assert (await raw.say(".", line))[1].startswith(reply)
    await raw.close()


async def test_ehlo_offers_authentication_only_inside_tls(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    smtp = aiosmtplib.SMTP(
        hostname="127.0.0.1", port=sandbox.ports.smtp, start_tls=False, local_hostname="client.invalid"
    )
    async with smtp:
        await smtp.ehlo()
        before = {"auth": smtp.supports_extension("auth"), "starttls": smtp.supports_extension("starttls")}
        await smtp.starttls(tls_context=ssl.create_default_context(cafile=str(certificate[0])))
        await smtp.ehlo()
        after = {"auth": bool(smtp.supported_auth_methods), "starttls": smtp.supports_extension("starttls")}
    assert (before, after) == ({"auth": False, "starttls": True}, {"auth": True, "starttls": False})


async def bounce_of(
    sandbox: Sandbox, certificate: tuple[Path, Path], to: str, mail_options: list[str], rcpt_options: list[str]
) -> list[tuple[str | None, list[str], bytes]]:
    """Send one mail; the bounces that a server of the sender's takes within a moment."""
    taken: list[tuple[str | None, list[str], bytes]] = []
    came = asyncio.Event()

    class Sender:
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            taken.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content or b""))
            came.set()
            return "250 2.0.0 Ok"

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Sender(), hostname="sender.invalid", loop=loop), "127.0.0.1", 0)
    async with server:
        sandbox.callback_urls.put({"smtp": f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"})
        async with client(sandbox, certificate) as smtp:
            await smtp.send_message(mail(to), mail_options=mail_options, rcpt_options=rcpt_options)
        if "NOTIFY=NEVER" not in rcpt_options:
            await asyncio.wait_for(came.wait(), 5)
    return taken


@pytest.mark.parametrize(
    ("code", "options", "action", "status"),
    [
        ("late-550-5.1.1", [], "failed", "5.1.1"),
        ("late-451-4.4.1", ["NOTIFY=DELAY"], "delayed", "4.4.1"),
        ("200", ["NOTIFY=SUCCESS,FAILURE"], "delivered", "2.0.0"),
    ],
)
async def test_bounce_comes_back_to_the_envelope_sender(
    sandbox: Sandbox, certificate: tuple[Path, Path], code: str, options: list[str], action: str, status: str
) -> None:
    to = f"bounce+{code}+ann@example.org"
    rcpt_options = [*options, "ORCPT=rfc822;a+2Bb@example.org"]
    [(sender, recipients, content)] = await bounce_of(
        sandbox, certificate, to, ["RET=HDRS", "ENVID=delivery+2B7"], rcpt_options
    )
    report = message_from_bytes(content, policy=default)
    assert (sender, recipients) == ("<>", ["news@example.com"])
    assert report.get_content_type() == "multipart/report"
    _, status_part, returned = report.iter_parts()
    whole, recipient = cast("list[Message[str, str]]", status_part.get_payload())
    assert whole["Original-Envelope-Id"] == "delivery+7"
    assert recipient["Original-Recipient"] == "rfc822;a+b@example.org"
    assert (recipient["Final-Recipient"], recipient["Action"], recipient["Status"]) == (f"rfc822; {to}", action, status)
    assert returned.get_content_type() == "text/rfc822-headers"
    assert "<delivery-7@example.com>" in returned.get_content()
    assert [entry["answer"] for entry in entries(sandbox)] == ["250"]


async def test_sender_that_wants_no_bounce_gets_none(sandbox: Sandbox, certificate: tuple[Path, Path]) -> None:
    to = "bounce+late-550-5.1.1@example.org"
    assert await bounce_of(sandbox, certificate, to, [], ["NOTIFY=NEVER"]) == []


@pytest.mark.parametrize(
    ("mail_options", "rcpt_options"),
    [
        (["RET=SOME"], []),
        (["ENVID=" + "x" * 101], []),
        (["ENVID=a+zz"], []),
        ([], ["NOTIFY=NEVER,FAILURE"]),
        ([], ["NOTIFY=OFTEN"]),
        ([], ["ORCPT=ann@example.org"]),
    ],
)
async def test_faulty_dsn_parameter_is_refused(
    sandbox: Sandbox, certificate: tuple[Path, Path], mail_options: list[str], rcpt_options: list[str]
) -> None:
    async with client(sandbox, certificate) as smtp:
        with pytest.raises((aiosmtplib.SMTPSenderRefused, aiosmtplib.SMTPRecipientsRefused)):
            await smtp.send_message(mail(), mail_options=mail_options, rcpt_options=rcpt_options)
