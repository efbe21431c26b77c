"""Local due times, send windows, and sends that are moved."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.category.v1.category_service_pb2 import Category, ListCategoriesRequest, PutCategoryRequest
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1.state_pb2 import NotificationState
from clarion.types.v1.time_pb2 import SendWindow

from .gateway_samples import Client, Gateway, notification, refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")


def stamp(ahead: timedelta) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(datetime.now(UTC) + ahead)
    return made


async def shown(client: Client, id_: str) -> pb.NotificationView:
    return (await client.get(id_)).notification


async def reschedule(client: Client, id_: str, **wanted: Timestamp) -> pb.RescheduleResponse:
    return await client.notifications.Reschedule(
        pb.RescheduleRequest(notification_id=id_, **wanted), metadata=client.auth
    )


async def test_local_due_time_is_planned_for_the_first_zone_and_lives_past_the_last(gateway: Gateway) -> None:
    client = await gateway.app()
    sent = await client.send(notification(deliver_at_local="2027-01-10T09:00"))

    view = await shown(client, sent.notification_id)

    assert view.state == NotificationState.NOTIFICATION_STATE_SCHEDULED
    assert view.deliver_at.ToDatetime() == datetime(2027, 1, 9, 19, 0)
    assert view.expire_at.ToDatetime() > datetime(2027, 1, 10, 21, 0)


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"deliver_at_local": "2027-01-10 09:00"}, "deliver_at_local"),
        ({"deliver_at_local": "2027-02-30T09:00"}, "deliver_at_local"),
        ({"deliver_at_local": "2031-01-10T09:00"}, "deliver_at_local"),
        ({"deliver_at_local": "2027-01-10T09:00", "deliver_at": Timestamp(seconds=1_800_000_000)}, "deliver_at_local"),
        ({"send_window": SendWindow(opens="9", closes="21:00")}, "send_window.opens"),
        ({"send_window": SendWindow(opens="09:00", closes="09:00")}, "send_window.closes"),
    ],
)
async def test_faulty_time_is_named(gateway: Gateway, fields: dict[str, object], faulty: str) -> None:
    client = await gateway.app()

    refused = await refusal(client.send(notification(**fields)))

    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert f"notification.{faulty}" in refused.fields


def hours(name: str, opens: str, closes: str, *, critical: bool = False, weekdays: Sequence[int] = ()) -> Category:
    return Category(name=name, critical=critical, send_window=SendWindow(opens=opens, closes=closes, weekdays=weekdays))


async def test_category_keeps_its_send_window(gateway: Gateway) -> None:
    client = await gateway.app()
    wanted = hours("office", "09:00", "17:30", weekdays=[1, 2, 3, 4, 5])

    stored = await client.categories.PutCategory(PutCategoryRequest(category=wanted), metadata=client.auth)
    listed = await client.categories.ListCategories(ListCategoriesRequest(), metadata=client.auth)
    sent = await client.send(notification(category="office"))

    assert stored.category.send_window == wanted.send_window
    assert [one.send_window for one in listed.categories if one.name == "office"] == [wanted.send_window]
    assert (await shown(client, sent.notification_id)).state == NotificationState.NOTIFICATION_STATE_ACCEPTED


@pytest.mark.parametrize(
    ("category", "field"),
    [
        (hours("n", "9", "17:30"), "send_window.opens"),
        (hours("n", "09:00", "24:00"), "send_window.closes"),
        (hours("n", "09:00", "09:00"), "send_window.closes"),
        (hours("n", "09:00", "17:30", weekdays=[0]), "send_window.weekdays"),
        (hours("n", "09:00", "17:30", weekdays=[1, 1]), "send_window.weekdays"),
        (hours("n", "09:00", "17:30", critical=True), "send_window"),
    ],
)
async def test_faulty_send_window_of_a_category_is_named(gateway: Gateway, category: Category, field: str) -> None:
    client = await gateway.app()

    refused = await refusal(client.categories.PutCategory(PutCategoryRequest(category=category), metadata=client.auth))

    assert (refused.reason, refused.fields) == ("INVALID_FIELD", [f"category.{field}"])


async def test_scheduled_send_is_moved_with_its_deadline(gateway: Gateway) -> None:
    client = await gateway.app()
    sent = await client.send(notification(deliver_at=stamp(timedelta(days=1))))
    before = await shown(client, sent.notification_id)
    moment = stamp(timedelta(days=5))

    moved = await reschedule(client, sent.notification_id, deliver_at=moment)

    after = await shown(client, sent.notification_id)
    life = before.expire_at.ToDatetime() - before.deliver_at.ToDatetime()
    assert (after.deliver_at, after.expire_at) == (moved.deliver_at, moved.expire_at)
    assert after.expire_at.ToDatetime() - moment.ToDatetime() == life


async def test_moved_into_the_past_it_is_due_at_once(gateway: Gateway) -> None:
    client = await gateway.app()
    sent = await client.send(notification(deliver_at=stamp(timedelta(days=200))))

    moved = await reschedule(client, sent.notification_id, deliver_at=Timestamp(seconds=1))

    assert moved.deliver_at.ToDatetime(tzinfo=UTC) <= datetime.now(UTC)
    assert moved.expire_at.ToDatetime(tzinfo=UTC) > datetime.now(UTC)


async def test_what_does_not_wait_or_is_not_there_cannot_be_moved(gateway: Gateway) -> None:
    client, stranger = await gateway.app(), await gateway.app()
    sent = await client.send(notification())
    scheduled = await client.send(notification(deliver_at=stamp(timedelta(days=1))))
    moment = stamp(timedelta(days=2))

    refusals = [
        await refusal(reschedule(client, sent.notification_id, deliver_at=moment)),
        await refusal(reschedule(stranger, scheduled.notification_id, deliver_at=moment)),
        await refusal(reschedule(client, str(uuid4()), deliver_at=moment)),
        await refusal(reschedule(client, "nonsense", deliver_at=moment)),
        await refusal(reschedule(client, scheduled.notification_id)),
        await refusal(reschedule(client, scheduled.notification_id, deliver_at=stamp(timedelta(days=400)))),
        await refusal(
            reschedule(client, scheduled.notification_id, deliver_at=moment, expire_at=stamp(timedelta(days=1)))
        ),
    ]

    assert [refused.reason for refused in refusals] == [
        "NOT_SCHEDULED",
        "NOTIFICATION_NOT_FOUND",
        "NOTIFICATION_NOT_FOUND",
        "INVALID_FIELD",
        "INVALID_FIELD",
        "INVALID_FIELD",
        "EXPIRY_IN_PAST",
    ]
