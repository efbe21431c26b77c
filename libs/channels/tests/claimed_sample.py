"""A claimed delivery, as tests of the engine's parts vary it."""

from datetime import UTC, datetime
from uuid import UUID

from clarion_kit.vocabulary import Priority
from clarion_ledger.dispatching import Claimed

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CLAIMED = Claimed(
    delivery_id=UUID(int=1),
    notification_id=UUID(int=2),
    recipient_ref=UUID(int=3),
    address_id=UUID(int=4),
    app_id=1,
    lane_id=7,
    category_id=1,
    lease_gen=1,
    priority=Priority.NORMAL,
    attempt=1,
    max_attempts=3,
    at_most_once=False,
    ambiguous=False,
    expired=False,
    changed=False,
    planned_at=NOW,
    claimed_at=NOW,
    expire_at=NOW,
    collapse_key="",
    traceparent="",
    address=b"",
    content=b"",
)
