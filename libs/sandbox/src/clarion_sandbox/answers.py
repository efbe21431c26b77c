"""The answers a provider can give: one row each, from ``data/<provider>.toml``, found by the code addresses carry."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.resources import files

PROVIDERS = (
    "apns",
    "fcm",
    "google_token",
    "webpush",
    "smpp",
    "smtp",
    "huawei",
    "huawei_token",
    "twilio",
    "ses",
    "sendgrid",
)

_DATA_STAGE = "data-"
_LATER = "late-"
_SMTP_CODE = re.compile(r"(?:data-|late-)?([45]\d\d)-([245]\.\d{1,3}\.\d{1,3})")


class Special(StrEnum):
    """Ways of not answering that every protocol has."""

    HANG = "hang"
    """The request is forgotten and never answered."""
    CUT = "cut"
    """The connection is cut before anything is done."""
    LOST = "lost"
    """The message is accepted, the answer never comes: the outcome is unknown to the sender."""
    LOST_CUT = "lostcut"
    """The message is accepted, then the connection is cut instead of an answer."""


@dataclass(frozen=True, slots=True)
class Row:
    """One answer: the protocol's status number, the reason in the provider's words, and what else it carries."""

    code: str
    status: int
    reason: str
    detail: Mapping[str, object] = field(default_factory=dict)
    is_report: bool = False
    """The message is taken, and this is what is reported of it later."""

    @property
    def label(self) -> str:
        """How the ledger names this answer, for example ``410 Unregistered``."""
        return f"{self.status} {self.reason}"

    def text(self, name: str) -> str | None:
        """A text of the detail, None if absent."""
        value = self.detail.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        """A whole number of the detail, None if absent."""
        value = self.detail.get(name)
        return value if isinstance(value, int) else None


_SPECIALS = {special.value: special for special in Special}

Fate = Row | Special
"""What happens to a request instead of the ordinary success."""


class AnswerTable:
    """All answers of one provider, by code."""

    def __init__(
        self, rows: Mapping[str, Row], outage: str, unlisted: Callable[[str], Row | None] | None = None
    ) -> None:
        self._rows = rows
        self._unlisted = unlisted
        self._outage = outage

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def find(self, code: str) -> Fate | None:
        """The answer a code stands for; None if this provider has no such answer."""
        special = _SPECIALS.get(code)
        if special is not None:
            return special
        if code == "outage":
            code = self._outage
        row = self._rows.get(code)
        return row if row is not None or self._unlisted is None else self._unlisted(code)

    def row(self, code: str) -> Row:
        """A listed row.

        Raises:
            KeyError: there is none.
        """
        return self._rows[code]

    def by_reason(self, reason: str) -> Row:
        """The first row with this reason.

        Raises:
            LookupError: there is none.
        """
        for row in self._rows.values():
            if row.reason == reason:
                return row
        raise LookupError(f"no answer with reason {reason}")


def load(provider: str) -> AnswerTable:
    """The table of a provider of ``PROVIDERS``."""
    sections = _read(provider)
    if provider == "smpp":
        rows = {code: _row(code, smpp_status(code), entry) for code, entry in sections["rows"].items()}
        rows |= {code: _row(code, 0, entry, is_report=True) for code, entry in sections["receipts"].items()}
        return AnswerTable(rows, outage="008", unlisted=_unlisted_smpp)
    if provider == "smtp":
        rows = {code: _row(code, int(code[:3]), entry) for code, entry in sections["rows"].items()}
        return AnswerTable(rows, outage="421-4.3.2", unlisted=_smtp_fallback(rows))
    if provider == "twilio":
        rows = {code: _row(code, _status(entry), entry) for code, entry in sections["rows"].items()}
        rows |= {code: _row(code, 201, entry, is_report=True) for code, entry in sections["receipts"].items()}
        return AnswerTable(rows, outage="503")
    rows = {code: _row(code, int(code[:3]), entry) for code, entry in sections["rows"].items()}
    rows |= {code: _row(code, 200, entry, is_report=True) for code, entry in sections.get("receipts", {}).items()}
    return AnswerTable(rows, outage="5030")


def smpp_status(code: str) -> int:
    """The command_status of a three-digit code: decimal, or 4NN for 0x400 + NN."""
    number = int(code)
    return 0x400 + number - 400 if number >= 400 else number


def at_data_stage(row: Row) -> bool:
    """Whether an SMTP answer is given to the message instead of the recipient."""
    return row.code.startswith(_DATA_STAGE)


def bounces_later(row: Row) -> bool:
    """Whether the recipient is accepted and the SMTP answer comes back as a bounce mail."""
    return row.code.startswith(_LATER)


def _unlisted_smpp(code: str) -> Row | None:
    if re.fullmatch(r"0\d\d|1\d\d|2[0-4]\d|25[0-5]|4\d\d", code) is None or code == "000":
        return None
    return Row(code, smpp_status(code), "UNNAMED")


def _smtp_fallback(rows: Mapping[str, Row]) -> Callable[[str], Row | None]:
    def find(code: str) -> Row | None:
        match = _SMTP_CODE.fullmatch(code)
        if match is None:
            return None
        listed = rows.get(f"{match[1]}-{match[2]}")
        return Row(code, int(match[1]), listed.reason if listed else "Refused by request of the address")

    return find


def _read(provider: str) -> dict[str, dict[str, dict[str, object]]]:
    text = files("clarion_sandbox").joinpath(f"data/{provider}.toml").read_text("utf-8")
    return tomllib.loads(text)


def _status(entry: Mapping[str, object]) -> int:
    status = entry.get("status")
    if not isinstance(status, int):
        raise TypeError("a row has no status")
    return status


def _row(code: str, status: int, entry: Mapping[str, object], *, is_report: bool = False) -> Row:
    reason = entry.get("reason", entry.get("stat"))
    if not isinstance(reason, str):
        raise TypeError(f"row {code} has no reason")
    return Row(code, status, reason, entry, is_report)
