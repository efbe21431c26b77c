"""Variable envelope return paths: each mail's bounces name its delivery."""

import re
from uuid import UUID

_RETURN_PATH = re.compile(r"b\+([0-9a-f]{32})@[^@]+", re.IGNORECASE)


def return_path(delivery_id: UUID, domain: str) -> str:
    """The envelope sender of one delivery: `b+<32 hex digits>@<domain>`."""
    return f"b+{delivery_id.hex}@{domain}"


def delivery_of(address: str) -> UUID | None:
    """The delivery that a bounce to `address` is about, or None when it is no return path of ours."""
    match = _RETURN_PATH.fullmatch(address)
    return UUID(hex=match[1]) if match else None
