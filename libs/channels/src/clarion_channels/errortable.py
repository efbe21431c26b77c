"""Error tables: each vendor's codes and what they mean, kept as TOML data beside the provider.

A file looks like this; ranges are inclusive and ordered, the first that fits wins:

    version = 1
    source = "where the codes are documented"

    [[row]]
    statuses = [410]                          # left out: the reasons count whatever the status
    reasons = ["Unregistered", "ExpiredToken"]    # left out: the status counts whatever the reason
    outcome = "DEAD"
    address = "opted_out"                     # mostly left out: what the code says of the address beside its outcome
    note = "why, or what a person should do"

    [[default]]
    first = 400
    last = 499
    outcome = "BAD"
    note = "what an unlisted code in this range is taken for"
"""

import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from clarion_channels.outcome import Outcome
from clarion_channels.receipt import News

MAX_CODE_LENGTH = 64
UNLISTED_PREFIX = "unlisted:"
"""Starts `Result.code` when the vendor's code is in no table, so that unknown codes can be counted and alerted."""

_TABLES = "clarion_channels.providers.tables"
_UNSAFE = re.compile(r"[^A-Za-z0-9_.:/-]+")


class AddressWord(StrEnum):
    """What a code says of the address, where its outcome alone does not."""

    OPTED_OUT = "opted_out"
    """Its owner wants no messages of this sender: suppressed, not disabled."""
    AWAY = "away"
    """It is good and was not reached this time: a soft bounce."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of one answer. `listed` is False when only a range default (or nothing) fitted."""

    outcome: Outcome
    listed: bool
    note: str = ""
    address: AddressWord | None = None

    @property
    def opted_out(self) -> bool:
        return self.address is AddressWord.OPTED_OUT

    @property
    def news(self) -> News | None:
        """What it is for the address where it comes in a receipt."""
        if self.opted_out:
            return News.STOPPED
        if self.outcome is Outcome.DEAD:
            return News.DEAD
        return News.SOFT_BOUNCE if self.address is AddressWord.AWAY else None

    def code(self, *parts: str | int) -> str:
        """`Result.code` for this answer: the parts joined by ":", made safe and cut to 64 characters."""
        text = _UNSAFE.sub("_", ":".join(str(part) for part in parts if part != ""))
        return (text if self.listed else UNLISTED_PREFIX + text)[:MAX_CODE_LENGTH]


def _outcome(value: object) -> object:
    return Outcome[value] if isinstance(value, str) and value in Outcome.__members__ else value


_OutcomeName = Annotated[Outcome, BeforeValidator(_outcome)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Row(_Strict):
    statuses: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()
    outcome: _OutcomeName
    address: AddressWord | None = None
    note: str = ""

    @model_validator(mode="after")
    def _selects_something(self) -> Self:
        if not self.statuses and not self.reasons:
            raise ValueError("a row needs statuses, reasons or both")
        if self.address is AddressWord.OPTED_OUT and self.outcome is not Outcome.DEAD:
            raise ValueError("who opted out gets nothing: the outcome is DEAD")
        return self


class _Default(_Strict):
    first: int
    last: int
    outcome: _OutcomeName
    note: str = ""


class _File(_Strict):
    version: int = Field(ge=1)
    source: str = Field(min_length=1)
    row: tuple[_Row, ...]
    default: tuple[_Default, ...] = ()


class ErrorTable:
    """One vendor's codes. Build it with `load` or `parse`."""

    def __init__(self, name: str, document: _File) -> None:
        self.name = name
        self.version = document.version
        self.source = document.source
        self._defaults = document.default
        self._verdicts: dict[tuple[int | None, str | None], Verdict] = {}
        for row in document.row:
            verdict = Verdict(row.outcome, listed=True, note=row.note, address=row.address)
            for status in row.statuses or (None,):
                for reason in row.reasons or (None,):
                    if (status, reason) in self._verdicts:
                        raise ValueError(f"{name}: status {status}, reason {reason} is listed twice")
                    self._verdicts[status, reason] = verdict

    def lookup(self, status: int, reason: str = "") -> Verdict:
        """What (status, reason) means; the most specific row wins.

        Order: status and reason, reason alone, status alone, the first range default that holds the status, RETRY.
        """
        for key in ((status, reason), (None, reason), (status, None)):
            verdict = self._verdicts.get(key)
            if verdict is not None:
                return verdict
        for default in self._defaults:
            if default.first <= status <= default.last:
                return Verdict(default.outcome, listed=False, note=default.note)
        return Verdict(Outcome.RETRY, listed=False, note="in no range of the table")


def load(name: str, package: str = _TABLES) -> ErrorTable:
    """Read `<name>.toml` from a package's resources; a provider of another distribution names its own package.

    Raises `FileNotFoundError`, and `ValueError` (also `pydantic.ValidationError`) when the file breaks the format.
    """
    return parse(name, files(package).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def parse(name: str, text: str) -> ErrorTable:
    """A table from its TOML text; raises `ValueError` when the text breaks the format."""
    return ErrorTable(name, _File.model_validate(tomllib.loads(text)))
