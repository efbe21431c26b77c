"""Wall times and send windows in zones that skip and repeat hours; moving what is scheduled."""

from datetime import UTC, datetime, time, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.types.v1.time_pb2 import SendWindow
from clarion_kit.errors import DomainError
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import EventKind
from clarion_ledger import flow, scheduling
from clarion_ledger.accept import accept
from clarion_ledger.db import pool
from clarion_ledger.scheduling import (
    Timing,
    Window,
    at_wall,
    earliest,
    first_moment,
    known_zone,
    last_moment,
    next_open,
    read_wall,
    read_window,
    zone,
)
from clarion_testkit.plugin import App, Database

from .ledger_samples import accepted, audited, events_of, item

NEW_YORK = ZoneInfo("America/New_York")
SEOUL = ZoneInfo("Asia/Seoul")
EVERY_DAY = frozenset(range(1, 8))
ZONES = (
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Seoul",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Asia/Kathmandu",
)

clocks = st.builds(time, st.integers(0, 23), st.integers(0, 59))
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(
    lambda wall: wall.replace(tzinfo=UTC, second=0, microsecond=0)
)
windows = st.builds(
    lambda opens, length, days: Window(
        opens, (datetime.combine(datetime(2026, 1, 1), opens) + timedelta(minutes=length)).time(), frozenset(days)
    ),
    clocks,
    st.integers(1, 24 * 60 - 1),
    st.sets(st.integers(1, 7), min_size=1),
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_skipped_wall_time_moves_forward_by_the_gap() -> None:
    assert at_wall(datetime(2026, 3, 8, 2, 30), NEW_YORK) == utc("2026-03-08T07:30")  # clocks show 03:30 then


def test_wall_time_that_comes_twice_means_the_first() -> None:
    assert at_wall(datetime(2026, 11, 1, 1, 30), NEW_YORK) == utc("2026-11-01T05:30")


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)), st.sampled_from(ZONES))
def test_every_clock_on_earth_shows_a_wall_time_between_the_first_and_the_last_moment(
    wall: datetime, name: str
) -> None:
    assert first_moment(wall) <= at_wall(wall, zone(name)) <= last_moment(wall) + timedelta(hours=1)


def test_recipients_of_one_notification_have_their_own_due_times() -> None:
    timing = Timing(wall=datetime(2026, 6, 1, 9, 0))
    now = utc("2026-05-31T20:00")

    assert earliest(timing, SEOUL, now) == utc("2026-06-01T00:00")
    assert earliest(timing, NEW_YORK, now) == utc("2026-06-01T13:00")
    assert earliest(timing, SEOUL, utc("2026-06-01T00:00")) is None


def test_window_that_is_open_lets_through_at_once() -> None:
    assert earliest(Timing(window=Window(time(9), time(21), EVERY_DAY)), SEOUL, utc("2026-06-01T03:00")) is None


def test_closed_window_waits_for_its_next_opening() -> None:
    window = Window(time(9), time(21), EVERY_DAY)

    assert next_open(window, SEOUL, utc("2026-06-01T12:00")) == utc("2026-06-02T00:00")


def test_window_over_midnight_belongs_to_the_day_on_which_it_opened() -> None:
    friday_night = Window(time(22), time(2), frozenset({5}))

    assert earliest(Timing(window=friday_night), zone("UTC"), utc("2026-06-06T01:59")) is None
    assert next_open(friday_night, zone("UTC"), utc("2026-06-06T02:00")) == utc("2026-06-12T22:00")


def test_local_time_outside_of_the_window_waits_for_the_window() -> None:
    timing = Timing(datetime(2026, 6, 1, 7, 0), Window(time(9), time(21), EVERY_DAY))

    assert earliest(timing, SEOUL, utc("2026-05-30T00:00")) == utc("2026-06-01T00:00")


def test_window_whose_opening_is_skipped_opens_with_the_end_of_the_gap() -> None:
    window = Window(time(2, 30), time(9), EVERY_DAY)

    assert next_open(window, NEW_YORK, utc("2026-03-08T06:00")) == utc("2026-03-08T07:00")


def test_window_that_is_skipped_whole_does_not_open_that_day() -> None:
    window = Window(time(2, 10), time(2, 50), EVERY_DAY)

    assert next_open(window, NEW_YORK, utc("2026-03-08T05:00")) == utc("2026-03-09T06:10")


def test_window_that_comes_twice_is_open_twice() -> None:
    window = Window(time(1, 10), time(1, 50), EVERY_DAY)

    assert next_open(window, NEW_YORK, utc("2026-11-01T05:50")) == utc("2026-11-01T06:10")


@given(windows, st.sampled_from(ZONES), moments)
def test_next_opening_is_open_and_no_minute_before_it_is(window: Window, name: str, moment: datetime) -> None:
    where = zone(name)
    found = next_open(window, where, moment)

    assert found >= moment
    assert window.holds(found.astimezone(where).replace(tzinfo=None))
    minutes = int((found - moment) / timedelta(minutes=1))
    before = [moment + timedelta(minutes=minute) for minute in range(max(0, minutes - 180), minutes)]
    assert not any(window.holds(one.astimezone(where).replace(tzinfo=None)) for one in before)


@pytest.mark.parametrize("name", ["", "Mars/Olympus", "../etc/passwd", "Factory", "asia/seoul"])
def test_zone_that_is_no_place_is_not_known_and_counts_as_utc(name: str) -> None:
    assert not known_zone(name)
    assert zone(name) == ZoneInfo("UTC")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-06-01",
        "2026-06-01 09:00",
        "2026-13-01T09:00",
        "2026-02-30T09:00",
        "2026-06-01T09:00Z",
        "\uff12026-06-01T09:00",
    ],
)
def test_faulty_wall_time_is_named(text: str) -> None:
    faults = Faults()

    assert read_wall(faults, "deliver_at_local", text) is None
    with pytest.raises(DomainError) as refused:
        faults.raise_if_any()
    assert [fault.field for fault in refused.value.fields] == ["deliver_at_local"]


@pytest.mark.parametrize(
    ("window", "field"),
    [
        (SendWindow(opens="9:00", closes="21:00"), "opens"),
        (SendWindow(opens="09:00", closes="24:00"), "closes"),
        (SendWindow(opens="09:00", closes="09:00"), "closes"),
        (SendWindow(opens="09:00", closes="21:00", weekdays=[0]), "weekdays"),
        (SendWindow(opens="09:00", closes="21:00", weekdays=[1, 1]), "weekdays"),
    ],
)
def test_faulty_window_is_named(window: SendWindow, field: str) -> None:
    faults = Faults()

    assert read_window(faults, window) is None
    with pytest.raises(DomainError) as refused:
        faults.raise_if_any()
    assert [fault.field for fault in refused.value.fields] == [f"send_window.{field}"]


# ---------------------------------------------------------------- moving


async def scheduled(database: Database, app: App, ahead: timedelta) -> UUID:
    due = datetime.now(UTC) + ahead
    [result] = await accept(database.pool, [item(app, uuid4().hex, deliver_at=due)])
    return accepted(result).notification_id


async def test_moved_send_keeps_its_id_and_its_deadline_moves_as_far(database: Database, app: App) -> None:
    id_ = await scheduled(database, app, timedelta(days=1))
    moment = datetime.now(UTC) + timedelta(days=3)

    moved = await scheduling.reschedule(database.pool, app.app_id, id_, moment, None)

    assert moved is not None
    assert moved.deliver_at == moment
    assert moved.expire_at - moved.deliver_at == timedelta(hours=1)
    assert await events_of(database.pool, id_) == [EventKind.SCHEDULED, EventKind.RESCHEDULED]
    assert await flow.due_schedules(database.pool) == []


async def test_send_moved_from_far_ahead_to_now_lies_in_a_partition_of_its_own_day(
    database: Database, app: App
) -> None:
    id_ = await scheduled(database, app, timedelta(days=300))
    async with pool(f"{database.url}?role=clarion_gateway", size=1, application="test") as own:
        await scheduling.reschedule(own, app.app_id, id_, datetime.now(UTC), None)

    [moved] = await flow.due_schedules(database.pool)

    assert moved.ids == [id_]
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.notification_default") == 0
    assert (await audited(database.pool)).unaccounted == 0


async def test_only_its_own_app_moves_a_send_and_only_while_it_waits(database: Database, app: App) -> None:
    id_ = await scheduled(database, app, timedelta(days=1))
    moment = datetime.now(UTC) - timedelta(seconds=1)

    assert await scheduling.reschedule(database.pool, app.app_id + 1, id_, moment, None) is None
    assert await scheduling.reschedule(database.pool, app.app_id, id_, moment, None) is not None
    await flow.due_schedules(database.pool)
    assert await scheduling.reschedule(database.pool, app.app_id, id_, moment, None) is None
