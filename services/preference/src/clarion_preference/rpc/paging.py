"""Tokens of pages: where the next one begins, opaque to clients."""

import base64
import binascii
from collections.abc import Callable
from typing import TypeVar

from clarion_kit.validate import Faults

MAX_PAGE = 500
DEFAULT_PAGE = 50

Place = TypeVar("Place")


def read_size(faults: Faults, page_size: int) -> int:
    """The size of a page of 1-500, 50 if it is not told."""
    faults.require("page_size", page_size <= MAX_PAGE, f"at most {MAX_PAGE}")
    return page_size or DEFAULT_PAGE


def to_token(place: bytes) -> str:
    return base64.urlsafe_b64encode(place).decode()


def read_token(faults: Faults, token: str, reader: Callable[[bytes], Place]) -> Place | None:
    """The place of a token; None for the first page. `reader` raises ValueError for what is none of its places."""
    if not token:
        return None
    try:
        return reader(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        faults.add("page_token", "not a token of this service")
        return None
