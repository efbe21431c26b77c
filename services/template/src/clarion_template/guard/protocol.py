"""What the guarded child is asked and what it answers: JSON behind a length of 4 bytes, big-endian."""

import json
import struct
from dataclasses import dataclass
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


def pack(value: object) -> bytes:
    """One frame."""
    body = json.dumps(value, ensure_ascii=True).encode()
    return LENGTH.pack(len(body)) + body


def request_to_frame(request: Request) -> bytes:
    return pack([request.source, request.html, request.data, request.worst])


def request_from_body(body: bytes) -> Request:
    source, html, data, worst = json.loads(body)
    return Request(source, html, data, worst)


def fault_to_frame(fault: RenderFault) -> bytes:
    return pack([fault.failure.name, fault.message, list(fault.variables), fault.line])


def answer_from_body(body: bytes) -> str:
    """The rendered text. Raises the RenderFault that the child met."""
    answer = json.loads(body)
    if isinstance(answer, str):
        return answer
    failure, message, variables, line = cast(tuple[str, str, list[str], int], tuple(answer))
    raise RenderFault(Failure[failure], message, variables, line)
