"""What handlers take and give, free of the server that carries it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from clarion_sandbox.answers import Special

Headers = list[tuple[str, str]]


class HeaderMap(Protocol):
    """Request headers by lower-case name."""

    def get(self, key: str, default: str | None = None, /) -> str | None:
        """The value of a header."""


@dataclass(slots=True)
class Request:
    """One request, its body read."""

    method: str
    path: str
    query: str
    authority: str
    headers: HeaderMap
    body: bytes


class Reply(NamedTuple):
    """An answer to write."""

    status: int
    headers: Headers
    body: bytes = b""


Outcome = Reply | Special
"""An answer, or the way in which none is given (``HANG`` or ``CUT``)."""


class Handler(Protocol):
    """One provider's door."""

    async def __call__(self, request: Request) -> Outcome:
        """Check, record, answer."""


def json_reply(status: int, document: Mapping[str, object], headers: Headers | None = None) -> Reply:
    """A reply with a JSON body."""
    fields: Headers = [("content-type", "application/json; charset=UTF-8")]
    return Reply(status, fields + (headers or []), json.dumps(document, ensure_ascii=False).encode())


def silence(fate: Special) -> Special:
    """How the connection behaves once the message has been dealt with."""
    return Special.HANG if fate in (Special.HANG, Special.LOST) else Special.CUT


def is_lost(fate: object) -> bool:
    """Whether the message is accepted although no answer is given."""
    return fate is Special.LOST or fate is Special.LOST_CUT
