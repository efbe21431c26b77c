"""What the SDK makes of friendly arguments for broadcasts and schedules."""

from datetime import UTC, datetime

import pytest

from clarion.schedule.v1 import schedule_service_pb2
from clarion_client import Channel, Content, Notification, Priority, Push
from clarion_client.calls.broadcasts import broadcast
from clarion_client.calls.schedules import ScheduleCalls

SALE = Content(push=Push(title="Sale"))


def put(*args: object, **kwargs: object) -> schedule_service_pb2.PutScheduleRequest:
    """The request that `put` sends."""
    return ScheduleCalls.put._build(None, *args, **kwargs)


def test_broadcast_says_what_its_arguments_say() -> None:
    made = broadcast(
        category="marketing",
        where={"city": ["Seoul", "Busan"]},
        template="sale",
        data={"percent": 20},
        channels=[Channel.IOS],
        deliver_at_local=datetime(2027, 1, 10, 9, 0),
        pace_per_second=50,
    )

    assert [(match.key, list(match.values)) for match in made.filter] == [("city", ["Seoul", "Busan"])]
    assert (made.template, made.data["percent"], made.pace_per_second) == ("sale", 20, 50)
    assert made.deliver_at_local == "2027-01-10T09:00:00"
    assert (int(made.priority), [int(one) for one in made.channel_policy.channels]) == (Priority.BULK, [Channel.IOS])


@pytest.mark.parametrize(
    "faulty",
    [
        {},
        {"topic": "news", "everybody": True},
        {"topic": "news", "template": "sale"},
        {"topic": "news", "deliver_at_local": datetime(2027, 1, 1, tzinfo=UTC)},
        {"topic": "news", "deliver_at": datetime(2027, 1, 1)},
    ],
)
def test_broadcast_that_is_not_one_is_refused_before_it_is_sent(faulty: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"required|zone"):
        broadcast(category="marketing", content=SALE, **faulty)  # type: ignore[arg-type]


def test_schedule_leaves_the_event_id_to_its_firings() -> None:
    notification = Notification(recipients=["ann"], category="transactional", content=SALE).to_proto()

    of_notification = put("daily", "0 9 * * *", notification, time_zone="Asia/Seoul")
    of_broadcast = put(
        "weekly", "0 9 * * 1", broadcast(category="marketing", everybody=True, content=SALE, event_id="e")
    )

    assert notification.event_id
    assert (of_notification.notification.event_id, of_broadcast.broadcast.event_id) == ("", "")
    assert list(of_notification.notification.recipient_ids) == ["ann"]


def test_local_due_time_of_a_notification_has_no_zone() -> None:
    made = Notification(
        recipients=["ann"], category="transactional", content=SALE, deliver_at_local=datetime(2027, 1, 10, 9, 0)
    )

    assert made.to_proto().deliver_at_local == "2027-01-10T09:00:00"
    with pytest.raises(ValueError, match="without a zone"):
        Notification(
            recipients=["ann"],
            category="transactional",
            content=SALE,
            deliver_at_local=datetime(2027, 1, 10, 9, 0, tzinfo=UTC),
        )
