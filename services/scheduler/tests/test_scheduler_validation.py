"""Faulty broadcasts and schedules are refused whole, every fault by its name."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.broadcast.v1.broadcast_service_pb2 import StartBroadcastRequest
from clarion.notification.v1.notification_service_pb2 import ChannelPolicy, Notification, TemplateRef
from clarion.recipient.v1.recipient_service_pb2 import AttributeMatch
from clarion.schedule.v1.schedule_service_pb2 import PutScheduleRequest
from clarion.types.v1.content_pb2 import Content
from clarion.types.v1.time_pb2 import SendWindow
from clarion_kit.errors import DomainError, ErrorReason
from clarion_scheduler.validation import check_broadcast, check_schedule

from .broadcast_samples import PUSH, daily, sale

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def at(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def policy(**fields: object) -> ChannelPolicy:
    """Numbers that the contract does not know, too."""
    return ChannelPolicy(**fields)  # type: ignore[arg-type]


def test_broadcast_to_a_topic_is_due_now() -> None:
    times = check_broadcast(sale(), NOW)

    assert (times.deliver_at, times.expire_at, times.last_at) == (None, None, None)


@pytest.mark.parametrize(
    "request_",
    [
        sale(topic="", everybody=True),
        sale(topic="", filter=[AttributeMatch(key="city", values=["Seoul", "Busan"])]),
        sale(content=None, template="sale", template_version=2, locale="ko-KR"),
        sale(deliver_at=at(NOW + timedelta(days=1)), expire_at=at(NOW + timedelta(days=2)), pace_per_second=100_000),
        sale(send_window=SendWindow(opens="22:00", closes="06:00", weekdays=[6, 7])),
    ],
)
def test_what_the_contract_allows_is_taken(request_: StartBroadcastRequest) -> None:
    check_broadcast(request_, NOW)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (sale(event_id=""), "event_id"),
        (sale(event_id="x" * 129), "event_id"),
        (sale(topic=""), "topic"),
        (sale(everybody=True), "topic"),
        (sale(topic="No Such Name"), "topic"),
        (sale(topic="", filter=[AttributeMatch(values=["x"])]), "filter[0].key"),
        (sale(topic="", filter=[AttributeMatch(key="city")]), "filter[0].values"),
        (sale(topic="", filter=[AttributeMatch(key="No Name", values=["x"])]), "filter[0].key"),
        (sale(topic="", filter=[AttributeMatch(key="city", values=["x", "x"])]), "filter[0].values"),
        (sale(topic="", filter=[AttributeMatch(key="city", values=["x"])] * 9), "filter"),
        (sale(category="Ü"), "category"),
        (sale(priority=9), "priority"),
        (sale(content=None), "template"),
        (sale(content=None, template="sale", locale="not a locale"), "locale"),
        (sale(channel_policy=policy(escalate_after=Duration(nanos=1))), "channel_policy.escalate_after"),
        (sale(template="sale"), "template"),
        (sale(content=Content()), "content.push"),
        (sale(pace_per_second=100_001), "pace_per_second"),
        (sale(collapse_key="x" * 65), "collapse_key"),
        (sale(channel_policy=policy(channels=[1, 1])), "channel_policy.channels"),
        (sale(channel_policy=policy(channels=[9])), "channel_policy.channels"),
        (sale(channel_policy=policy(mode=9)), "channel_policy.mode"),
        (
            sale(channel_policy=policy(escalate_after=Duration(seconds=8 * 86_400))),
            "channel_policy.escalate_after",
        ),
        (sale(deliver_at=at(NOW + timedelta(days=367))), "deliver_at"),
        (sale(deliver_at=Timestamp(seconds=1 << 60)), "deliver_at"),
        (sale(deliver_at=at(NOW), deliver_at_local="2026-06-02T09:00"), "deliver_at_local"),
        (sale(deliver_at_local="tomorrow"), "deliver_at_local"),
        (sale(deliver_at_local="2028-06-02T09:00"), "deliver_at_local"),
        (sale(send_window=SendWindow(opens="25:00", closes="06:00")), "send_window.opens"),
    ],
)
def test_faulty_field_of_a_broadcast_is_named(request_: StartBroadcastRequest, field: str) -> None:
    with pytest.raises(DomainError) as refused:
        check_broadcast(request_, NOW)

    assert refused.value.reason is ErrorReason.INVALID_FIELD
    assert field in {fault.field for fault in refused.value.fields}


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(DomainError) as refused:
        check_broadcast(StartBroadcastRequest(), NOW)

    assert {fault.field for fault in refused.value.fields} == {"event_id", "topic", "category", "template"}


def test_deadline_before_the_due_time_is_refused() -> None:
    late = sale(deliver_at=at(NOW + timedelta(days=2)), expire_at=at(NOW + timedelta(days=1)))

    with pytest.raises(DomainError) as refused:
        check_broadcast(late, NOW)

    assert refused.value.reason is ErrorReason.EXPIRY_IN_PAST


def test_local_time_begins_with_the_first_zone_and_ends_with_the_last() -> None:
    times = check_broadcast(sale(deliver_at_local="2026-06-10T09:00"), NOW)

    assert times.deliver_at == datetime(2026, 6, 9, 19, tzinfo=UTC)
    assert times.last_at == datetime(2026, 6, 10, 21, tzinfo=UTC)


def test_schedule_in_a_zone_fires_by_its_clocks() -> None:
    rule = check_schedule(daily(time_zone="Asia/Seoul"), NOW)

    assert rule.fires_after(NOW, 1) == [datetime(2026, 6, 2, 0, tzinfo=UTC)]


def _notification(**fields: object) -> Notification:
    given = {"recipient_ids": ["ann"], "category": "transactional", "content": PUSH, **fields}
    return Notification(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (daily(name="Daily"), "name"),
        (daily(cron="* * * * * *"), "cron"),
        (daily(cron="0 0 30 2 *"), "cron"),
        (daily(cron="61 * * * *"), "cron"),
        (daily(cron="0 9 29 2 *", end_at=at(NOW + timedelta(days=300))), "cron"),
        (daily(time_zone="Mars/Olympus"), "time_zone"),
        (daily(time_zone="localtime"), "time_zone"),
        (daily(end_at=at(NOW)), "end_at"),
        (daily(start_at=at(NOW + timedelta(days=9)), end_at=at(NOW + timedelta(days=8))), "end_at"),
        (daily(start_at=at(NOW + timedelta(days=400))), "start_at"),
        (daily(notification=None), "body"),
        (daily(notification=_notification(event_id="e")), "notification.event_id"),
        (daily(notification=_notification(deliver_at=at(NOW))), "notification.deliver_at"),
        (daily(notification=_notification(expire_at=at(NOW))), "notification.expire_at"),
        (daily(notification=_notification(deliver_at_local="2026-06-02T09:00")), "notification.deliver_at_local"),
        (daily(notification=_notification(recipient_ids=[])), "notification.recipient_ids"),
        (daily(notification=_notification(recipient_ids=["a", "a"])), "notification.recipient_ids"),
        (daily(notification=_notification(recipient_ids=[str(n) for n in range(101)])), "notification.recipient_ids"),
        (daily(notification=_notification(content=None)), "notification.body"),
        (daily(notification=_notification(test=True)), "notification.test"),
        (
            daily(notification=_notification(digest_key="d", channel_policy=policy(mode=3))),
            "notification.channel_policy.mode",
        ),
        (
            daily(notification=_notification(content=None, template=TemplateRef(name="t", locale="not a locale"))),
            "notification.template.locale",
        ),
        (daily(notification=None, broadcast=sale()), "broadcast.event_id"),
        (daily(notification=None, broadcast=sale(event_id="", topic="")), "broadcast.topic"),
    ],
)
def test_faulty_field_of_a_schedule_is_named(request_: PutScheduleRequest, field: str) -> None:
    with pytest.raises(DomainError) as refused:
        check_schedule(request_, NOW)

    assert refused.value.reason is ErrorReason.INVALID_FIELD
    assert field in {fault.field for fault in refused.value.fields}
