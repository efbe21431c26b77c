"""Pages of listings, and times and ids of the contract."""

import base64
from binascii import Error
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from clarion_kit.errors import FieldFault, invalid_fields

DEFAULT_PAGE = 50
MAX_PAGE = 500


def page_size(wanted: int) -> int:
    """Raises INVALID_FIELD."""
    if wanted > MAX_PAGE:
        raise invalid_fields([FieldFault("page_size", f"at most {MAX_PAGE}")])
    return wanted or DEFAULT_PAGE


def page_token(last: bytes) -> str:
    """A token for whatever comes behind `last`."""
    return base64.urlsafe_b64encode(last).decode()


def parse_page_token(token: str) -> bytes:
    """What `page_token` was given. Raises INVALID_FIELD."""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True)
    except (Error, ValueError):
        raise invalid_fields([FieldFault("page_token", "not a token of this service")]) from None


def uuid(field: str, text: str) -> UUID:
    """Raises INVALID_FIELD."""
    try:
        return UUID(text)
    except ValueError:
        raise invalid_fields([FieldFault(field, "not a UUID")]) from None


def timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp
