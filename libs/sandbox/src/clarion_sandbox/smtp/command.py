"""Command lines of SMTP, parsed (RFC 5321 §4.1, RFC 6531 for addresses beyond ASCII)."""

import re
from collections.abc import Mapping
from typing import NamedTuple

_PATH = re.compile(r"\s*<(?:@[^:>]*:)?([^<>]*)>((?:\s+[^\s]+)*)\s*")
_MAILBOX = re.compile(r'(?:[^\s@<>"(),:;\\\[\]]+|"(?:[^"\\\r\n]|\\.)+")@(?:[^\s@<>.]+(?:\.[^\s@<>.]+)*|\[[^\]\s]+\])')
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_ESCAPED = re.compile(r"\+([0-9A-F]{2})")
_NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*")
_MAX_ENVELOPE_ID = 100
_MAX_ORIGINAL_RECIPIENT = 500
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


def envelope_id(parameters: Mapping[str, str]) -> str:
    """ENVID of MAIL (RFC 3461 §4.4), decoded; empty if there is none.

    Raises:
        SyntaxFault: no xtext, too long, or RET is neither FULL nor HDRS.
    """
    if parameters.get("RET", "FULL").upper() not in ("FULL", "HDRS"):
        raise SyntaxFault(501, "5.5.4 RET is FULL or HDRS")
    return _xtext("ENVID", parameters.get("ENVID", ""), _MAX_ENVELOPE_ID)


def original_recipient(parameters: Mapping[str, str]) -> str:
    """ORCPT of RCPT (RFC 3461 §4.2), ``type;address`` decoded; empty if there is none.

    Raises:
        SyntaxFault: not of this form, or too long.
    """
    given = parameters.get("ORCPT", "")
    kind, _, address = given.partition(";")
    if given and not (kind and address):
        raise SyntaxFault(501, "5.5.4 ORCPT is type;address")
    return _xtext("ORCPT", given, _MAX_ORIGINAL_RECIPIENT)


def notify(parameters: Mapping[str, str]) -> frozenset[str]:
    """NOTIFY of RCPT (RFC 3461 §4.1): which of SUCCESS, FAILURE and DELAY the sender wants to hear of.

    Raises:
        SyntaxFault: another word, or NEVER beside others.
    """
    given = parameters.get("NOTIFY", "FAILURE,DELAY").upper()
    if _NOTIFY.fullmatch(given) is None:
        raise SyntaxFault(501, "5.5.4 NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY")
    return frozenset(given.split(",")) - {"NEVER"}


def _xtext(name: str, value: str, limit: int) -> str:
    if len(value) > limit or _XTEXT.fullmatch(value) is None:
        raise SyntaxFault(501, f"5.5.4 {name} is no xtext of at most {limit} characters")
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value)


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
