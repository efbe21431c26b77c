"""Pages of listings: newest first, resumed by the id of the last row."""

import base64
from uuid import UUID

from clarion_kit.errors import FieldFault, invalid_fields
from clarion_ledger.reading import MAX_UUID

DEFAULT_PAGE = 50
MAX_PAGE = 500


def page_size(wanted: int) -> int:
    """Raises INVALID_FIELD."""
    if wanted > MAX_PAGE:
        raise invalid_fields([FieldFault("page_size", f"at most {MAX_PAGE}")])
    return wanted or DEFAULT_PAGE


def page_token(last: UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).decode()


def parse_page_token(token: str) -> UUID:
    """The id to go on below; above every id for the first page. Raises INVALID_FIELD."""
    if not token:
        return MAX_UUID
    try:
        return UUID(bytes=base64.urlsafe_b64decode(token))
    except ValueError:
        raise invalid_fields([FieldFault("page_token", "not a token of this service")]) from None
