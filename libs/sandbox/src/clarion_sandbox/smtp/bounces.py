"""Delivery status notifications (RFC 3461, RFC 3464): written, and handed to the server that takes bounces.

A real relay would find that server by MX; here it is the callback URL ``smtp`` (``smtp://host:port``).
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from urllib.parse import urlsplit

from clarion_sandbox.callback_urls import CallbackUrls
from clarion_sandbox.callbacks import Callbacks

NAME = "smtp"
_HOST = "sandbox.invalid"
_SMTP_PORT = 25


@dataclass(frozen=True, slots=True)
class Notice:
    """What became of one recipient of a mail, and what of the mail is returned."""

    to: str
    queue_id: str
    envelope_id: str
    recipient: str
    original_recipient: str
    action: str
    status: str
    diagnostic: str
    returned: bytes
    returns_all: bool


class Bounces:
    """Sends notices while somebody takes them."""

    def __init__(
        self,
        callbacks: Callbacks,
        urls: CallbackUrls,
        delay_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._callbacks = callbacks
        self._urls = urls
        self._delay_seconds = delay_seconds
        self._clock = clock
        self._numbers = itertools.count(1)

    def send(self, notice: Notice) -> None:
        """Send a notice after the delay."""
        url = self._urls.get(NAME)
        if url is not None:
            mail = compose(notice, next(self._numbers), self._clock())
            self._callbacks.run(NAME, url, [partial(_hand_over, url, notice.to, mail)], self._delay_seconds)


def compose(notice: Notice, number: int, now: float) -> bytes:
    """The multipart/report."""
    boundary = f"{notice.queue_id}.{number}/{_HOST}"
    subject = {"failed": "Undelivered Mail Returned to Sender", "delayed": "Delayed Mail (still being retried)"}
    mail_fields = [
        "Reporting-MTA: dns; " + _HOST,
        f"Original-Envelope-Id: {notice.envelope_id}" if notice.envelope_id else "",
        f"X-Queue-ID: {notice.queue_id}",
        f"Arrival-Date: {formatdate(now)}",
    ]
    recipient_fields = [
        f"Original-Recipient: {notice.original_recipient}" if notice.original_recipient else "",
        f"Final-Recipient: rfc822; {notice.recipient}",
        f"Action: {notice.action}",
        f"Status: {notice.status}",
        f"Diagnostic-Code: smtp; {notice.diagnostic}",
    ]
    lines = [
        f"From: Mail Delivery System <MAILER-DAEMON@{_HOST}>",
        f"To: {notice.to}",
        f"Subject: {subject.get(notice.action, 'Successful Mail Delivery Report')}",
        f"Date: {formatdate(now)}",
        f"Message-ID: <{notice.queue_id}.{number}@{_HOST}>",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"This is the mail system at host {_HOST}.",
        "",
        f"<{notice.recipient}>: {notice.diagnostic}",
        "",
        f"--{boundary}",
        "Content-Type: message/delivery-status",
        "",
        *filter(None, mail_fields),
        "",
        *filter(None, recipient_fields),
        "",
        f"--{boundary}",
        f"Content-Type: {'message/rfc822' if notice.returns_all else 'text/rfc822-headers'}",
        "",
    ]
    head = "\r\n".join(lines).encode("utf-8") + b"\r\n"
    return head + notice.returned + f"\r\n--{boundary}--\r\n".encode()


async def _hand_over(url: str, recipient: str, mail: bytes) -> bool:
    target = urlsplit(url)
    reader, writer = await asyncio.open_connection(target.hostname, target.port or _SMTP_PORT)

    async def step(command: bytes, expected: int) -> None:
        writer.write(command)
        await writer.drain()
        while True:
            line = await reader.readuntil(b"\r\n")
            if line[3:4] != b"-":
                break
        if int(line[:3]) != expected:
            raise ValueError("refused")

    try:
        await step(b"", 220)
        await step(f"EHLO {_HOST}\r\n".encode(), 250)
        await step(b"MAIL FROM:<>\r\n", 250)
        await step(f"RCPT TO:<{recipient}>\r\n".encode(), 250)
        await step(b"DATA\r\n", 354)
        await step(mail.replace(b"\r\n.", b"\r\n..") + b".\r\n", 250)
        writer.write(b"QUIT\r\n")  # the mail is theirs: whatever they say now, it must not go again
        await writer.drain()
    finally:
        writer.close()
    return True
