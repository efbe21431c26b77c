"""What an SMTP reply means. Pure: text in, `Result` out."""

import re
from dataclasses import dataclass
from datetime import timedelta

from clarion_channels.errortable import ErrorTable
from clarion_channels.excerpt import excerpt
from clarion_channels.outcome import Outcome, Result

GREYLIST_FLOOR = timedelta(minutes=5)
"""Servers that greylist refuse a second try that comes sooner."""

_GREYLIST = frozenset({"4.2.0", "4.7.1"})
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")
_ADDRESS = re.compile(r"\S+@\S+")
_SPAM = re.compile(r"\bspam|junk|unsolicited|reputation", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply: three-digit code, and its lines without the code, joined by line feeds."""

    code: int
    text: str

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300


def classify(table: ErrorTable, reply: Reply) -> Result:
    """The result of a final reply: a 2xx is ACCEPTED with its text as the provider's message id."""
    enhanced, text = _split(reply.text)
    if reply.positive:
        return Result(Outcome.ACCEPTED, code=str(reply.code), provider_message_id=_clean(text))
    reason = f"{enhanced}:spam" if enhanced == "5.7.1" and _SPAM.search(text) else enhanced
    verdict = table.lookup(reply.code, reason)
    return Result(
        verdict.outcome,
        code=verdict.code(reply.code, reason),
        detail=_clean(text),
        retry_after=GREYLIST_FLOOR if enhanced in _GREYLIST and verdict.outcome is Outcome.RETRY else None,
    )


def _split(text: str) -> tuple[str, str]:
    """The enhanced status code (RFC 2034), empty where none is given, and the text without it."""
    match = _ENHANCED.match(text)
    if match is None:
        return "", text
    return match[1], " ".join(_ENHANCED.sub("", line, count=1) for line in text.splitlines())


def _clean(text: str) -> str:
    return excerpt(_ADDRESS.sub("(address)", text))
