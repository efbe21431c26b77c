"""Amazon SES, API v2: ``POST /v2/email/outbound-emails`` with raw content.

Source: Amazon SES API v2 reference, "SendEmail"; Amazon SES developer guide, "Using the mailbox simulator".
"""

import asyncio
import base64
import binascii
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from clarion_sandbox import content
from clarion_sandbox.answers import AnswerTable, Fate, Row
from clarion_sandbox.fates import Fates
from clarion_sandbox.ledger import Ledger
from clarion_sandbox.smtp.command import SyntaxFault, check_mailbox

from .aws_signature import SignatureCheck, SignatureFault
from .http import Outcome, Reply, Request, is_lost, json_reply, silence
from .manners import HEAD_START_SECONDS
from .ses_events import SentMail, SesEvents

NAME = "ses"
PATH = "/v2/email/outbound-emails"
_MAX_MAIL_BYTES = 40 << 20
_MAX_RECIPIENTS = 50
_MAX_TAGS = 50
_MAX_LINE_BYTES = 998
_WORD = re.compile(r"[A-Za-z0-9_-]{1,256}")
_HEADER = re.compile(rb"^([!-9;-~]+):[ \t]*((?:[^\r\n]|\r\n[ \t])*)", re.MULTILINE)
_SIMULATOR = "@simulator.amazonses.com"
_SIMULATED = {"bounce": "hard", "complaint": "complaint", "suppressionlist": "listed"}
_KNOWN_FIELDS = frozenset(
    {
        "FromEmailAddress",
        "Destination",
        "Content",
        "ConfigurationSetName",
        "EmailTags",
        "ReplyToAddresses",
        "FeedbackForwardingEmailAddress",
        "ListManagementOptions",
    }
)


@dataclass(frozen=True, slots=True)
class _Mail:
    raw: bytes
    sender: str
    recipients: Sequence[str]
    tags: Mapping[str, Sequence[str]]
    our_id: str
    published: bool


class _Refused(Exception):
    """The request is refused with a row of the table, possibly with another message."""

    def __init__(self, code: str, message: str | None = None) -> None:
        super().__init__(message or code)
        self.code, self.message = code, message


class Ses:
    """The handler."""

    def __init__(
        self,
        check: SignatureCheck,
        configuration_set: str,
        table: AnswerTable,
        fates: Fates,
        ledger: Ledger,
        events: SesEvents,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._check = check
        self._configuration_set = configuration_set
        self._table = table
        self._fates = fates
        self._ledger = ledger
        self._events = events
        self._clock = clock

    async def __call__(self, request: Request) -> Outcome:
        """Answer one mail."""
        try:
            self._check(request, datetime.fromtimestamp(self._clock(), UTC))
            if (request.method, request.path) != ("POST", PATH):
                raise _Refused("4040", "No such operation.")
            mail = self._parse(request.body)
        except SignatureFault as fault:
            self._ledger.refuse(NAME, answer=f"403 {fault.reason}", size=len(request.body))
            return _error(403, fault.reason, fault.message)
        except _Refused as refused:
            row = self._table.row(refused.code)
            self._ledger.refuse(NAME, answer=row.label, size=len(request.body))
            return _error(row.status, row.reason, refused.message or row.text("message") or "")
        return await self._accept(mail)

    async def _accept(self, mail: _Mail) -> Outcome:
        fates = [self._fates.decide(NAME, _magic(recipient)) for recipient in mail.recipients]
        latency = max(self._fates.latency(NAME, recipient) for recipient in mail.recipients)
        if latency:
            await asyncio.sleep(latency)
        special: Fate | None = None
        for recipient, fate in zip(mail.recipients, fates, strict=True):
            if isinstance(fate, Row) and fate.status != 200:
                self._ledger.refuse(
                    NAME, answer=fate.label, destination=recipient, our_id=mail.our_id, size=len(mail.raw)
                )
                return _error(fate.status, fate.reason, fate.text("message") or "")
            if fate is not None and not isinstance(fate, Row):
                if not is_lost(fate):
                    self._ledger.refuse(NAME, answer=fate, destination=recipient, size=len(mail.raw))
                    return silence(fate)
                special = fate
        message_id = f"{int(self._clock() * 1000):016x}-{uuid.uuid4()}-000000"
        digest = content.of_mail(mail.raw)
        early = False
        for recipient, fate in zip(mail.recipients, fates, strict=True):
            self._ledger.accept(
                NAME,
                answer=str(special or "200"),
                message_id=message_id,
                destination=recipient,
                digest=digest,
                content=mail.raw,
                our_id=mail.our_id,
                attributes={"sender": mail.sender},
            )
            if mail.published:
                sent = SentMail(message_id, mail.sender, recipient, mail.our_id, mail.tags)
                early |= self._events.publish(sent, fate if isinstance(fate, Row) else None)
        if early:
            await asyncio.sleep(HEAD_START_SECONDS)
        if special is not None and not isinstance(special, Row):
            return silence(special)
        return json_reply(200, {"MessageId": message_id})

    def _parse(self, body: bytes) -> _Mail:
        try:
            document = json.loads(body)
        except ValueError as error:
            raise _Refused("4000", "The request is not JSON.") from error
        if not isinstance(document, dict) or not document.keys() <= _KNOWN_FIELDS:
            raise _Refused("4000", "The request has an unknown field.")
        raw = _raw(document)
        header, separator, text = raw.partition(b"\r\n\r\n")
        fields = {name.lower(): value.strip() for name, value in _HEADER.findall(header)}
        if not separator or b"from" not in fields:
            raise _Refused("4001", "Missing required header 'From'.")
        if len(raw) > _MAX_MAIL_BYTES or max(map(len, raw.split(b"\r\n"))) > _MAX_LINE_BYTES or not text.isascii():
            raise _Refused("4001", "The message is too long, has a line that is, or is not 7-bit.")
        sender = document.get("FromEmailAddress")
        if not isinstance(sender, str) or sender.encode() not in fields[b"from"]:
            raise _Refused("4001", "FromEmailAddress is not the address of the From header.")
        name = document.get("ConfigurationSetName", "")
        if name not in ("", self._configuration_set):
            raise _Refused("4040", f"Configuration set <{name}> does not exist.")
        return _Mail(
            raw,
            sender,
            _recipients(document),
            _tags(document),
            fields.get(b"message-id", b"").decode("ascii", "replace"),
            bool(name),
        )


def _raw(document: dict[str, object]) -> bytes:
    mail = document.get("Content")
    raw = mail.get("Raw") if isinstance(mail, dict) else None
    data = raw.get("Data") if isinstance(raw, dict) else None
    if not isinstance(data, str):
        raise _Refused("4000", "Content.Raw.Data is required here.")
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise _Refused("4000", "Content.Raw.Data is not base64.") from error


def _recipients(document: dict[str, object]) -> Sequence[str]:
    destination = document.get("Destination")
    groups = destination.values() if isinstance(destination, dict) else ()
    recipients = [address for group in groups if isinstance(group, list) for address in group]
    if not 1 <= len(recipients) <= _MAX_RECIPIENTS:
        raise _Refused("4000", f"1 to {_MAX_RECIPIENTS} recipients are required.")
    for recipient in recipients:
        try:
            check_mailbox(recipient if isinstance(recipient, str) else "", utf8=False)
        except SyntaxFault as fault:
            raise _Refused("4000", "Domain or local part of a recipient is invalid.") from fault
    return recipients


def _tags(document: dict[str, object]) -> Mapping[str, Sequence[str]]:
    entries = document.get("EmailTags", [])
    if not isinstance(entries, list) or len(entries) > _MAX_TAGS:
        raise _Refused("4000", "EmailTags is a list of 50 at most.")
    tags: dict[str, Sequence[str]] = {}
    for entry in entries:
        name, value = (entry.get("Name"), entry.get("Value")) if isinstance(entry, dict) else (None, None)
        if (
            not isinstance(name, str)
            or not isinstance(value, str)
            or not _WORD.fullmatch(name)
            or not _WORD.fullmatch(value)
        ):
            raise _Refused("4000", "A tag holds characters that are not allowed.")
        if name in tags:
            raise _Refused("4000", "A tag is named twice.")
        tags[name] = [value]
    return tags


def _magic(recipient: str) -> str:
    """SES's own simulator addresses, in the form of ours."""
    local, domain, _ = recipient.partition(_SIMULATOR)
    code = _SIMULATED.get(local) if domain else None
    return f"bounce+{code}{_SIMULATOR}" if code else recipient


def _error(status: int, reason: str, message: str) -> Reply:
    return json_reply(status, {"message": message}, [("x-amzn-errortype", f"{reason}:")])
