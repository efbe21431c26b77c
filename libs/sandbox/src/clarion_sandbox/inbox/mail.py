"""Mail as a mail reader shows it, whatever its bytes are.

Headers are decoded by hand: the parsing policies of ``email`` raise on some that people send. Facts: ``sender`` (display
name), ``attachments`` (how many).
"""

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import parseaddr

from clarion_sandbox.ledger import Arrival

from .shown import Shown

_MAX_HEADER_CHARACTERS = 2_000
_MAX_HEADERS = 200
_MAX_PARTS = 100
_MAX_DEPTH = 20
_PREVIEW_BYTES = 1 << 16
_PREVIEW_CHARACTERS = 1_000
MAX_BODY_BYTES = 1 << 20
_MAX_PICTURE_BYTES = 4 << 20
_PICTURES = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp"))
_CID = re.compile(r"cid:([^\s\"'<>)]{1,250})")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is not shown in the text."""

    name: str
    content_type: str
    size: int
    content_id: str = ""
    """What ``cid:`` in the HTML names it by."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail taken apart; bodies are cut at ``MAX_BODY_BYTES``."""

    headers: list[tuple[str, str]]
    text: str | None
    html: str | None
    attachments: list[Attachment]
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Pictures with a Content-ID, as ``data:`` URLs."""

    def html_with_pictures(self) -> str | None:
        """The HTML, its ``cid:`` pictures put in."""
        if self.html is None or not self.pictures:
            return self.html
        return _CID.sub(lambda match: self.pictures.get(match[1], match[0]), self.html)

    def header(self, name: str) -> str:
        """The first field of this name (lower case), empty without one."""
        return next((value for field, value in self.headers if field.lower() == name), "")


def shown(arrival: Arrival) -> Shown:
    """The summary of a mail, read from its first 64 KiB."""
    mail = read(arrival.content[:_PREVIEW_BYTES])
    name, address = parseaddr(mail.header("from"))
    preview = mail.text if mail.text is not None else _without_tags(mail.html or "")
    return Shown(
        address or arrival.attributes.get("sender", ""),
        mail.header("subject"),
        "",
        " ".join(preview[: 4 * _PREVIEW_CHARACTERS].split())[:_PREVIEW_CHARACTERS],
        {"sender": name or address, "attachments": len(mail.attachments)},
    )


def read(content: bytes) -> Mail:
    """Take a mail apart; what cannot be read is left out, and nothing raises."""
    try:
        message = message_from_bytes(content)
    except RecursionError:
        # The parser calls itself for each level of multiparts.
        message = BytesHeaderParser().parsebytes(content)
        return Mail(_headers(message), None, None, [])
    text: str | None = None
    html: str | None = None
    attachments: list[Attachment] = []
    pictures: dict[str, str] = {}
    picture_bytes = _MAX_PICTURE_BYTES
    for part in _leaves(message):
        kind, name = part.get_content_type(), part.get_filename()
        if name is None and part.get_content_disposition() != "attachment":
            if kind == "text/plain" and text is None:
                text = _body(part)
                continue
            if kind == "text/html" and html is None:
                html = _body(part)
                continue
        data, content_id = _payload(part), str(part.get("content-id", "")).strip().strip("<>")
        attachments.append(Attachment(_decoded(name or kind), kind, len(data), content_id))
        if content_id and kind in _PICTURES and len(data) <= picture_bytes:
            picture_bytes -= len(data)
            pictures[content_id] = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return Mail(_headers(message), text, html, attachments, pictures)


def _leaves(message: Message) -> Iterator[Message]:
    """Parts that are no containers, the first hundred of them; a forwarded mail is one."""
    found = 0
    pending = [(message, 0)]
    while pending and found < _MAX_PARTS:
        part, level = pending.pop(0)
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list) and level < _MAX_DEPTH:
            pending[:0] = [(inner, level + 1) for inner in payload if isinstance(inner, Message)]
        else:
            found += 1
            yield part


def _body(part: Message) -> str:
    data = _payload(part)[:MAX_BODY_BYTES]
    try:
        return data.decode(part.get_content_charset() or "utf-8", "replace")
    except LookupError:
        return data.decode("utf-8", "replace")


def _payload(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _headers(message: Message) -> list[tuple[str, str]]:
    # raw_items: bytes beyond ASCII as they came, not yet made into Header objects.
    fields = list(message.raw_items())[:_MAX_HEADERS]
    return [(name, _decoded(str(value))[:_MAX_HEADER_CHARACTERS]) for name, value in fields]


def _decoded(value: str) -> str:
    """Unfolded, UTF-8 (RFC 6532) and encoded words (RFC 2047) read; what cannot be read stays as it is."""
    value = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    value = "".join(value.splitlines())
    try:
        return str(make_header(decode_header(value)))
    except (LookupError, ValueError, MessageError):
        return value


def _without_tags(html: str) -> str:
    """A rough preview; the page shows it as text only."""
    text, inside = [], False
    for character in html[: 16 * _PREVIEW_CHARACTERS]:
        if character in "<>":
            inside = character == "<"
            text.append(" ")
        elif not inside:
            text.append(character)
    return "".join(text)
