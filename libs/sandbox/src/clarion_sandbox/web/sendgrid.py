"""SendGrid's Web API v3: ``POST /v3/mail/send``.

Source: SendGrid, "Mail Send", "Responses" and "Rate limits".
"""

import asyncio
import base64
import hmac
import secrets
import time
from collections.abc import Callable, Sequence

from clarion_sandbox import content
from clarion_sandbox.answers import AnswerTable, Row, Special
from clarion_sandbox.fates import Fates
from clarion_sandbox.ledger import Ledger

from .http import Headers, Outcome, Reply, Request, is_lost, json_reply, silence
from .manners import HEAD_START_SECONDS
from .sendgrid_events import SendGridEvents, SentMail
from .sendgrid_schema import File, Mailbox, MailSend, Personalized, ShapeError, parse

NAME = "sendgrid"
PATH = "/v3/mail/send"
_BOUNDARY = "=_clarion-sandbox"
_LIMIT = 600


class SendGrid:
    """The handler."""

    def __init__(
        self,
        api_key: str,
        table: AnswerTable,
        fates: Fates,
        ledger: Ledger,
        events: SendGridEvents,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._bearer = f"Bearer {api_key}".encode()
        self._table = table
        self._fates = fates
        self._ledger = ledger
        self._events = events
        self._clock = clock

    async def __call__(self, request: Request) -> Outcome:
        """Answer one request, which is all its mails or none."""
        refusal = self._refusal(request)
        if refusal is not None:
            self._ledger.refuse(NAME, answer=refusal.label, size=len(request.body))
            return self._error(refusal)
        try:
            send = parse(request.body)
        except ShapeError as fault:
            self._ledger.refuse(NAME, answer=f"400 {fault.field}", size=len(request.body))
            return _errors(400, fault.field, fault.message)
        return await self._accept(send, len(request.body))

    def _refusal(self, request: Request) -> Row | None:
        given = (request.headers.get("authorization") or "").encode()
        if not hmac.compare_digest(given, self._bearer):
            return self._table.row("4010")
        if request.path != PATH:
            return self._table.row("4040")
        if request.method != "POST":
            return self._table.row("4050")
        if (request.headers.get("content-type") or "").partition(";")[0].strip().lower() != "application/json":
            return self._table.row("4150")
        return None

    async def _accept(self, send: MailSend, size: int) -> Outcome:
        fates = [self._fates.decide(NAME, mail.to.email) for mail in send.mails]
        latency = max(self._fates.latency(NAME, mail.to.email) for mail in send.mails)
        if latency:
            await asyncio.sleep(latency)
        special: Special | None = None
        for mail, fate in zip(send.mails, fates, strict=True):
            if isinstance(fate, Row) and fate.status != 200:
                self._ledger.refuse(NAME, answer=fate.label, destination=mail.to.email, size=size)
                return self._error(fate, mail.index)
            if isinstance(fate, Special):
                if not is_lost(fate):
                    self._ledger.refuse(NAME, answer=fate, destination=mail.to.email, size=size)
                    return silence(fate)
                special = fate
        if send.sandbox:
            self._ledger.refuse(NAME, answer="200 sandbox_mode", destination=send.mails[0].to.email, size=size)
            return Reply(200, [])
        message_id = secrets.token_urlsafe(16)
        sent: list[SentMail] = []
        for number, (mail, fate) in enumerate(zip(send.mails, fates, strict=True)):
            sent.append(self._record(send, mail, fate if isinstance(fate, Row) else None, message_id, number, special))
        if self._events.publish(sent):
            await asyncio.sleep(HEAD_START_SECONDS)
        if special is not None:
            return silence(special)
        return Reply(202, [("x-message-id", message_id), *self._rate_limit(_LIMIT - 1, 1)])

    def _record(
        self,
        send: MailSend,
        mail: Personalized,
        asked: Row | None,
        message_id: str,
        number: int,
        special: Special | None,
    ) -> SentMail:
        smtp_id = next((value for name, value in mail.headers.items() if name.lower() == "message-id"), "")
        smtp_id = smtp_id or f"<{message_id}.{number}@sandbox.invalid>"
        message = render(send.sender, mail, smtp_id, send.files)
        self._ledger.accept(
            NAME,
            answer="202" if special is None else special,
            # SendGrid has one id for a request; the place in it tells its mails apart.
            message_id=f"{message_id}.{number}",
            destination=mail.to.email,
            digest=content.of_mail(message),
            content=message,
            our_id=smtp_id,
            attributes={"sender": send.sender.email, "request": message_id},
        )
        return SentMail(message_id, smtp_id, mail.to.email, mail.custom_args, send.categories, asked)

    def _error(self, row: Row, index: int = 0) -> Reply:
        field = row.text("field")
        headers: Headers = []
        reset = row.number("reset_seconds")
        if reset is not None:
            headers = self._rate_limit(0, reset)
        return _errors(
            row.status, field and field.replace("{n}", str(index)), row.text("message") or row.reason, headers
        )

    def _rate_limit(self, remaining: int, reset_seconds: int) -> Headers:
        return [
            ("x-ratelimit-limit", str(_LIMIT)),
            ("x-ratelimit-remaining", str(remaining)),
            ("x-ratelimit-reset", str(int(self._clock()) + reset_seconds)),
        ]


def render(sender: Mailbox, mail: Personalized, message_id: str, files: Sequence[File] = ()) -> bytes:
    """The mail as it would leave SendGrid: what the ledger keeps and digests."""
    fields = [
        ("From", _shown(sender)),
        ("To", _shown(mail.to)),
        ("Subject", _word(mail.subject)),
        ("Message-ID", message_id),
        *((name, value) for name, value in mail.headers.items() if name.lower() != "message-id"),
        ("MIME-Version", "1.0"),
    ]
    parts = [
        f"Content-Type: {kind}; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{_lines(text)}\r\n"
        for kind, text in mail.contents
    ]
    entity = parts[0] if len(parts) == 1 else _multipart("alternative", parts)
    for kind, together in (
        ("related", [file for file in files if file.is_inline]),
        ("mixed", [file for file in files if not file.is_inline]),
    ):
        if together:
            entity = _multipart(kind, [entity, *map(_attached, together)])
    return (_head(fields) + entity).encode()


def _multipart(kind: str, parts: Sequence[str]) -> str:
    boundary = _BOUNDARY if kind == "alternative" else f"{_BOUNDARY}-{kind}"
    body = "".join(f"--{boundary}\r\n{part}" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n{body}--{boundary}--\r\n'


def _attached(file: File) -> str:
    fields = [
        ("Content-Type", f'{file.content_type}; name="{_word(file.name)}"'),
        ("Content-Transfer-Encoding", "base64"),
        ("Content-Disposition", f'{"inline" if file.is_inline else "attachment"}; filename="{_word(file.name)}"'),
    ]
    if file.content_id:
        fields.append(("Content-ID", f"<{file.content_id}>"))
    lines = (file.content[start : start + 76] for start in range(0, len(file.content), 76))
    return f"{_head(fields)}\r\n" + "".join(f"{line}\r\n" for line in lines)


def _head(fields: list[tuple[str, str]]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in fields)


def _shown(mailbox: Mailbox) -> str:
    return f"{_word(mailbox.name)} <{mailbox.email}>" if mailbox.name else mailbox.email


def _word(text: str) -> str:
    """The text itself, or one encoded word (RFC 2047) where it is not plain."""
    if text.isascii() and text.isprintable() and not set(text) & set('"(),:;<>@[]\\'):
        return text
    return f"=?utf-8?B?{base64.b64encode(text.encode()).decode('ascii')}?="


def _lines(text: str) -> str:
    return "\r\n".join(text.splitlines())


def _errors(status: int, field: str | None, message: str, headers: Headers | None = None) -> Reply:
    return json_reply(status, {"errors": [{"message": message, "field": field, "help": None}]}, headers)
