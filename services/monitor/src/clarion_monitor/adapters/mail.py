"""Alerts by mail."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from enum import StrEnum

import aiosmtplib

from clarion_kit.clock import Clock
from clarion_monitor.notices import Notice, headline, text
from clarion_monitor.ports import SinkFailed

TIMEOUT = timedelta(seconds=10)


class MailTls(StrEnum):
    """How the connection to the mail server is protected."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in. `ca_file` "": the system's authorities."""

    host: str
    port: int
    tls: MailTls
    user: str = ""
    password: str = ""
    ca_file: str = ""


class MailSink:
    """One connection a message: alerts are rare."""

    name = "mail"

    def __init__(
        self, server: MailServer, sender: str, recipients: Sequence[str], clock: Clock, *, timeout: timedelta = TIMEOUT
    ) -> None:
        self._server = server
        self._sender = sender
        self._recipients = list(recipients)
        self._clock = clock
        self._timeout = timeout.total_seconds()

    async def tell(self, notice: Notice) -> None:
        server = self._server
        try:
            await aiosmtplib.send(
                self._message(notice),
                sender=self._sender,
                recipients=self._recipients,
                hostname=server.host,
                port=server.port,
                use_tls=server.tls is MailTls.IMPLICIT,
                start_tls=server.tls is MailTls.STARTTLS,
                cert_bundle=server.ca_file or None,
                username=server.user or None,
                password=server.password or None,
                timeout=self._timeout,
            )
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as failed:
            raise SinkFailed(type(failed).__name__) from None

    def _message(self, notice: Notice) -> EmailMessage:
        """The messages of one episode are one thread."""
        domain = self._sender.rpartition("@")[2]
        thread = f"<{_digest(notice.key, notice.since.isoformat())}@{domain}>"
        now = self._clock.now()
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = ", ".join(self._recipients)
        message["Subject"] = f"Clarion {headline(notice)}"
        message["Date"] = format_datetime(now)
        message["Message-ID"] = f"<{_digest(notice.key, notice.status, now.isoformat())}@{domain}>"
        message["References"] = thread
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text(notice) + "\n")
        return message


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
