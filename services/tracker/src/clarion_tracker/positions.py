"""Places in the feed of events, and the cursors that clients hold of them. Pure.

A place is (transaction id, sequence number): what a transaction wrote becomes readable only when every older one has ended,
so nothing can appear before a place that was passed.
"""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from clarion_kit.errors import DomainError, ErrorReason

_FIELDS = struct.Struct(">BIQQq")
_VERSION = 1
_DIGEST_BYTES = 7
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_BIGINT = (1 << 63) - 1
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


class Fault(StrEnum):
    """What is wrong with a cursor, as callers are told it."""

    MALFORMED = "malformed"
    OTHER_APP = "other_app"
    FUTURE = "future"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Everything up to and with (xid, seq) is done. `at`: nothing that follows happened long before (database clock)."""

    xid: int
    seq: int
    at: datetime = field(compare=False)


def cursor_of(app_id: int, position: Position) -> str:
    """48 characters of base64url. The digest finds damage; it is no secret, since a cursor gives no right to anything."""
    micros = (position.at - _EPOCH) // timedelta(microseconds=1)
    fields = _FIELDS.pack(_VERSION, app_id, position.xid, position.seq, micros)
    return base64.urlsafe_b64encode(fields + _digest(fields)).decode()


def parse_cursor(app_id: int, cursor: str) -> Position:
    """Raises DomainError CURSOR_INVALID."""
    try:
        raw = base64.b64decode(cursor.encode("ascii"), b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise invalid(Fault.MALFORMED) from None
    fields, digest = raw[: _FIELDS.size], raw[_FIELDS.size :]
    if len(fields) != _FIELDS.size or digest != _digest(fields) or fields[0] != _VERSION:
        raise invalid(Fault.MALFORMED)
    _, owner, xid, seq, micros = _FIELDS.unpack(fields)
    if max(xid, seq) > _MAX_BIGINT or not 0 <= micros < (_LATEST - _EPOCH) // timedelta(microseconds=1):
        raise invalid(Fault.MALFORMED)
    if owner != app_id:
        raise invalid(Fault.OTHER_APP)
    return Position(xid, seq, _EPOCH + timedelta(microseconds=micros))


def invalid(fault: Fault) -> DomainError:
    return DomainError(ErrorReason.CURSOR_INVALID, f"the cursor is of no use: {fault}", metadata={"fault": fault})


def expired(oldest: datetime) -> DomainError:
    return DomainError(
        ErrorReason.CURSOR_EXPIRED,
        "what followed the cursor is no longer kept; begin anew without one",
        metadata={"oldest": oldest.isoformat()},
    )


def _digest(fields: bytes) -> bytes:
    return hashlib.sha256(b"clarion feed cursor\0" + fields).digest()[:_DIGEST_BYTES]
