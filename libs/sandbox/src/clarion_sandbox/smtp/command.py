"""Command lines of SMTP, parsed (RFC 5321 §4.1, RFC 6531 for addresses beyond ASCII)."""

import re
from typing import NamedTuple

_PATH = re.compile(r"\s*<(?:@[^:>]*:)?([^<>]*)>((?:\s+[^\s]+)*)\s*")
_MAILBOX = re.compile(r'(?:[^\s@<>"(),:;\\\[\]]+|"(?:[^"\\\r\n]|\\.)+")@(?:[^\s@<>.]+(?:\.[^\s@<>.]+)*|\[[^\]\s]+\])')
_MAX_LOCAL_BYTES = 64
_MAX_MAILBOX_BYTES = 254


class SyntaxFault(Exception):
    """The argument is not what the command takes; carries the reply ``code`` and text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Path(NamedTuple):
    """A mailbox (empty for the null sender) and the parameters after it, names in upper case."""

    mailbox: str
    parameters: dict[str, str]


def parse_path(argument: str, keyword: str) -> Path:
    """The argument of MAIL (``FROM:``) or RCPT (``TO:``).

    Raises:
        SyntaxFault: not ``keyword<path> parameters``.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise SyntaxFault(501, f"5.5.4 Syntax: {keyword}<address>")
    match = _PATH.fullmatch(argument[len(keyword) :])
    if match is None:
        raise SyntaxFault(501, f"5.5.4 Syntax: {keyword}<address>")
    parameters: dict[str, str] = {}
    for word in match[2].split():
        name, _, value = word.partition("=")
        parameters[name.upper()] = value
    return Path(match[1], parameters)


def check_mailbox(mailbox: str, *, utf8: bool) -> None:
    """Refuse what is no deliverable address.

    Raises:
        SyntaxFault: bad syntax, too long, or beyond ASCII without SMTPUTF8.
    """
    if not utf8 and not mailbox.isascii():
        raise SyntaxFault(553, "5.6.7 Address needs SMTPUTF8")
    local, _, _ = mailbox.rpartition("@")
    if (
        _MAILBOX.fullmatch(mailbox) is None
        or len(local.encode()) > _MAX_LOCAL_BYTES
        or len(mailbox.encode()) > _MAX_MAILBOX_BYTES
    ):
        raise SyntaxFault(553, "5.1.3 Bad mailbox address syntax")
