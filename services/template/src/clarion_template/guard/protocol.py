"""What the guarded child is asked and what it answers: JSON behind a length of 4 bytes, big-endian."""

import json
import struct
from dataclasses import dataclass
from enum import Enum
from typing import cast

from clarion_template.source.engine import Data
from clarion_template.source.sheet import Failure, RenderFault

LENGTH = struct.Struct("!I")
MAX_FRAME_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """Render one source; `worst` adds runs with inflated data, whose result does not matter but whose end does."""

    source: str
    html: bool
    data: Data
    worst: bool
    locale: str = ""
    zone: str = ""


class Into(Enum):
    """What a source is made into: MJML into HTML, HTML into a text."""

    HTML = "html"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Conversion:
    """Turn a source of one markup into one of another, its constructs kept."""

    into: Into
    source: str


def pack(value: object) -> bytes:
    """One frame."""
    body = json.dumps(value, ensure_ascii=True).encode()
    return LENGTH.pack(len(body)) + body


def request_to_frame(request: Request | Conversion) -> bytes:
    if isinstance(request, Conversion):
        return pack([request.into.value, request.source])
    return pack([request.source, request.html, request.data, request.worst, request.locale, request.zone])


def request_from_body(body: bytes) -> Request | Conversion:
    fields = json.loads(body)
    if len(fields) == 2:
        return Conversion(Into(fields[0]), fields[1])
    source, html, data, worst, locale, zone = fields
    return Request(source, html, data, worst, locale, zone)


def fault_to_frame(fault: RenderFault) -> bytes:
    return pack([fault.failure.name, fault.message, list(fault.variables), fault.line])


def answer_from_body(body: bytes) -> str:
    """The rendered text. Raises the RenderFault that the child met."""
    answer = json.loads(body)
    if isinstance(answer, str):
        return answer
    failure, message, variables, line = cast(tuple[str, str, list[str], int], tuple(answer))
    raise RenderFault(Failure[failure], message, variables, line)
