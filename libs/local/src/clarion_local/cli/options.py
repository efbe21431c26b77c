"""Options that several commands have, and how their texts are read."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from google.protobuf import json_format
from google.protobuf.message import Message

from clarion.types.v1.time_pb2 import SendWindow
from clarion_client import Channel, JsonValue, Priority
from clarion_local.cli import moments
from clarion_local.cli.failures import UsageFault

T = TypeVar("T")
MessageT = TypeVar("MessageT", bound=Message)


class ChannelName(StrEnum):
    """Channels as they are typed."""

    IOS = "ios"
    ANDROID = "android"
    WEB = "web"
    SMS = "sms"
    EMAIL = "email"

    @property
    def channel(self) -> Channel:
        return Channel[self.name]


class PriorityName(StrEnum):
    """Priorities as they are typed."""

    URGENT = "urgent"
    NORMAL = "normal"
    BULK = "bulk"

    @property
    def priority(self) -> Priority:
        return Priority[self.name]


def _typed(read: Callable[[str], T]) -> Callable[[str], T]:
    """`read` for an option: what it raises names the option."""

    def parse(text: str) -> T:
        try:
            return read(text)
        except ValueError as fault:
            raise typer.BadParameter(str(fault)) from None

    return parse


AHEAD = _typed(lambda text: moments.ahead(text, datetime.now(UTC)))
AGO = _typed(lambda text: moments.ago(text, datetime.now(UTC)))
SinceOption = Annotated[
    datetime | None, typer.Option(parser=AGO, metavar="AGO|TIME", help="24h, 7d, or ISO 8601 with an offset.")
]


_WINDOW = re.compile(r"([0-9]{2}:[0-9]{2})-([0-9]{2}:[0-9]{2})(?:/([1-7](?:,[1-7])*))?")


def _send_window(text: str) -> SendWindow:
    """ "09:00-21:00", with days "09:00-21:00/1,2,3". Raises ValueError."""
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no window such as 09:00-21:00 or 09:00-21:00/1,2,3,4,5 (Monday is 1)")
    days = [int(day) for day in (found[3] or "").split(",") if day]
    return SendWindow(opens=found[1], closes=found[2], weekdays=days)


WindowOption = Annotated[
    SendWindow | None,
    typer.Option(
        "--window",
        parser=_typed(_send_window),
        metavar="FROM-TO[/DAYS]",
        help="Only in this span by each recipient's clock, e.g. 09:00-21:00/1,2,3,4,5.",
    ),
]


def json_object(text: str, source: str) -> dict[str, JsonValue]:
    """A JSON object. Raises UsageFault that names `source` and not the text."""
    try:
        document = json.loads(text)
    except ValueError as fault:
        raise UsageFault(f"{source} is not JSON: {fault}") from None
    if not isinstance(document, dict):
        raise UsageFault(f"{source} is no JSON object")
    return document


def read_text(path: Path) -> str:
    """A file's text. Raises UsageFault."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageFault(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageFault(f"{path} is not UTF-8") from None


def from_json(text: str, into: MessageT, source: str) -> MessageT:
    """A message of the contract from its JSON form. Raises UsageFault that names `source` and the fault."""
    try:
        return json_format.Parse(text, into)
    except json_format.ParseError as fault:
        raise UsageFault(f"{source}: {fault}") from None
