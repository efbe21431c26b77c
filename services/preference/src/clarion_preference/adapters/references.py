"""Recipients as the tables name them."""

from uuid import UUID

from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.sealing import recipient_reference

REQUEST_ROLE = "clarion_preference_request"
"""The database role of what a client asked for: it reaches one app's rows."""


def reference(app_id: int, recipient_id: str) -> UUID:
    """The reference of a client's id, whether anybody has it or not."""
    return UUID(bytes=recipient_reference(app_id, recipient_id))


def not_found(recipient_id: str) -> DomainError:
    """RECIPIENT_NOT_FOUND."""
    return DomainError(
        ErrorReason.RECIPIENT_NOT_FOUND, "there is no such recipient", metadata={"recipient_id": recipient_id}
    )
