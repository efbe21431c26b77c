"""When schedules fire, and that each fire time counts once."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_ledger import recurring
from clarion_ledger.recurring import GRACE, BadCron, Fired, Recurring, Rule, check_cron, event_id
from clarion_testkit.plugin import App, Database

START = datetime(2026, 1, 1, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "0 0 30 2 *",
        "0 0 31 4,6 *",
        "@daily",
        "a b c d e",
        "*/0 * * * *",
        "0 " * 4 + "9" * 200,
    ],
)
def test_expression_that_is_none_or_never_fires_is_refused(cron: str) -> None:
    with pytest.raises(BadCron):
        check_cron(cron)


def test_leap_day_fires_although_it_is_years_away() -> None:
    assert Rule("0 0 29 2 *", "UTC", START).fires_after(START, 1) == [utc("2028-02-29T00:00")]


def test_fixed_hour_that_clocks_skip_fires_at_the_end_of_the_gap() -> None:
    rule = Rule("30 2 * * *", "America/New_York", START)

    assert rule.fires_after(utc("2026-03-07T12:00"), 2) == [utc("2026-03-08T07:00"), utc("2026-03-09T06:30")]


def test_fixed_hour_that_comes_twice_fires_once() -> None:
    rule = Rule("30 1 * * *", "America/New_York", START)

    assert rule.fires_after(utc("2026-10-31T12:00"), 2) == [utc("2026-11-01T05:30"), utc("2026-11-02T06:30")]


def test_hourly_schedule_follows_passing_time_when_clocks_change() -> None:
    fires = Rule("0 * * * *", "America/New_York", START).fires_after(utc("2026-11-01T04:30"), 4)

    assert [later - earlier for earlier, later in pairwise(fires)] == [timedelta(hours=1)] * 3


def test_start_counts_and_end_does_not() -> None:
    rule = Rule("0 9 * * *", "UTC", utc("2026-06-01T09:00"), utc("2026-06-03T09:00"))

    assert rule.fires_after(utc("2026-01-01T00:00"), 5) == [utc("2026-06-01T09:00"), utc("2026-06-02T09:00")]


def test_after_downtime_only_the_latest_firing_is_made_up_for() -> None:
    rule = Rule("*/5 * * * *", "UTC", START)

    assert rule.due(utc("2026-06-01T09:00"), utc("2026-06-01T09:12")) == (utc("2026-06-01T09:10"), 2)


def test_firing_older_than_its_grace_is_left_out() -> None:
    daily = Rule("0 9 * * *", "UTC", START)

    assert daily.due(utc("2026-06-01T09:00"), utc("2026-06-01T09:14")) == (utc("2026-06-01T09:00"), 0)
    assert daily.due(utc("2026-06-01T09:00"), utc("2026-06-01T09:16")) == (None, 1)


@given(
    st.sampled_from(["*/5 * * * *", "7 * * * *", "0 9 * * 1-5", "30 2 * * *"]),
    st.sampled_from(["UTC", "America/New_York", "Asia/Seoul"]),
    st.integers(0, 400 * 24 * 60),
    st.integers(0, 3 * 24 * 60),
)
def test_what_is_due_is_a_fire_time_within_its_grace(cron: str, zone: str, begin: int, away: int) -> None:
    rule = Rule(cron, zone, START)
    [next_at] = rule.fires_after(START + timedelta(minutes=begin), 1)
    now = next_at + timedelta(minutes=away)

    fire_at, _ = rule.due(next_at, now)

    if fire_at is None:
        assert rule.fires_after(now - GRACE - timedelta(seconds=1), 1)[0] > now
    else:
        assert max(next_at, now - GRACE) <= fire_at <= now
        assert rule.fires_after(fire_at - timedelta(seconds=1), 1) == [fire_at]
        assert rule.fires_after(fire_at, 1)[0] > now


def test_firings_of_different_schedules_and_times_have_different_event_ids() -> None:
    ids = {event_id(schedule, START + timedelta(minutes=minute)) for schedule in range(3) for minute in range(3)}

    assert len(ids) == 9
    assert all(len(id_) <= 128 for id_ in ids)


# ---------------------------------------------------------------- rows


async def put(database: Database, app: App, name: str = "daily", cron: str = "* * * * *") -> Recurring:
    now = datetime.now(UTC)
    category = app.categories["transactional"]
    rule = Rule(cron, "UTC", now)
    return await recurring.put(
        database.pool, app.app_id, name, rule, category_id=category, broadcasts=False, body=b"sealed", now=now
    )


async def make_due(database: Database, one: Recurring) -> Recurring:
    await database.pool.execute(
        "UPDATE ledger.recurring SET next_at = date_trunc('minute', now()) WHERE app_id = $1 AND name = $2",
        one.app_id,
        one.name,
    )
    [found] = [found for found in (await recurring.due(database.pool))[0] if found.schedule_id == one.schedule_id]
    return found


async def test_two_replicas_that_note_one_firing_move_the_schedule_once(database: Database, app: App) -> None:
    one = await make_due(database, await put(database, app))
    assert one.next_at is not None
    outcome = Fired(one.next_at, uuid4(), "", 0, one.next_at + timedelta(minutes=1))

    noted = await asyncio.gather(*(recurring.fired(database.pool, one, outcome) for _ in range(2)))

    assert sorted(noted) == [False, True]
    [stored] = await recurring.page(database.pool, app.app_id, after="", size=10)
    assert (stored.last_fired_at, stored.last_made) == (one.next_at, outcome.made)


async def test_firing_of_an_older_definition_does_not_move_the_new_one(database: Database, app: App) -> None:
    one = await make_due(database, await put(database, app))
    replaced = await put(database, app, cron="0 0 1 1 *")

    assert not await recurring.fired(database.pool, one, Fired(one.next_at, uuid4(), "", 0, None))
    [stored] = await recurring.page(database.pool, app.app_id, after="", size=10)
    assert stored.next_at == replaced.next_at


async def test_paused_schedule_is_never_due_and_goes_on_with_what_comes_next(database: Database, app: App) -> None:
    one = await make_due(database, await put(database, app))
    now = datetime.now(UTC)

    await recurring.pause(database.pool, app.app_id, one.name, paused=True, now=now)
    due_while_paused, _ = await recurring.due(database.pool)
    resumed = await recurring.pause(database.pool, app.app_id, one.name, paused=False, now=now)

    assert due_while_paused == []
    assert resumed is not None
    assert resumed.next_at is not None
    assert resumed.next_at > now


async def test_schedule_whose_end_comes_before_its_first_firing_is_refused(database: Database, app: App) -> None:
    now = datetime.now(UTC)
    rule = Rule("0 0 29 2 *", "UTC", now, now + timedelta(days=1))

    with pytest.raises(BadCron):
        await recurring.put(
            database.pool,
            app.app_id,
            "never",
            rule,
            category_id=app.categories["transactional"],
            broadcasts=False,
            body=b"",
            now=now,
        )


async def test_schedules_are_listed_page_by_page_and_deleted_once(database: Database, app: App) -> None:
    for name in ("c", "a", "b"):
        await put(database, app, name)

    first = await recurring.page(database.pool, app.app_id, after="", size=2)
    rest = await recurring.page(database.pool, app.app_id, after="b", size=2)

    assert [one.name for one in (*first, *rest)] == ["a", "b", "c"]
    assert await recurring.delete(database.pool, app.app_id, "a")
    assert not await recurring.delete(database.pool, app.app_id, "a")
    assert not await recurring.delete(database.pool, app.app_id + 1, "b")
