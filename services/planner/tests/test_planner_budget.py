"""SMS budgets as planners spend them, on a real ledger."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

import pytest
import pytest_asyncio

from clarion.notification.v1 import state_pb2
from clarion.notification.v1.state_pb2 import GateTrail
from clarion_kit.number_hint import make_hint
from clarion_kit.sealing import AppSealer
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.vocabulary import Channel, Reason
from clarion_ledger import budgets, planning
from clarion_ledger.budgets import Period, SmsBudget, SmsBudgetState
from clarion_ledger.cancelling import cancel
from clarion_ledger.db import LedgerUnavailable, Pool, pool
from clarion_ledger.keys import KeyRing
from clarion_planner import budget as module
from clarion_planner.budget import BURST_RULE, SmsBudgets
from clarion_planner.burst import BurstWatch
from clarion_planner.ports import CapAnswer, SmsCharge
from clarion_testkit.plugin import App, Database

from .planner_samples import Plant, literal, plant

DAY = timedelta(days=1)
KOREA = SmsBudget(100, Period.DAY, "Asia/Seoul", country="KR")
PREFIX = SmsBudget(40, Period.DAY, "UTC", prefix="821012")
OTHERS = SmsBudget(60, Period.MONTH, "UTC")
_END_PERIOD = "UPDATE ledger.sms_budget SET period_start = period_start - interval '2 days', period_end = now()"
_LOCK = "SELECT FROM ledger.sms_budget FOR UPDATE"


@dataclass(slots=True)
class StepClock:
    """Stands still until it is moved."""

    seconds: float = 1_000.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.seconds


@dataclass(slots=True)
class Town:
    """An app with numbers, and planners that text them."""

    pool: Pool
    app: App
    sealer: AppSealer
    clock: StepClock = field(default_factory=StepClock)
    metrics: Metrics = field(default_factory=Metrics)

    async def put(self, budget: SmsBudget) -> SmsBudgetState:
        return await budgets.put(self.pool, self.app.app_id, budget)

    async def used(self) -> dict[str, int]:
        return {state.budget.name: state.used for state in await budgets.of_app(self.pool, self.app.app_id)}

    def planner(self, *, burst: int = 0, metrics: Metrics | None = None) -> SmsBudgets:
        """Another one, that dies without a word unless it is left by `running`."""
        keys = KeyRing(self.pool, self.app.keys._wrapper)
        return SmsBudgets(self.pool, keys, BurstWatch(burst, 0.1), metrics or Metrics(), self.clock)

    def sms(
        self, e164: str = "+821012345678", *, segments: int = 1, critical: bool = False, region: str = "KR"
    ) -> SmsCharge:
        return SmsCharge(
            app_id=self.app.app_id,
            delivery_id=uuid4(),
            address_id=e164.encode(),
            hint=make_hint(self.sealer, region, e164) if region else "",
            country="KR",
            segments=segments,
            critical=critical,
        )

    def count(self, verdict: str) -> float:
        value = self.metrics.registry.get_sample_value("clarion_sms_budget_verdicts_total", {"verdict": verdict})
        return value or 0.0


@pytest_asyncio.fixture
async def town(database: Database, app: App) -> AsyncIterator[Town]:
    yield Town(database.pool, app, await app.keys.sealer(app.app_id))


async def sent(planner: SmsBudgets, *charges: SmsCharge) -> list[bool]:
    return [answer.allowed for answer in await planner.charge(charges)]


async def rule(planner: SmsBudgets, charge: SmsCharge) -> tuple[bool, str]:
    [answer] = await planner.charge([charge])
    return answer.allowed, answer.rule


@asynccontextmanager
async def withheld(town: Town) -> AsyncIterator[None]:
    """Nobody gets a slice: somebody else holds the rows."""
    async with town.pool.acquire() as holder, holder.transaction():
        await holder.execute(_LOCK)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "TAKE_TIMEOUT_SECONDS", 0.05)
            yield


# ---------------------------------------------------------------- the limit


@pytest.mark.parametrize("seed", range(8))
async def test_planners_together_never_spend_more_than_the_limit(town: Town, seed: int) -> None:
    """Any number of planners, batches and lengths; planners die, stop and start; nothing goes over either limit."""
    random = Random(seed)
    place = replace(KOREA, segments=random.randint(0, 800))
    prefix = replace(PREFIX, segments=random.randint(0, 500))
    await town.put(place)
    await town.put(prefix)
    spent = {"place": 0, "prefix": 0}
    lost = 0

    async def work(random: Random) -> int:
        """A planner's life; gives what it took to its grave."""
        planner = town.planner()
        async with AsyncExitStack() as stack:
            if stops := random.random() < 0.6:
                await stack.enter_async_context(planner.running())
            for _ in range(random.randint(1, 12)):
                near = random.random() < 0.6
                number = "+821012345678" if near else "+821099945678"
                batch = [town.sms(number, segments=random.randint(1, 4)) for _ in range(random.randint(1, 30))]
                for charge, allowed in zip(batch, await sent(planner, *batch), strict=True):
                    spent["place"] += charge.segments * allowed
                    spent["prefix"] += charge.segments * allowed * near
                if random.random() < 0.2:
                    await planner.refresh()
            return 0 if stops else sum(purse.left for purse in planner._purses.values())

    for _ in range(3):
        lives = await asyncio.gather(*(work(Random(random.random())) for _ in range(4)))
        lost += sum(lives)

    used = await town.used()
    assert spent["place"] <= place.segments
    assert spent["prefix"] <= prefix.segments
    assert used[place.name] + used[prefix.name] == spent["place"] + spent["prefix"] + lost


async def test_budget_is_spent_to_its_last_segment(town: Town) -> None:
    await town.put(KOREA)
    planner = town.planner()

    allowed = [await sent(planner, *(town.sms() for _ in range(9))) for _ in range(12)]

    assert sum(sum(batch) for batch in allowed) == 100
    assert await rule(planner, town.sms()) == (False, "sms budget KR")


async def test_long_sms_costs_its_segments_and_a_short_one_may_still_fit(town: Town) -> None:
    await town.put(replace(KOREA, segments=7))
    planner = town.planner()

    assert await sent(planner, *(town.sms(segments=3) for _ in range(3)), town.sms(), town.sms()) == [
        True, True, False, True, False,
    ]  # fmt: skip


async def test_delivery_that_is_planned_again_is_charged_once(town: Town) -> None:
    await town.put(KOREA)
    planner = town.planner()
    charge = town.sms(segments=60)

    assert await sent(planner, charge, charge) == [True, True]
    assert await sent(planner, charge, town.sms(segments=40), town.sms()) == [True, True, False]


async def test_batches_at_once_do_not_spend_each_others_segments(town: Town) -> None:
    await town.put(replace(KOREA, segments=1_000))
    await town.put(PREFIX)
    planner = town.planner()
    await sent(planner, town.sms("+821099945678"))

    # The first waits for a slice of its prefix; what the second spends meanwhile must not be missing then.
    first, second = await asyncio.gather(
        sent(planner, *(town.sms() for _ in range(9))),
        sent(planner, *(town.sms("+821099945678") for _ in range(9))),
    )

    assert first == second == [True] * 9


async def test_app_without_budgets_is_not_bounded(town: Town) -> None:
    assert await sent(town.planner(), *(town.sms(segments=9) for _ in range(50))) == [True] * 50


# ---------------------------------------------------------------- which budget


async def test_number_draws_on_its_own_country_and_its_longest_prefix(town: Town) -> None:
    for budget in (KOREA, PREFIX, OTHERS, replace(PREFIX, prefix="82", segments=1_000)):
        await town.put(budget)
    planner = town.planner()

    async with planner.running():
        await sent(planner, town.sms("+821012345678"), town.sms("+821099945678", segments=2))
        await sent(planner, town.sms("+12125550123", region="US", segments=3))
        await sent(planner, town.sms("+881612345678", region="001", segments=4))
        await sent(planner, town.sms(region="", segments=5))

    assert await town.used() == {"KR": 1 + 2 + 5, "other countries": 3 + 4, "prefix 82": 2, "prefix 821012": 1}


async def test_refusal_of_one_budget_charges_none(town: Town) -> None:
    await town.put(KOREA)
    await town.put(replace(PREFIX, segments=1))
    planner = town.planner()

    async with planner.running():
        allowed = await sent(planner, *(town.sms() for _ in range(30)))

    assert sum(allowed) == 1
    assert await town.used() == {"KR": 1, "prefix 821012": 1}


async def test_limit_that_is_raised_or_removed_holds_after_the_next_look(town: Town) -> None:
    await town.put(replace(KOREA, segments=0))
    planner = town.planner()
    before = await sent(planner, town.sms())

    await town.put(replace(KOREA, segments=5))
    await planner.refresh()
    raised = await sent(planner, *(town.sms() for _ in range(6)))
    await budgets.delete(town.pool, town.app.app_id, "KR", "")
    await planner.refresh()
    removed = await sent(planner, town.sms())

    assert (before, raised, removed) == ([False], [True] * 5 + [False], [True])


# ---------------------------------------------------------------- critical, shadow


async def test_critical_sms_go_on_beyond_the_limit_and_are_counted(town: Town) -> None:
    await town.put(replace(KOREA, segments=10))
    planner = town.planner(metrics=town.metrics)
    await sent(planner, *(town.sms() for _ in range(10)))

    assert await rule(planner, town.sms(critical=True, segments=3)) == (True, "sms budget KR (overdrawn)")
    assert await sent(planner, town.sms()) == [False]
    await planner.refresh()

    assert await town.used() == {"KR": 13}
    assert (town.count("overdrawn"), town.count("capped"), town.count("charged")) == (3, 1, 10)


async def test_critical_sms_stop_where_their_budget_says_so(town: Town) -> None:
    await town.put(replace(KOREA, segments=10, stops_critical=True))
    planner = town.planner()

    assert await sent(planner, town.sms(critical=True, segments=10), town.sms(critical=True)) == [True, False]


async def test_shadow_stops_nothing_and_counts_everything(town: Town) -> None:
    await town.put(replace(KOREA, segments=10, shadow=True))
    planner = town.planner(metrics=town.metrics)
    await sent(planner, *(town.sms() for _ in range(10)))

    assert await rule(planner, town.sms(segments=5)) == (True, "sms budget KR (shadow)")
    await planner.refresh()

    assert await town.used() == {"KR": 15}
    assert town.count("shadow") == 5


# ---------------------------------------------------------------- without slices


async def test_without_a_slice_only_critical_sms_go_on(town: Town) -> None:
    await town.put(replace(KOREA, stops_critical=True))
    planner = town.planner(metrics=town.metrics)
    await planner.refresh()

    async with withheld(town):
        ordinary, critical = await planner.charge([town.sms(), town.sms(critical=True, segments=2)])

    assert ordinary == CapAnswer(False, rule="sms budget KR (no slice)")
    assert critical == CapAnswer(True, unchecked=True, rule="sms budget KR (no slice)")
    town.clock.seconds += 2
    assert await sent(planner, town.sms()) == [True]
    async with planner.running():
        await planner.refresh()
    assert await town.used() == {"KR": 3}


async def test_slice_in_hand_is_spent_while_the_ledger_is_away(town: Town) -> None:
    await town.put(replace(KOREA, segments=1_000))
    planner = town.planner()
    await sent(planner, town.sms())

    async with withheld(town):
        allowed = await sent(planner, *(town.sms() for _ in range(12)))

    assert allowed == [True] * 9 + [False] * 3


async def test_ledger_that_gives_no_answer_is_not_waited_for_again_at_once(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    await town.put(KOREA)
    planner = town.planner()
    await planner.refresh()
    asked: list[int] = []

    async def away(pool: Pool, asks: object) -> dict[int, budgets.Slice]:
        asked.append(1)
        raise LedgerUnavailable("away")

    monkeypatch.setattr(budgets, "take", away)
    for _ in range(5):
        await sent(planner, town.sms())
    town.clock.seconds += 1.5
    await sent(planner, town.sms())

    assert len(asked) == 2


async def test_planner_that_never_saw_a_budget_postpones_instead_of_guessing(town: Town, app: App) -> None:
    async with pool("postgresql://nobody@127.0.0.1:9/x", size=1, application="test") as nowhere:
        planner = SmsBudgets(nowhere, app.keys, BurstWatch(0, 0.0), Metrics(), town.clock)

        with pytest.raises(LedgerUnavailable):
            await planner.charge([town.sms()])
        assert await planner.charge([]) == []


# ---------------------------------------------------------------- slices come and go


async def test_slice_of_a_planner_that_dies_stays_spent(town: Town) -> None:
    await town.put(replace(KOREA, segments=1_000))
    dying, stopping = town.planner(), town.planner()
    await sent(dying, town.sms())
    async with stopping.running():
        await sent(stopping, town.sms())

    allowed = await sent(town.planner(), *(town.sms() for _ in range(1_000)))

    assert sum(allowed) == 1_000 - 10 - 1


async def test_purse_is_topped_up_before_it_is_empty(town: Town) -> None:
    await town.put(replace(KOREA, segments=10_000))
    planner = town.planner()
    await sent(planner, *(town.sms() for _ in range(150)))

    await planner.refresh()
    async with withheld(town):
        allowed = await sent(planner, *(town.sms() for _ in range(300)))

    assert allowed == [True] * 300


async def test_new_period_begins_whole_and_leaves_old_slices_behind(town: Town) -> None:
    await town.put(KOREA)
    planner, idle = town.planner(), town.planner()
    await sent(planner, *(town.sms() for _ in range(99)))
    async with idle.running():
        await sent(idle, town.sms())
        assert await sent(planner, town.sms()) == [False]

        await town.pool.execute(_END_PERIOD)
        await planner.refresh()
        allowed = await sent(planner, *(town.sms() for _ in range(101)))

    assert sum(allowed) == 100
    assert await town.used() == {"KR": 100}


async def test_slice_ends_by_its_own_clock_where_nobody_looks(town: Town) -> None:
    await town.put(KOREA)
    planner = town.planner()
    await sent(planner, *(town.sms() for _ in range(100)))
    refused = await sent(planner, town.sms())

    await town.pool.execute(_END_PERIOD)
    town.clock.seconds += DAY.total_seconds()

    assert (refused, await sent(planner, town.sms())) == ([False], [True])


# ---------------------------------------------------------------- bursts


async def test_5000_numbers_of_one_range_trip_the_burst_the_prefix_and_the_country(town: Town) -> None:
    """reliability.md row 43."""
    attack = [f"+82101234{n:04}" for n in range(5_000)]

    unguarded = town.planner()
    for budget, most in ((replace(KOREA, segments=1_000), 1_000), (replace(PREFIX, segments=400), 400)):
        await town.put(budget)
        await unguarded.refresh()
        allowed = await sent(unguarded, *(town.sms(e164) for e164 in attack))
        assert sum(allowed) <= most
    await town.pool.execute("UPDATE ledger.sms_budget SET used = 0, segments = 100000, generation = generation + 1")
    guarded = town.planner(burst=200, metrics=town.metrics)
    allowed = await sent(guarded, *(town.sms(e164) for e164 in attack))

    assert sum(allowed) == 200
    assert await rule(guarded, town.sms(attack[0])) == (False, BURST_RULE)
    assert town.count("burst") == 4_801
    assert town.metrics.registry.get_sample_value("clarion_sms_bursts_total") == 1
    await guarded.refresh()
    assert await town.pool.fetchval("SELECT stopped FROM ledger.sms_burst WHERE app_id = $1", town.app.app_id) == 4_801


async def test_burst_that_one_planner_noticed_is_held_by_all(town: Town) -> None:
    await town.put(KOREA)
    noticing, other = town.planner(burst=20), town.planner(burst=20)
    await sent(noticing, *(town.sms(f"+82101234{n:04}") for n in range(30)))
    before = await sent(other, town.sms("+821012349999"))

    await noticing.refresh()
    await other.refresh()

    assert before == [True]
    assert await sent(other, town.sms("+821012349998"), town.sms("+821099949998")) == [False, True]


async def test_burst_of_an_app_without_budgets_is_told_and_stops_nothing(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    allowed = await sent(town.planner(burst=20), *(town.sms(f"+82101234{n:04}") for n in range(30)))

    assert sum(allowed) == 30
    assert [record.message for record in caplog.records] == ["a burst of SMS to one range of numbers"]


async def test_burst_stops_critical_sms_only_where_a_budget_says_so(town: Town) -> None:
    attack = [town.sms(f"+82101234{n:04}", critical=True) for n in range(30)]
    lenient = await sent(town.planner(burst=20), *attack)

    await town.put(replace(KOREA, stops_critical=True))
    strict = await sent(town.planner(burst=20), *attack)

    assert sum(lenient) == 30
    assert sum(strict) == 20


# ---------------------------------------------------------------- seen from outside


async def test_metrics_show_each_budget_until_it_is_gone(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    state = await town.put(KOREA)
    planner = town.planner(metrics=town.metrics)
    await sent(planner, *(town.sms() for _ in range(81)))
    await planner.refresh()
    await planner.refresh()
    labels = {"app": state.app, "budget": "KR"}
    value = town.metrics.registry.get_sample_value

    assert value("clarion_sms_budget_used_segments", labels) == 100
    assert value("clarion_sms_budget_remaining_segments", labels) == 0
    assert value("clarion_sms_budget_near_limit", labels) == 1
    assert [record.message for record in caplog.records].count("an SMS budget is nearly used up") == 1
    await budgets.delete(town.pool, town.app.app_id, "KR", "")
    await planner.refresh()
    assert value("clarion_sms_budget_used_segments", labels) is None


# ---------------------------------------------------------------- as a gate


@pytest_asyncio.fixture
async def p(database: Database, app: App) -> Plant:
    return await plant(database.pool, app)


async def test_sms_over_its_budget_is_suppressed_last_though_the_limiter_is_away(p: Plant, town: Town) -> None:
    await town.put(replace(KOREA, segments=1))
    real = town.planner()
    p.budgets.charge = real.charge  # type: ignore[method-assign]
    p.caps.answer = CapAnswer(True, unchecked=True)

    [first] = await p.planned(literal(Channel.SMS), category="marketing")
    [second] = await p.planned(literal(Channel.SMS), category="marketing")
    [mail] = await p.planned(literal(Channel.EMAIL), category="marketing")

    assert (first.reason, second.reason, mail.reason) == (None, Reason.CAPPED, None)
    assert [record.rule for record in GateTrail.FromString(second.gates).records] == ["sms budget KR"]
    assert [record.verdict for record in GateTrail.FromString(first.gates).records] == [
        state_pb2.VERDICT_PASS_UNCHECKED
    ]


async def test_plan_says_what_each_sms_took_and_what_never_goes_comes_back(p: Plant, town: Town) -> None:
    await town.put(replace(KOREA, segments=1))
    await town.put(PREFIX)
    real = town.planner(metrics=town.metrics)
    p.budgets.charge = real.charge  # type: ignore[method-assign]
    [plan] = await p.rules.plans(await p.sources(literal(Channel.SMS), category="marketing"))
    [delivery] = plan.deliveries
    await planning.plan(town.pool, [plan])
    [refused] = await p.planned(literal(Channel.SMS), category="marketing")

    await cancel(town.pool, town.app.app_id, plan.source.notification_id)
    await real.refresh()
    [after] = await p.planned(literal(Channel.SMS), category="marketing")

    assert [taken.segments for taken in delivery.taken] == [1]
    assert (refused.reason, refused.taken, after.reason) == (Reason.CAPPED, (), None)
    assert town.count("returned") == 1


async def test_what_went_on_without_a_slice_has_no_charge_to_put_back(town: Town) -> None:
    await town.put(replace(KOREA, segments=1))
    planner = town.planner()

    first, beyond = await planner.charge([town.sms(), town.sms(critical=True)])
    [again] = await planner.charge([town.sms(segments=1)])

    assert [taken.segments for taken in first.taken] == [1]
    assert (beyond.allowed, beyond.taken, again.taken) == (True, (), ())


async def test_capped_sms_costs_nothing(p: Plant) -> None:
    p.caps.answer = CapAnswer(False, rule="10 a day")

    await p.planned(literal(Channel.SMS), category="marketing")

    assert p.budgets.charged == []
