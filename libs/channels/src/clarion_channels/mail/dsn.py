"""Delivery status notifications: bounce mail (RFC 3461, RFC 3464, RFC 6522). Pure: bytes in, values out.

Whoever can send mail can send these, so nothing here recurses on what it reads: three levels of multipart at most, ten
parts in each, and only headers are read of the returned mail.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from enum import Enum
from uuid import UUID

from clarion_channels.mail.receipt import Event, Malformed, delivery_id_of, mail_receipt
from clarion_channels.receipt import News, ProviderReceipt, Source

MAX_BYTES = 512 * 1024
MAX_RECIPIENTS = 100
_MAX_DEPTH = 3
_MAX_PARTS = 10
_MAX_FIELD = 998
_STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_TYPED = re.compile(r"\s*[A-Za-z0-9-]+\s*;\s*(.*)", re.DOTALL)
_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RETURNED_TYPES = frozenset(
    {"message/rfc822", "text/rfc822-headers", "message/rfc822-headers", "message/global", "message/global-headers"}
)
_HEADERS = BytesHeaderParser(policy=policy.compat32)

DEAD_STATUSES = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
"""Enhanced codes that condemn the address (RFC 3463, RFC 7505): the same that SMTP answers DEAD with."""
_NOT_ITS_FAULT = re.compile(r"5\.(2\.3|3\.4|4\.1|[567]\.\d{1,3})")
"""Enhanced codes that blame the mail, its sender or the relay: too big, content, protocol, policy, authentication."""


class Action(Enum):
    """RFC 3464 §2.3.3."""

    FAILED = "failed"
    DELAYED = "delayed"
    DELIVERED = "delivered"
    RELAYED = "relayed"
    EXPANDED = "expanded"


_EVENTS = {
    Action.FAILED: Event.BOUNCED,
    Action.DELAYED: Event.DELAYED,
    Action.DELIVERED: Event.DELIVERED,
    Action.RELAYED: Event.ACCEPTED,
    Action.EXPANDED: Event.ACCEPTED,
}


@dataclass(frozen=True, slots=True)
class RecipientStatus:
    """What became of one recipient. `status` is the enhanced code, "" where there is none that can be read."""

    action: Action
    status: str
    final_recipient: str
    original_recipient: str = ""

    @property
    def news(self) -> News | None:
        """What a failure says of the address."""
        if self.action is not Action.FAILED or _NOT_ITS_FAULT.fullmatch(self.status):
            return None
        return News.HARD_BOUNCE if self.status in DEAD_STATUSES else News.SOFT_BOUNCE


@dataclass(frozen=True, slots=True)
class StatusNotification:
    """A whole notification.

    `message_id` is the original mail's, without angle brackets; `envelope_id` that of MAIL FROM.
    """

    recipients: tuple[RecipientStatus, ...]
    message_id: str = ""
    envelope_id: str = ""
    date: datetime | None = None

    def receipts(self) -> tuple[ProviderReceipt, ...]:
        """One receipt per recipient, for the delivery that the notification names. Whoever has a signed return path trusts
        that instead: anybody can write a notification."""
        return tuple(
            mail_receipt(
                _EVENTS[each.action],
                delivery_id=self.delivery_id,
                news=each.news,
                code=each.status or each.action.value,
                at=self.date,
                source=Source.BOUNCE_MAIL,
            )
            for each in self.recipients
        )

    @property
    def delivery_id(self) -> UUID | None:
        """The delivery that the envelope id or the original Message-ID names."""
        return delivery_id_of(self.envelope_id) or delivery_id_of(self.message_id)


class NotANotification(Malformed):
    """The mail is no delivery status notification: an answer from a person, an absence note, or over the limits."""


def parse(mail: bytes) -> StatusNotification:
    """The notification in a whole mail. Raises `NotANotification`, also for more than 512 KiB."""
    if len(mail) > MAX_BYTES:
        raise NotANotification("the mail is too big")
    found = _Found()
    head, _ = _split(mail)
    found.visit(mail, 0)
    if found.status is None:
        raise NotANotification("the mail has no delivery status")
    blocks = [_HEADERS.parsebytes(block) for block in _blocks(found.status)[: MAX_RECIPIENTS + 1]]
    recipients = tuple(status for block in blocks if (status := _recipient(block)))
    if not recipients:
        raise NotANotification("the delivery status names no recipient with an action")
    own = _HEADERS.parsebytes(head)
    return StatusNotification(
        recipients,
        message_id=_id(_HEADERS.parsebytes(found.returned)),
        envelope_id=_field(blocks[0], "Original-Envelope-Id"),
        date=_moment(_field(own, "Date")),
    )


class _Found:
    """The first delivery status and the first returned header of a mail."""

    def __init__(self) -> None:
        self.status: bytes | None = None
        self.returned = b""

    def visit(self, part: bytes, depth: int) -> None:
        head, body = _split(part)
        fields = _HEADERS.parsebytes(head)
        media_type = fields.get_content_type()
        if media_type in _STATUS_TYPES:
            self.status = self.status or body
        elif media_type in _RETURNED_TYPES and depth:
            self.returned = self.returned or _split(body)[0]
        elif media_type.startswith("multipart/") and depth < _MAX_DEPTH:
            boundary = fields.get_boundary()
            if boundary:
                for inner in _parts(body, boundary):
                    self.visit(inner, depth + 1)


def _split(part: bytes) -> tuple[bytes, bytes]:
    """Header and body, split at the first empty line; a part that begins with one has no header."""
    part = part.replace(b"\r\n", b"\n")
    if part.startswith(b"\n"):
        return b"", part[1:]
    head, _, body = part.partition(b"\n\n")
    return head + b"\n", body


def _parts(body: bytes, boundary: str) -> list[bytes]:
    delimiter = b"\n--" + boundary.encode("latin-1", "replace")
    # maxsplit bounds the work; what lies beyond the tenth part is not looked at.
    pieces = (b"\n" + body).split(delimiter, _MAX_PARTS + 1)[1 : _MAX_PARTS + 1]
    parts: list[bytes] = []
    for piece in pieces:
        if piece.startswith(b"--"):
            break
        parts.append(piece.partition(b"\n")[2])
    return parts


def _blocks(status: bytes) -> list[bytes]:
    return [block for block in re.split(rb"\n[ \t]*\n+", status.replace(b"\r\n", b"\n").strip()) if block.strip()]


def _recipient(fields: "Message[str, str]") -> RecipientStatus | None:
    try:
        action = Action(_field(fields, "Action").lower())
    except ValueError:
        return None
    status = _STATUS.search(_field(fields, "Status"))
    return RecipientStatus(
        action,
        status[0] if status else "",
        _typed(_field(fields, "Final-Recipient")),
        _typed(_field(fields, "Original-Recipient")),
    )


def _field(fields: "Message[str, str]", name: str) -> str:
    return " ".join(str(fields.get(name, ""))[:_MAX_FIELD].split())


def _typed(value: str) -> str:
    """What follows "rfc822;" or "smtp;"."""
    match = _TYPED.fullmatch(value)
    return match[1] if match else value


def _id(fields: "Message[str, str]") -> str:
    return _field(fields, "Message-ID").strip("<>")


def _moment(date: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
