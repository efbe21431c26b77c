"""Recipients in files: NDJSON (protobuf's JSON form, one a line) and CSV, read one record at a time. Pure.

A record that cannot be read is given with its reason and its own text, so that it can be repaired and imported again.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from google.protobuf.json_format import Parse, ParseError

from clarion.recipient.v1 import recipient_service_pb2 as pb
from clarion.types.v1 import address_pb2
from clarion_client import addresses

MAX_LINE_BYTES = 1 << 20
"""A longer line is no recipient; it is skipped without being held."""
MAX_REASON = 300
"""Characters of a reason: the parser may quote what it read."""
CSV_COLUMNS = ("recipient_id", "locale", "time_zone", "country", "phone", "mail", "ios_token", "android_token")


class BadHeader(ValueError):
    """The first line of a CSV file does not name columns that recipients have."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file; `number` counts from 1. A line over the limit has no text."""

    number: int
    text: str
    too_long: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One recipient, or the reason why there is none. `line` is where it starts; `text` is all of it, as it was."""

    line: int
    text: str
    recipient: pb.Recipient | None = None
    reason: str = ""


def lines(file: BinaryIO) -> Iterator[Line]:
    """Lines of a UTF-8 file without its byte order mark; bytes that are no UTF-8 are kept as surrogates."""
    number = 0
    while raw := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(raw) == MAX_LINE_BYTES and not raw.endswith(b"\n"):
            _skip_line(file)
            yield Line(number, "", too_long=True)
            continue
        text = raw.decode("utf-8", "surrogateescape")
        yield Line(number, text.removeprefix("\ufeff") if number == 1 else text)


def from_ndjson(source: Iterable[Line]) -> Iterator[Record]:
    """One record a line; empty lines are passed over."""
    for line in source:
        if line.too_long or line.text.strip():
            yield _from_json(line)


def from_csv(source: Iterable[Line]) -> Iterator[Record]:
    """One record a row of RFC 4180 CSV with a header of `CSV_COLUMNS`, in any order, not all needed.

    Raises BadHeader.
    """
    feed = _Feed(source)
    rows = csv.reader(feed, strict=True)
    try:
        header = next(rows, [])
    except csv.Error as fault:
        raise BadHeader(str(fault)) from None
    _check_header(header)
    feed.take()
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as fault:
            # The reader has dropped the row and starts afresh with the next line.
            number, text, _ = feed.take()
            yield Record(number, text, reason=str(fault))
            continue
        number, text, too_long = feed.take()
        if too_long:
            yield Record(number, "", reason=_too_long())
        elif row:
            yield _from_row(number, text, header, row)


class _Feed:
    """Hands lines to the CSV reader and keeps those of the row it is at; the reader's own limit bounds them."""

    def __init__(self, source: Iterable[Line]) -> None:
        self._source = iter(source)
        self._taken: list[Line] = []

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = next(self._source)
        self._taken.append(line)
        return line.text

    def take(self) -> tuple[int, str, bool]:
        """The row's first line number, its text, and whether one of its lines was too long."""
        taken, self._taken = self._taken, []
        number = taken[0].number if taken else 0
        return number, "".join(line.text for line in taken), any(line.too_long for line in taken)


def _from_json(line: Line) -> Record:
    if line.too_long:
        return Record(line.number, "", reason=_too_long())
    if reason := _text_fault(line.text):
        return Record(line.number, line.text, reason=reason)
    recipient = pb.Recipient()
    try:
        Parse(line.text, recipient)
    except ParseError as fault:
        return Record(line.number, line.text, reason=str(fault)[:MAX_REASON])
    return _checked(line.number, line.text, recipient)


def _from_row(number: int, text: str, header: Sequence[str], row: Sequence[str]) -> Record:
    if reason := _text_fault(text):
        return Record(number, text, reason=reason)
    if len(row) != len(header):
        return Record(number, text, reason=f"{len(row)} columns, the header has {len(header)}")
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    recipient = pb.Recipient(
        recipient_id=cells["recipient_id"],
        locale=cells.get("locale", ""),
        time_zone=cells.get("time_zone", ""),
        country=cells.get("country", ""),
        addresses=_addresses(cells),
    )
    return _checked(number, text, recipient)


def _addresses(cells: dict[str, str]) -> Iterator[address_pb2.Address]:
    makers: Mapping[str, Callable[[str], address_pb2.Address]] = {
        "phone": addresses.phone,
        "mail": addresses.mail,
        "ios_token": addresses.ios,
        "android_token": addresses.android,
    }
    for column, make in makers.items():
        if cell := cells.get(column):
            yield make(cell)


def _checked(number: int, text: str, recipient: pb.Recipient) -> Record:
    if not recipient.recipient_id:
        return Record(number, text, reason="recipient_id is empty")
    return Record(number, text, recipient)


def _check_header(header: Sequence[str]) -> None:
    unknown = sorted(set(header) - set(CSV_COLUMNS))
    if unknown or "recipient_id" not in header or len(set(header)) != len(header):
        raise BadHeader(
            f"the header must name recipient_id and any of {', '.join(CSV_COLUMNS[1:])}, each once"
            + (f"; not {', '.join(unknown)}" if unknown else "")
        )


def _text_fault(text: str) -> str:
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        return "not UTF-8"
    return "holds a NUL" if "\0" in text else ""


def _too_long() -> str:
    return f"longer than {MAX_LINE_BYTES} bytes"


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
        pass
