"""Notifications as the gateway hands them to the ledger, for what is tried on the ledger alone."""

from datetime import timedelta

from clarion_kit.vocabulary import Priority
from clarion_ledger.accept import AcceptItem


def item(app_id: int, category_id: int, event_id: str) -> AcceptItem:
    """A notification that waits for the pump."""
    return AcceptItem(
        app_id=app_id,
        event_id=event_id,
        payload_hash=event_id.encode().ljust(32, b"."),
        category_id=category_id,
        priority=Priority.NORMAL,
        recipient_count=1,
        deliver_at=None,
        expire_at=None,
        time_to_live=timedelta(hours=1),
        payload=b"sealed",
        traceparent="",
        enqueue=False,
    )
