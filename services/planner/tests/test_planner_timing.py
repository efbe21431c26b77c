"""When a notification may go by its recipient's clock: its own window, else its category's."""

from datetime import UTC, datetime, time

import pytest

from clarion.notification.v1.notification_service_pb2 import Notification
from clarion.types.v1.time_pb2 import SendWindow
from clarion_ledger.config import CategoryRule
from clarion_ledger.scheduling import Window
from clarion_planner.timing import not_before

OFFICE = CategoryRule(1, 1, "office", send_window=Window(time(9), time(17), frozenset(range(1, 8))))
ANY_TIME = CategoryRule(2, 1, "news")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def moment(notification: Notification, category: CategoryRule, zone: str) -> datetime | None:
    found = not_before(notification, category)
    assert found is not None
    return found(zone, NOON)


@pytest.mark.parametrize(
    ("zone", "opens"),
    [
        ("Europe/London", None),
        ("Asia/Seoul", datetime(2026, 3, 3, 0, tzinfo=UTC)),
        ("America/Los_Angeles", datetime(2026, 3, 2, 17, tzinfo=UTC)),
    ],
)
def test_window_of_the_category_opens_by_each_recipients_clock(zone: str, opens: datetime | None) -> None:
    assert moment(Notification(), OFFICE, zone) == opens


def test_window_of_the_notification_goes_before_that_of_its_category() -> None:
    notification = Notification(send_window=SendWindow(opens="20:00", closes="22:00"))

    assert moment(notification, OFFICE, "UTC") == datetime(2026, 3, 2, 20, tzinfo=UTC)


def test_local_due_time_inside_the_window_holds_and_outside_of_it_waits() -> None:
    inside, outside = (Notification(deliver_at_local=f"2026-03-03T{hour}:00") for hour in ("10", "18"))

    assert moment(inside, OFFICE, "UTC") == datetime(2026, 3, 3, 10, tzinfo=UTC)
    assert moment(outside, OFFICE, "UTC") == datetime(2026, 3, 4, 9, tzinfo=UTC)


def test_without_any_window_or_local_time_nothing_is_asked() -> None:
    assert not_before(Notification(), ANY_TIME) is None
