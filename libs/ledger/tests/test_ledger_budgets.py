"""SMS budgets: slices never exceed the limit, periods roll by the database's clock."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clarion_kit.errors import DomainError
from clarion_ledger import budgets, bursts
from clarion_ledger.budgets import Ask, Period, Slice, SmsBudget, SmsBudgetState
from clarion_ledger.bursts import Burst
from clarion_ledger.db import Pool, pool
from clarion_testkit.plugin import App, Database

KOREA = SmsBudget(1_000, Period.DAY, "Asia/Seoul", country="KR")
_END_PERIOD = "UPDATE ledger.sms_budget SET period_start = period_start - interval '2 days', period_end = now()"


async def take(pool: Pool, budget: SmsBudgetState, wanted: int, debt: int = 0) -> Slice:
    return (await budgets.take(pool, [Ask(budget.budget_id, wanted, debt)]))[budget.budget_id]


async def only(pool: Pool, app: App) -> SmsBudgetState:
    [state] = await budgets.of_app(pool, app.app_id)
    return state


async def test_slice_is_what_is_asked_for_or_a_hundredth_of_what_is_left(database: Database, app: App) -> None:
    budget = await budgets.put(database.pool, app.app_id, replace(KOREA, segments=100_000))

    small = await take(database.pool, budget, 1)
    large = await take(database.pool, budget, 5_000)
    rest = await take(database.pool, budget, 200_000)
    nothing = await take(database.pool, budget, 1)

    assert (small.segments, large.segments, rest.segments, nothing.segments) == (1_000, 5_000, 94_000, 0)
    assert (await only(database.pool, app)).remaining == 0


async def test_concurrent_slices_add_up_to_the_limit_and_no_more(database: Database, app: App) -> None:
    first = await budgets.put(database.pool, app.app_id, KOREA)
    second = await budgets.put(database.pool, app.app_id, replace(KOREA, country="JP", segments=777))
    asks = [Ask(first.budget_id, 7), Ask(second.budget_id, 5)]

    answers = await asyncio.gather(*(budgets.take(database.pool, asks if n % 2 else asks[::-1]) for n in range(200)))

    for budget in (first, second):
        assert sum(answer[budget.budget_id].segments for answer in answers) == budget.budget.segments


async def test_unspent_slice_is_there_again(database: Database, app: App) -> None:
    budget = await budgets.put(database.pool, app.app_id, KOREA)
    taken = await take(database.pool, budget, 600)

    await budgets.give_back(database.pool, [replace(taken, segments=250)])

    assert (await only(database.pool, app)).used == 350


async def test_period_ends_by_the_clock_of_the_database(database: Database, app: App) -> None:
    budget = await budgets.put(database.pool, app.app_id, KOREA)
    old = await take(database.pool, budget, 1_000)
    await database.pool.execute(_END_PERIOD)

    seen = await only(database.pool, app)
    new = await take(database.pool, budget, 10, debt=3)
    await budgets.give_back(database.pool, [old])

    assert (seen.used, seen.remaining, seen.generation) == (0, 1_000, old.generation + 1)
    assert (new.segments, new.generation) == (10, old.generation + 1)
    assert timedelta(0) < new.ends_in <= timedelta(days=1)
    after = await only(database.pool, app)
    assert (after.used, after.period_start, after.period_end) == (13, seen.period_start, seen.period_end)


@pytest.mark.parametrize(
    ("period", "zone", "moment", "starts", "ends"),
    [
        (Period.DAY, "Asia/Seoul", "2026-03-01T16:00Z", "2026-03-02T00:00+09:00", "2026-03-03T00:00+09:00"),
        (Period.MONTH, "Asia/Seoul", "2026-02-28T16:00Z", "2026-03-01T00:00+09:00", "2026-04-01T00:00+09:00"),
        (Period.DAY, "Europe/Berlin", "2026-03-29T12:00Z", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00"),
        (Period.MONTH, "America/New_York", "2026-11-01T12:00Z", "2026-11-01T00:00-04:00", "2026-12-01T00:00-05:00"),
        # Midnight is left out where the clocks go forward at it.
        (Period.DAY, "Africa/Cairo", "2026-04-24T12:00Z", "2026-04-24T01:00+03:00", "2026-04-25T00:00+03:00"),
    ],
)
async def test_period_is_a_local_day_or_month(
    database: Database, period: Period, zone: str, moment: str, starts: str, ends: str
) -> None:
    row = await database.pool.fetchrow(
        "SELECT ledger.sms_period_start($1, $2, $3) AS starts, ledger.sms_period_end($1, $2, $3) AS ends",
        period,
        zone,
        datetime.fromisoformat(moment),
    )

    assert row is not None
    assert (row["starts"], row["ends"]) == (datetime.fromisoformat(starts), datetime.fromisoformat(ends))


async def test_another_zone_begins_a_new_period_that_old_slices_do_not_enter(database: Database, app: App) -> None:
    budget = await budgets.put(database.pool, app.app_id, KOREA)
    old = await take(database.pool, budget, 600)

    moved = await budgets.put(database.pool, app.app_id, replace(KOREA, time_zone="UTC"))
    await take(database.pool, moved, 700)
    await budgets.give_back(database.pool, [old])

    assert moved.used == 0
    assert moved.period_end.astimezone(UTC).hour == 0
    assert (await only(database.pool, app)).used == 700


async def test_what_went_on_without_a_slice_is_counted_beyond_the_limit(database: Database, app: App) -> None:
    budget = await budgets.put(database.pool, app.app_id, KOREA)
    await take(database.pool, budget, 1_000)

    more = await take(database.pool, budget, 5, debt=40)

    state = await only(database.pool, app)
    assert (more.segments, state.used, state.remaining, state.near_limit) == (0, 1_040, 0, True)


async def test_deleted_budget_gives_no_slices(database: Database, app: App) -> None:
    budget = await budgets.put(database.pool, app.app_id, KOREA)

    assert await budgets.delete(database.pool, app.app_id, "KR", "")
    assert await budgets.take(database.pool, [Ask(budget.budget_id, 1)]) == {}
    await budgets.give_back(database.pool, [Slice(budget.budget_id, 1, 1, timedelta())])


async def test_zone_that_the_database_does_not_know_is_refused(database: Database, app: App) -> None:
    with pytest.raises(DomainError) as refused:
        await budgets.put(database.pool, app.app_id, replace(KOREA, time_zone="Mars/Olympus"))

    assert [fault.field for fault in refused.value.fields] == ["budget.time_zone"]


async def test_planner_spends_and_gateway_administers(database: Database, app: App) -> None:
    async with pool(f"{database.url}?role=clarion_gateway", size=1, application="test") as gateway:
        budget = await budgets.put(gateway, app.app_id, KOREA)
        await budgets.put(gateway, app.app_id, replace(KOREA, segments=2_000))
    async with pool(f"{database.url}?role=clarion_planner", size=1, application="test") as planner:
        taken = await take(planner, budget, 30)
        await budgets.give_back(planner, [replace(taken, segments=10)])
        assert [state.used for state in await budgets.of_all_apps(planner)] == [20]
        await bursts.report(planner, [Burst(app.app_id, "bucket", 1)])
        assert await bursts.held(planner) == {(app.app_id, "bucket")}
    async with pool(f"{database.url}?role=clarion_gateway", size=1, application="test") as gateway:
        assert await budgets.delete(gateway, app.app_id, "KR", "")


async def test_burst_is_held_until_it_was_not_seen_for_a_while(database: Database, app: App) -> None:
    burst = Burst(app.app_id, "bucket", 3)
    await bursts.report(database.pool, [burst])
    await bursts.report(database.pool, [burst])
    counted = await database.pool.fetchval("SELECT stopped FROM ledger.sms_burst")

    await database.pool.execute("UPDATE ledger.sms_burst SET held_until = now() - interval '1 minute'")
    over = await bursts.held(database.pool)
    await bursts.report(database.pool, [burst])

    assert (counted, over) == (6, frozenset())
    row = await database.pool.fetchrow("SELECT stopped, held_until - now() AS hold FROM ledger.sms_burst")
    assert row is not None
    assert row["stopped"] == 3
    assert row["hold"] > bursts.HOLD - timedelta(minutes=1)
