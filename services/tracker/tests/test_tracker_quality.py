"""What receipts make of an account's weight: the rule, and the roll-up on a real Postgres with the tracker's own rights."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.vocabulary import Receipt
from clarion_ledger.config import ConfigCache
from clarion_ledger.db import Pool, pool
from clarion_ledger.receipts import ReceiptFor, apply
from clarion_testkit.plugin import App, Database
from clarion_tracker.adapters.quality_table import QualityTable
from clarion_tracker.quality import (
    BEST_FACTOR,
    FAILED,
    GRAIN,
    LEAST_FACTOR,
    LEAST_SAMPLES,
    STEP,
    WINDOW,
    Measured,
    Standing,
    judge,
    judge_all,
    measure,
    score,
)
from clarion_tracker.rollup import roll

from .tracker_ledger_samples import Sms, claimed_sms, send, sms_lane

LANE = 7
COUNTS = st.integers(0, 10_000)
MEASURED = st.builds(Measured, COUNTS, COUNTS, st.sampled_from([1 << n for n in range(16)]))
JUDGEABLE = MEASURED.filter(lambda measured: measured.samples >= LEAST_SAMPLES)
FACTORS = st.integers(LEAST_FACTOR // GRAIN, BEST_FACTOR // GRAIN).map(lambda n: n * GRAIN)


def standing(factor: int = BEST_FACTOR, unchanged_for: timedelta = timedelta(0)) -> Standing:
    return Standing(LANE, "KR", factor, unchanged_for)


@pytest.mark.parametrize(
    ("measured", "factor"),
    [
        (Measured(1000, 0, 8), 100),
        (Measured(970, 30, 32), 95),
        (Measured(900, 100, 8), 80),
        (Measured(500, 500, 8), 25),
        (Measured(100, 900, 8), 5),
        (Measured(0, 1000), 5),
        (Measured(1000, 0, 64), 50),
        (Measured(1000, 0, 4096), 50),
    ],
)
def test_score_is_the_square_of_the_share_delivered_less_for_slow_ones(measured: Measured, factor: int) -> None:
    assert score(measured) == factor


@given(JUDGEABLE)
def test_score_is_a_whole_step_between_the_least_and_the_best(measured: Measured) -> None:
    assert LEAST_FACTOR <= score(measured) <= BEST_FACTOR
    assert score(measured) % GRAIN == 0


@given(JUDGEABLE, COUNTS, st.integers(0, 5))
def test_better_receipts_never_cost_weight(measured: Measured, more: int, slower: int) -> None:
    better = Measured(measured.delivered + more, measured.undelivered, measured.median_seconds)
    worse = Measured(measured.delivered, measured.undelivered + more, measured.median_seconds << slower)
    assert score(worse) <= score(measured) <= score(better)


@given(FACTORS, JUDGEABLE)
def test_factor_moves_to_the_score_or_not_at_all(factor: int, measured: Measured) -> None:
    found = judge(standing(factor), measured)
    assert found == (score(measured) if abs(score(measured) - factor) >= STEP else factor)
    assert judge(standing(found), measured) == found


@given(FACTORS, MEASURED.filter(lambda measured: measured.samples < LEAST_SAMPLES), st.integers(0, 3_600))
def test_too_few_receipts_never_cost_weight(factor: int, measured: Measured, seconds: int) -> None:
    found = judge(standing(factor, timedelta(seconds=seconds)), measured)
    forgiven = timedelta(seconds=seconds) >= WINDOW
    assert found == (min(BEST_FACTOR, factor + STEP) if forgiven else factor)


def test_account_that_gets_too_little_to_be_judged_is_trusted_again_step_by_step() -> None:
    factors = [LEAST_FACTOR]
    while factors[-1] < BEST_FACTOR:
        factors.append(judge(standing(factors[-1], WINDOW), Measured()))
    assert factors == [5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 100]


@pytest.mark.parametrize(
    ("tally", "measured"),
    [
        ({}, Measured()),
        ({0: 3, 3: 4, FAILED: 2}, Measured(7, 2, 8)),
        ({5: 1}, Measured(1, 0, 32)),
        ({2: 2, 4: 2}, Measured(4, 0, 4)),
        ({FAILED: -3, 1: 3}, Measured(3, 0, 2)),
        ({FAILED: 4}, Measured(0, 4, 0)),
    ],
)
def test_window_is_measured(tally: dict[int, int], measured: Measured) -> None:
    assert measure(tally) == measured


@given(st.dictionaries(st.integers(-1, 15), st.integers(-5, 500)))
def test_whatever_was_counted_can_be_measured(tally: dict[int, int]) -> None:
    measured = measure(tally)
    assert min(measured.delivered, measured.undelivered) >= 0
    assert (measured.median_seconds > 0) == (measured.delivered > 0)


def test_each_account_is_judged_by_country() -> None:
    tallies = {(1, "KR"): {FAILED: 60}, (1, "DE"): {1: 60}, (2, ""): {1: 3}}
    judged = judge_all([Standing(3, "KR", 50)], tallies)
    assert [(one.lane_id, one.country, one.factor) for one in judged] == [
        (1, "DE", 100),
        (1, "KR", 5),
        (2, "", 100),
        (3, "KR", 50),
    ]


@pytest.fixture
async def tracker_pool(database: Database) -> AsyncIterator[Pool]:
    async with pool(f"{database.url}?role=clarion_tracker", size=4, application="test") as connections:
        yield connections


async def sent(database: Database, app: App, lane_id: int, count: int, country: str = "KR") -> list[Sms]:
    made = []
    for number in range(count):
        sms = await claimed_sms(database.pool, app, lane_id, country)
        await send(database.pool, sms, f"m{number}")
        made.append(sms)
    return made


async def quality_of(database: Database, lane_id: int, country: str = "KR") -> tuple[int, int, int] | None:
    row = await database.pool.fetchrow(
        "SELECT delivered, undelivered, factor FROM ledger.lane_quality WHERE lane_id = $1 AND country = $2",
        lane_id,
        country,
    )
    return None if row is None else (row["delivered"], row["undelivered"], row["factor"])


async def test_receipts_are_counted_once_by_lane_and_country_and_a_correction_counts_back(
    database: Database, app: App, tracker_pool: Pool
) -> None:
    lane_id = await sms_lane(database.pool, app)
    first, second = await sent(database, app, lane_id, 2)
    [abroad] = await sent(database, app, lane_id, 1, "DE")
    failed = [ReceiptFor(sms.id, Receipt.UNDELIVERED) for sms in (first, second, abroad)]

    for receipts in (failed, failed, [ReceiptFor(first.id, Receipt.DELIVERED)], [ReceiptFor(first.id, Receipt.SEEN)]):
        await apply(tracker_pool, receipts)
    tallies = await QualityTable(tracker_pool).tallies(WINDOW)

    measured = {key: measure(tally) for key, tally in tallies.items()}
    assert measured == {(lane_id, "KR"): Measured(1, 1, 1), (lane_id, "DE"): Measured(0, 1, 0)}


async def test_many_trackers_count_together(database: Database, app: App, tracker_pool: Pool) -> None:
    lane_id = await sms_lane(database.pool, app)
    made = await sent(database, app, lane_id, 8)

    await asyncio.gather(*(apply(tracker_pool, [ReceiptFor(sms.id, Receipt.DELIVERED)]) for sms in made))

    tallies = await QualityTable(tracker_pool).tallies(WINDOW)
    assert measure(tallies[lane_id, "KR"]).delivered == 8


async def test_receipt_of_long_ago_says_nothing_of_the_account(
    database: Database, app: App, tracker_pool: Pool
) -> None:
    [sms] = await sent(database, app, await sms_lane(database.pool, app), 1)
    await database.pool.execute("UPDATE ledger.delivery SET terminal_at = now() - interval '2 hours'")

    await apply(tracker_pool, [ReceiptFor(sms.id, Receipt.DELIVERED)])

    assert await QualityTable(tracker_pool).tallies(WINDOW) == {}


async def _tally(
    database: Database, lane_id: int, *, delivered: int = 0, failed: int = 0, minutes_ago: int = 0
) -> None:
    await database.pool.execute(
        """INSERT INTO ledger.receipt_tally (minute, lane_id, country, bucket, count)
           SELECT date_trunc('minute', now()) - make_interval(mins => $1), $2, 'KR', b, n
           FROM (VALUES (2, $3::int4), (-1, $4::int4)) v (b, n) WHERE n > 0""",
        minutes_ago,
        lane_id,
        delivered,
        failed,
    )


async def test_roll_up_lowers_a_bad_account_and_every_daemon_reads_it_and_lifts_it_again(
    database: Database, app: App, tracker_pool: Pool
) -> None:
    bad, good = await sms_lane(database.pool, app), await sms_lane(database.pool, app)
    table, config = QualityTable(tracker_pool), ConfigCache(tracker_pool, with_lanes=True)
    await _tally(database, bad, failed=60)
    await _tally(database, good, delivered=60)
    await config.refresh()

    await roll(table)
    changed = await config.refresh()
    lowered = dict(config.snapshot.quality)
    await roll(table)
    unchanged = await config.refresh()
    await database.pool.execute("UPDATE ledger.receipt_tally SET minute = minute - interval '20 minutes'")
    await _tally(database, bad, delivered=80)
    await roll(table)
    await config.refresh()

    assert (changed, unchanged) == (True, False)
    assert lowered == {(bad, "KR"): LEAST_FACTOR}
    assert config.snapshot.quality == {}
    assert await quality_of(database, bad) == (80, 0, BEST_FACTOR)


async def test_account_without_receipts_is_forgotten_once_it_is_trusted(
    database: Database, app: App, tracker_pool: Pool
) -> None:
    lane_id = await sms_lane(database.pool, app)
    await _tally(database, lane_id, delivered=60, minutes_ago=200)
    await database.pool.execute(
        """INSERT INTO ledger.lane_quality (changed_at, lane_id, country, delivered, undelivered, median_seconds, factor)
           VALUES (now() - interval '1 hour', $1, 'KR', 0, 60, 0, 90)""",
        lane_id,
    )

    await roll(QualityTable(tracker_pool))

    assert await quality_of(database, lane_id) is None
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.receipt_tally") == 0


async def test_one_tracker_judges_and_another_takes_over(database: Database, app: App, tracker_pool: Pool) -> None:
    one, other = QualityTable(tracker_pool), QualityTable(tracker_pool)
    assert [await one.mine(), await other.mine(), await one.mine()] == [True, False, True]

    await database.pool.execute("UPDATE ledger.lease SET until = now() - interval '1 second'")

    assert [await other.mine(), await one.mine()] == [True, False]
