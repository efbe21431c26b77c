"""When a notification may go by its recipient's clock: its local due time, and the send window it or its category has."""

from datetime import datetime

from clarion.notification.v1.notification_service_pb2 import Notification
from clarion_ledger.config import CategoryRule
from clarion_ledger.scheduling import Timing, earliest, window_of, zone
from clarion_planner.cases import NotBefore


def not_before(notification: Notification, category: CategoryRule) -> NotBefore | None:
    """What `Job.not_before` is for a notification, None where it may go at any time. It was read at the edge. A test send does
    not wait for its category's window."""
    wall = datetime.fromisoformat(notification.deliver_at_local) if notification.deliver_at_local else None
    window = None if notification.test else category.send_window
    if notification.HasField("send_window"):
        window = window_of(notification.send_window)
    if wall is None and window is None:
        return None
    timing = Timing(wall, window)

    def moment(time_zone: str, now: datetime) -> datetime | None:
        return earliest(timing, zone(time_zone), now)

    return moment
