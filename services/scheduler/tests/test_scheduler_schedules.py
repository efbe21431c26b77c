"""ScheduleService and its firings on a real ledger: each fire time makes one thing, whoever fires and whatever dies."""

import asyncio
from datetime import UTC, datetime, timedelta
from unittest.mock import create_autospec
from uuid import UUID

import grpc
import pytest
import pytest_asyncio

from clarion.category.v1.category_service_pb2 import Category
from clarion.notification.v1.notification_service_pb2 import Notification, TemplateRef
from clarion.schedule.v1 import schedule_service_pb2 as pb
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.rpc.caller import calling_as
from clarion_kit.telemetry.provider import Telemetry
from clarion_ledger import admin, planning, recurring
from clarion_ledger.db import pool
from clarion_ledger.recurring import Fired, Recurring
from clarion_scheduler.firing import Firing
from clarion_testkit.plugin import App, Database

from .broadcast_samples import Office, daily, office, sale

CONTEXT = create_autospec(grpc.aio.ServicerContext)


@pytest_asyncio.fixture
async def desk(database: Database, app: App) -> Office:
    return await office(database.pool, app)


async def put(desk: Office, request: pb.PutScheduleRequest) -> pb.Schedule:
    with calling_as(desk.caller()):
        return (await desk.schedules.PutSchedule(request, CONTEXT)).schedule


async def listed(desk: Office) -> list[pb.Schedule]:
    with calling_as(desk.caller()):
        return list((await desk.schedules.ListSchedules(pb.ListSchedulesRequest(), CONTEXT)).schedules)


async def make_due(desk: Office, ago: timedelta = timedelta(0)) -> datetime:
    """As if the clock had come to the next fire time, `ago`."""
    moment: datetime = await desk.pool.fetchval(
        """UPDATE ledger.recurring
           SET start_at = now() - interval '30 days', next_at = date_trunc('minute', now()) - $1::interval
           RETURNING next_at""",
        ago,
    )
    return moment


async def made(desk: Office) -> list[UUID]:
    rows = await desk.pool.fetch("SELECT notification_id FROM ledger.plan_work WHERE app_id = $1", desk.app.app_id)
    return [row["notification_id"] for row in rows]


async def test_stored_schedule_shows_its_next_fire_times(desk: Office) -> None:
    stored = await put(desk, daily(cron="0 9 * * 1-5", time_zone="Asia/Seoul"))

    times = [stamp.ToDatetime(tzinfo=UTC) for stamp in stored.next_fire_times]
    assert len(times) == 5
    assert times == sorted(times)
    assert {time.hour for time in times} == {0}
    assert (stored.category, stored.broadcasts, stored.paused, stored.last_error) == ("transactional", False, False, "")


async def test_template_is_checked_as_it_will_be_sent_and_its_name_stands_beside_the_sealed_body(desk: Office) -> None:
    likes = Category(name="likes")
    likes.digest_window.FromTimedelta(timedelta(minutes=10))
    await admin.put_category(desk.pool, desk.app.app_id, likes)
    notification = Notification(recipient_ids=["ann"], category="likes", digest_key="d", template=TemplateRef(name="t"))
    await put(desk, daily("own"))
    await put(desk, daily("templated", notification=notification))
    await put(desk, daily("sale", notification=None, broadcast=sale("", content=None, template="s")))

    rows = await desk.pool.fetch("SELECT name, template FROM ledger.recurring WHERE app_id = $1", desk.app.app_id)

    assert {row["name"]: row["template"] for row in rows} == {"own": None, "templated": "t", "sale": "s"}
    assert desk.templates.asked == [("t", "notification.template.data", True), ("s", "broadcast.data", False)]


async def test_firing_accepts_a_notification_that_can_be_planned(desk: Office, telemetry: Telemetry) -> None:
    await put(desk, daily(cron="* * * * *"))
    fire_at = await make_due(desk)

    await Firing(desk.pool, desk.intake, telemetry).fire_due()

    [id_] = await made(desk)
    [source] = await planning.load(desk.pool, [id_])
    sealer = await desk.app.keys.sealer(desk.app.app_id)
    notification = Notification.FromString(
        sealer.open("notification", source.event_id.encode(), "payload", source.payload)
    )
    [schedule] = await listed(desk)
    assert list(notification.recipient_ids) == ["ann"]
    assert schedule.last_made_id == str(id_)
    assert schedule.last_fired_at.ToDatetime(tzinfo=UTC) == fire_at


async def test_schedule_of_an_earlier_version_has_the_name_of_its_template_once_it_fired(
    desk: Office, telemetry: Telemetry
) -> None:
    notification = Notification(recipient_ids=["ann"], category="transactional", template=TemplateRef(name="t"))
    await put(desk, daily(cron="* * * * *", notification=notification))
    await desk.pool.execute("UPDATE ledger.recurring SET template = NULL WHERE app_id = $1", desk.app.app_id)
    await make_due(desk)

    await Firing(desk.pool, desk.intake, telemetry).fire_due()

    named = "SELECT template FROM ledger.recurring WHERE app_id = $1"
    assert await desk.pool.fetchval(named, desk.app.app_id) == "t"


async def test_replicas_that_fire_at_once_make_one_notification(desk: Office, telemetry: Telemetry) -> None:
    await put(desk, daily(cron="* * * * *"))
    await make_due(desk)

    await asyncio.gather(*(Firing(desk.pool, desk.intake, telemetry).fire_due() for _ in range(4)))

    assert len(await made(desk)) == 1


async def test_death_between_making_and_noting_fires_once(
    desk: Office, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(desk, daily(cron="* * * * *"))
    await make_due(desk)
    firing = Firing(desk.pool, desk.intake, telemetry)

    async def die(pool: object, one: Recurring, outcome: Fired) -> bool:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(recurring, "fired", die)
        with pytest.raises(asyncio.CancelledError):
            await firing.fire_due()
    await firing.fire_due()

    assert len(await made(desk)) == 1
    [schedule] = await listed(desk)
    assert schedule.last_made_id == str((await made(desk))[0])


async def test_firing_of_a_broadcast_starts_it_once(desk: Office, telemetry: Telemetry) -> None:
    await put(desk, daily(cron="* * * * *", notification=None, broadcast=sale("")))
    await make_due(desk)

    await asyncio.gather(*(Firing(desk.pool, desk.intake, telemetry).fire_due() for _ in range(2)))

    rows = await desk.pool.fetch("SELECT broadcast_id FROM ledger.broadcast WHERE app_id = $1", desk.app.app_id)
    [schedule] = await listed(desk)
    assert [str(row["broadcast_id"]) for row in rows] == [schedule.last_made_id]
    assert schedule.broadcasts


async def test_after_downtime_one_firing_is_made_up_for(desk: Office, telemetry: Telemetry) -> None:
    await put(desk, daily(cron="* * * * *"))
    await make_due(desk, timedelta(minutes=5))

    firing = Firing(desk.pool, desk.intake, telemetry)
    await firing.fire_due()

    [schedule] = await listed(desk)
    assert len(await made(desk)) == 1
    assert schedule.missed == 5


async def test_firing_long_past_is_left_out(desk: Office, telemetry: Telemetry) -> None:
    await put(desk, daily(cron="0 0 1 1 *"))
    await make_due(desk, timedelta(days=2))

    await Firing(desk.pool, desk.intake, telemetry).fire_due()

    [schedule] = await listed(desk)
    assert await made(desk) == []
    assert (schedule.missed, schedule.last_made_id) == (1, "")
    assert (await recurring.due(desk.pool))[0] == []


async def test_category_that_is_gone_is_told_and_the_schedule_goes_on(desk: Office, telemetry: Telemetry) -> None:
    await put(desk, daily(cron="* * * * *"))
    await make_due(desk)
    await desk.pool.execute("DELETE FROM ledger.category WHERE app_id = $1 AND name = 'transactional'", desk.app.app_id)
    await desk.config.refresh()

    await Firing(desk.pool, desk.intake, telemetry).fire_due()

    [schedule] = await listed(desk)
    assert (schedule.last_error, schedule.last_made_id) == ("CATEGORY_NOT_FOUND", "")
    assert (await recurring.due(desk.pool))[0] == []


async def test_paused_schedule_does_not_fire(desk: Office, telemetry: Telemetry) -> None:
    await put(desk, daily(cron="* * * * *"))
    await make_due(desk)
    with calling_as(desk.caller()):
        request = pb.PauseScheduleRequest(name="daily", paused=True)
        paused = (await desk.schedules.PauseSchedule(request, CONTEXT)).schedule

    await Firing(desk.pool, desk.intake, telemetry).fire_due()

    assert paused.paused
    assert await made(desk) == []


async def test_put_again_replaces_and_delete_may_be_repeated(desk: Office) -> None:
    await put(desk, daily())
    await put(desk, daily(cron="30 8 * * *"))
    rows = await listed(desk)
    deleted = []
    with calling_as(desk.caller()):
        for _ in range(2):
            answer = await desk.schedules.DeleteSchedule(pb.DeleteScheduleRequest(name="daily"), CONTEXT)
            deleted.append(answer.deleted)

    assert [row.cron for row in rows] == ["30 8 * * *"]
    assert deleted == [True, False]
    assert await listed(desk) == []


async def test_unknown_schedule_cannot_be_paused(desk: Office) -> None:
    with calling_as(desk.caller()), pytest.raises(DomainError) as refused:
        await desk.schedules.PauseSchedule(pb.PauseScheduleRequest(name="none", paused=True), CONTEXT)

    assert refused.value.reason is ErrorReason.SCHEDULE_NOT_FOUND


async def test_listing_goes_page_by_page(desk: Office) -> None:
    for name in ("c", "a", "b"):
        await put(desk, daily(name))
    with calling_as(desk.caller()):
        first = await desk.schedules.ListSchedules(pb.ListSchedulesRequest(page_size=2), CONTEXT)
        rest = await desk.schedules.ListSchedules(
            pb.ListSchedulesRequest(page_size=2, page_token=first.next_page_token), CONTEXT
        )

    assert [one.name for one in (*first.schedules, *rest.schedules)] == ["a", "b", "c"]
    assert rest.next_page_token == ""


async def test_scheduler_may_fire_under_its_own_role(desk: Office, database: Database, telemetry: Telemetry) -> None:
    await put(desk, daily(cron="* * * * *"))
    await make_due(desk)
    async with pool(f"{database.url}?role=clarion_scheduler", size=2, application="test") as own:
        there = await office(own, desk.app)
        await Firing(own, there.intake, telemetry).fire_due()

    assert len(await made(desk)) == 1
