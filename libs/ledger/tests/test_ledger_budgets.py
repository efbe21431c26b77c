"""SMS budgets: slices never exceed the limit, what never went comes back, periods roll by the database's clock."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarion_kit.errors import DomainError
from clarion_kit.vocabulary import Channel, DeliveryState, Reason
from clarion_ledger import budgets, bursts, flow
from clarion_ledger.budgets import Ask, Period, Slice, SmsBudget, SmsBudgetState
from clarion_ledger.bursts import Burst
from clarion_ledger.cancelling import cancel
from clarion_ledger.caps import Taken
from clarion_ledger.db import Pool, pool
from clarion_ledger.digests import claim_due
from clarion_ledger.dispatching import Record, claim, record
from clarion_ledger.planning import PlannedDelivery, ToPlan
from clarion_ledger.rests import EscalationStep, Rest
from clarion_testkit.plugin import App, Database

from .ledger_samples import LEASE, close_digest, failed_for_now, plan_resting, resting, sent, window_ends

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


# ---------------------------------------------------------------- what never went


@dataclass(frozen=True, slots=True)
class Sms:
    """An SMS in flight that took of a budget."""

    notification_id: UUID
    delivery_id: UUID
    segments: int
    generation: int


async def sms(pool: Pool, app: App, *taken: Taken, digest: str = "") -> Sms:
    """Planned with what it took."""
    notification_id, [delivery_id] = await plan_resting(
        pool, app, lambda source, lane_id: resting(source, lane_id, Channel.SMS, digest=digest)._replace(taken=taken)
    )
    return Sms(notification_id, delivery_id, sum(one.segments for one in taken), taken[0].generation)


async def charged(pool: Pool, budget: SmsBudgetState, segments: int) -> Taken | None:
    """Of a slice that is exactly so long; None where so much is not left."""
    slice_ = await take(pool, budget, segments)
    if slice_.segments < segments:
        await budgets.give_back(pool, [slice_])
        return None
    return Taken(budget.budget_id, slice_.generation, segments)


async def go(pool: Pool, one: Sms) -> None:
    [claimed] = await claim(pool, [one.delivery_id], LEASE)
    await record(pool, [sent(claimed)])


async def call_off(pool: Pool, one: Sms, app: App) -> None:
    await cancel(pool, app.app_id, one.notification_id)


async def expire(pool: Pool, one: Sms, app: App) -> None:
    await pool.execute(
        """UPDATE ledger.delivery_work SET expire_at = now(), ready_since = now(), enqueued_at = NULL, state = 1
           WHERE delivery_id = $1""",
        one.delivery_id,
    )
    await flow.expired(pool)


async def stop_at_claim(pool: Pool, one: Sms, app: App) -> None:
    """A dispatcher finds that the recipient wishes otherwise by now."""
    [claimed] = await claim(pool, [one.delivery_id], LEASE)
    await record(pool, [Record(claimed, DeliveryState.SUPPRESSED, Reason.WISH_CHANGED, tried=False)])


async def try_and_call_off(pool: Pool, one: Sms, app: App) -> None:
    [claimed] = await claim(pool, [one.delivery_id], LEASE)
    await record(pool, [failed_for_now(claimed)])
    await cancel(pool, app.app_id, one.notification_id)


async def die_unsent(pool: Pool, one: Sms, app: App) -> None:
    """Held too long: a dead letter that may go again."""
    [claimed] = await claim(pool, [one.delivery_id], LEASE)
    await record(pool, [Record(claimed, DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED, tried=False)])


End = Callable[[Pool, Sms, App], Coroutine[None, None, None]]


@pytest.mark.parametrize(
    ("end", "used"),
    [(call_off, 0), (expire, 0), (stop_at_claim, 0), (try_and_call_off, 3), (die_unsent, 3)],
    ids=["cancelled", "expired", "wish changed", "tried", "dead letter"],
)
async def test_what_no_provider_was_asked_for_is_put_back_once(
    database: Database, app: App, end: End, used: int
) -> None:
    budget = await budgets.put(database.pool, app.app_id, KOREA)
    prefix = await budgets.put(database.pool, app.app_id, replace(KOREA, country="", prefix="8210", segments=40))
    took = [Taken(one.budget_id, (await take(database.pool, one, 10)).generation, 3) for one in (budget, prefix)]
    ended = await sms(database.pool, app, *took)
    kept = await sms(database.pool, app, *took)

    await end(database.pool, ended, app)
    first = await asyncio.gather(*(budgets.put_back(database.pool) for _ in range(4)))
    again = await budgets.put_back(database.pool)

    back = 3 - used
    total = sum((Counter(one) for one in first), Counter[int]())
    assert total == ({budget.budget_id: back, prefix.budget_id: back} if back else {})
    assert again == {}
    assert {state.used for state in await budgets.of_app(database.pool, app.app_id)} == {10 - back}
    assert [
        row["delivery_id"] for row in await database.pool.fetch("SELECT DISTINCT delivery_id FROM ledger.sms_charge")
    ] == [kept.delivery_id]


async def test_sent_sms_stays_spent(database: Database, app: App) -> None:
    budget = await budgets.put(database.pool, app.app_id, KOREA)
    taken = await charged(database.pool, budget, 10)
    assert taken is not None

    await go(database.pool, await sms(database.pool, app, taken))

    assert await budgets.put_back(database.pool) == {}
    assert (await only(database.pool, app)).used == 10
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.sms_charge") == 0


async def test_step_that_is_not_needed_gives_back_what_it_took(database: Database, app: App) -> None:
    budget = await budgets.put(database.pool, app.app_id, KOREA)
    taken = await charged(database.pool, budget, 20)
    assert taken is not None

    def push(source: ToPlan, lane_id: int) -> PlannedDelivery:
        return resting(source, lane_id, Channel.ANDROID, escalation=EscalationStep(0, 1, timedelta(minutes=5)))

    def text(source: ToPlan, lane_id: int) -> PlannedDelivery:
        later = Rest(DeliveryState.WAITING, delay=timedelta(minutes=5))
        step = EscalationStep(1, 1, timedelta(minutes=5))
        return resting(source, lane_id, Channel.SMS, rest=later, escalation=step)._replace(taken=[taken])

    _, [first, _] = await plan_resting(database.pool, app, push, text)
    [claimed] = await claim(database.pool, [first], LEASE)
    await record(database.pool, [sent(claimed)])
    await database.pool.execute("UPDATE ledger.delivery_work SET due_at = now() WHERE state = 7")

    _, ended = await flow.due_steps(database.pool)

    assert ended == 1
    assert await budgets.put_back(database.pool) == {budget.budget_id: 20}
    assert (await only(database.pool, app)).used == 0


async def test_members_of_a_digest_cost_one_sms(database: Database, app: App) -> None:
    budget = await budgets.put(database.pool, app.app_id, KOREA)
    for _ in range(3):
        taken = await charged(database.pool, budget, 10)
        assert taken is not None
        await sms(database.pool, app, taken, digest="k")
    await window_ends(database.pool)
    [window] = await claim_due(database.pool, 10, LEASE)

    assert await close_digest(database.pool, window)

    assert await budgets.put_back(database.pool) == {budget.budget_id: 20}
    assert (await only(database.pool, app)).used == 10


async def test_charge_of_an_earlier_period_comes_back_into_none(database: Database, app: App) -> None:
    budget = await budgets.put(database.pool, app.app_id, KOREA)
    taken = await charged(database.pool, budget, 100)
    assert taken is not None
    old = await sms(database.pool, app, taken)
    await database.pool.execute(_END_PERIOD)
    await take(database.pool, budget, 50)

    await call_off(database.pool, old, app)

    assert await budgets.put_back(database.pool) == {}
    assert (await only(database.pool, app)).used == 50
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.sms_charge") == 0


async def test_charges_of_a_budget_that_was_deleted_just_go(database: Database, app: App) -> None:
    budget = await budgets.put(database.pool, app.app_id, KOREA)
    taken = await charged(database.pool, budget, 10)
    assert taken is not None
    one = await sms(database.pool, app, taken)
    await budgets.delete(database.pool, app.app_id, "KR", "")

    await call_off(database.pool, one, app)

    assert await budgets.put_back(database.pool) == {}
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.sms_charge") == 0


LIVES = st.lists(
    st.tuples(
        st.sampled_from(["plan", "plan", "plan", "go", "cancel", "expire", "stop", "try", "put back", "period"]),
        st.integers(1, 6),
    ),
    min_size=4,
    max_size=24,
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(0, 16), lives=LIVES)
async def test_no_budget_is_exceeded_and_what_never_went_is_there_again(
    database: Database, app: App, limit: int, lives: list[tuple[str, int]]
) -> None:
    """In each period what goes or was tried stays within the limit, and in the end nothing else counts."""
    pool = database.pool
    budget = await budgets.put(pool, app.app_id, replace(KOREA, segments=limit))
    ends: dict[str, End] = {"cancel": call_off, "expire": expire, "stop": stop_at_claim, "try": try_and_call_off}
    flying: list[Sms] = []
    spent: Counter[int] = Counter()
    for what, segments in lives:
        match what:
            case "plan":
                taken = await charged(pool, budget, segments)
                if taken is not None:
                    flying.append(await sms(pool, app, taken))
            case "put back":
                await budgets.put_back(pool)
            case "period":
                await pool.execute(_END_PERIOD)
                await take(pool, budget, 0)
            case "go" if flying:
                one = flying.pop(segments % len(flying))
                await go(pool, one)
                spent[one.generation] += one.segments
            case _ if flying and what in ends:
                one = flying.pop(segments % len(flying))
                await ends[what](pool, one, app)
                spent[one.generation] += one.segments * (what == "try")
        assert (await only(pool, app)).used <= limit

    await budgets.put_back(pool)
    state = await only(pool, app)
    held = sum(one.segments for one in flying if one.generation == state.generation)
    assert state.used == spent[state.generation] + held
    assert all(total <= limit for total in spent.values())
    for one in flying:
        await call_off(pool, one, app)
    await pool.execute("DELETE FROM ledger.sms_charge")
    await budgets.delete(pool, app.app_id, "KR", "")
