"""Header fields of a mail (RFC 5322, RFC 2047, RFC 2369, RFC 8058), safe whatever the values hold."""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_PLAIN = re.compile(r"[ -~]*")
_ATOMS = re.compile(r"[A-Za-z0-9 !#$%&'*+/^_`{|}~-]*")
_ADDRESS = re.compile(r"[!#-'*+\-/-9=?A-Z^-~]+(?:\.[!#-'*+\-/-9=?A-Z^-~]+)*@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_URI = re.compile(r"(?:https|mailto):[!-;=?-~]+")

_MAX_UNFOLDED = 60
"""Longer values are folded, which only encoded words allow at any place; 78 is RFC 5322's wish for a whole line."""

_ENCODED_WORD_BYTES = 39
"""UTF-8 bytes in one encoded word: 52 of base64 and 12 around it, beside the longest field name within 78."""


class HeaderError(ValueError):
    """A header value that must not be sent; the text names the field and the fault, never the value."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name shown beside it. The address is ASCII: RFC 5321's Dot-string @ Domain."""

    address: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class MailHeaders:
    """What of a mail's header is not content.

    `message_id` comes without angle brackets. `date` is aware. `unsubscribe` holds https and mailto URIs; `one_click`
    says that the https one takes RFC 8058's POST, and counts for nothing without an https one.
    """

    sender: Mailbox
    recipient: Mailbox
    date: datetime
    message_id: str
    unsubscribe: Sequence[str] = ()
    one_click: bool = False


def render(headers: MailHeaders, subject: str) -> bytes:
    """The header fields, each ended by CRLF, without MIME fields and without the empty line. Raises `HeaderError`."""
    lines = [
        f"From: {_mailbox('From', headers.sender)}",
        f"To: {_mailbox('To', headers.recipient)}",
        f"Subject: {_unstructured('Subject', subject)}",
        f"Date: {_date(int(headers.date.timestamp()))}",
        f"Message-ID: <{_address('Message-ID', headers.message_id)}>",
    ]
    lines += (f"{name}: {value}" for name, value in unsubscribe_fields(headers, separator=",\r\n ").items())
    lines.append("")
    return "\r\n".join(lines).encode("ascii")


def unsubscribe_fields(headers: MailHeaders, *, separator: str = ", ") -> dict[str, str]:
    """`List-Unsubscribe` (RFC 2369) and, for one click, `List-Unsubscribe-Post` (RFC 8058 §3.1). Raises `HeaderError`."""
    if not headers.unsubscribe:
        return {}
    uris = [_uri("List-Unsubscribe", uri) for uri in headers.unsubscribe]
    fields = {"List-Unsubscribe": separator.join(f"<{uri}>" for uri in uris)}
    if headers.one_click and any(uri.startswith("https:") for uri in uris):
        fields["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return fields


def check_address(field: str, address: str) -> str:
    """`address` itself when it is safe in headers and envelopes; raises `HeaderError` naming `field`."""
    return _address(field, address)


@lru_cache(maxsize=8)
def _date(seconds: int) -> str:
    """Of a Unix time: the same for all mails of a second."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC))


def _mailbox(field: str, mailbox: Mailbox) -> str:
    address = _address(field, mailbox.address)
    if not mailbox.name:
        return address
    phrase = _phrase(field, mailbox.name)
    fold = " " if len(phrase) + len(address) <= _MAX_UNFOLDED else "\r\n "
    return f"{phrase}{fold}<{address}>"


def _phrase(field: str, name: str) -> str:
    _refuse_controls(field, name)
    if len(name) > _MAX_UNFOLDED or "=?" in name or not _PLAIN.fullmatch(name):
        return _encoded_words(name)
    if _ATOMS.fullmatch(name) and name.strip() == name and "  " not in name:
        return name
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _unstructured(field: str, value: str) -> str:
    _refuse_controls(field, value)
    if len(value) <= _MAX_UNFOLDED and "=?" not in value and _PLAIN.fullmatch(value) and value.strip() == value:
        return value
    return _encoded_words(value)


def _address(field: str, address: str) -> str:
    if len(address) > 254 or not _ADDRESS.fullmatch(address):
        raise HeaderError(f"{field}: not an ASCII address of the form local@domain within 254 bytes")
    return address


def _uri(field: str, uri: str) -> str:
    if len(uri) > 900 or not _URI.fullmatch(uri):
        raise HeaderError(f"{field}: not an https or mailto URI within 900 bytes")
    return uri


def _refuse_controls(field: str, value: str) -> None:
    if _CONTROL.search(value):
        raise HeaderError(f"{field}: holds a line break or another control character")


def _encoded_words(value: str) -> str:
    """RFC 2047 B words, folded, none of which ends inside a character."""
    data = value.encode()
    words: list[str] = []
    start = 0
    while start < len(data):
        end = min(start + _ENCODED_WORD_BYTES, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        words.append(f"=?utf-8?B?{b64encode(data[start:end]).decode('ascii')}?=")
        start = end
    return "\r\n ".join(words)
