"""Budgets of SMS: segments per period, leased to planners in slices.

A slice is counted as used when it is taken. What a planner does not spend it gives back, and what was spent on an SMS that
ended without any provider being asked is put back; a slice that dies with its planner stays spent. So the sum of what is
sent under a budget never exceeds it, whoever dies, and needs no other store.
Periods roll by the database's clock, with the first slice after their end.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import IntEnum

import asyncpg

from clarion_kit.errors import FieldFault, invalid_fields
from clarion_ledger import audit_log
from clarion_ledger.db import Pool, connection

MAX_BUDGETS = 300
"""Budgets of one app."""
PUT_BACK_AT_ONCE = 5_000
"""Charges that one call puts back."""


class Period(IntEnum):
    """Numbers are those of clarion.budget.v1.BudgetPeriod and are stored."""

    DAY = 1
    MONTH = 2


@dataclass(frozen=True, slots=True)
class SmsBudget:
    """At most `segments` in a period that ends at midnight in `time_zone`.

    `country` is that of the number ("": all without a budget of their own); with `prefix` (digits of E.164) it is "" and
    means nothing. `shadow` stops nothing. `stops_critical`: critical categories stop at the limit, too.
    """

    segments: int
    period: Period
    time_zone: str
    country: str = ""
    prefix: str = ""
    shadow: bool = False
    stops_critical: bool = False
    near_limit_percent: int = 80

    @property
    def name(self) -> str:
        """As people read it: "KR", "prefix 8821", "other countries"."""
        return f"prefix {self.prefix}" if self.prefix else self.country or "other countries"


@dataclass(frozen=True, slots=True)
class SmsBudgetState:
    """A budget as it stands now; after the end of a stored period it stands as the next one will begin."""

    budget_id: int
    app_id: int
    app: str
    budget: SmsBudget
    used: int
    generation: int
    period_start: datetime
    period_end: datetime

    @property
    def remaining(self) -> int:
        return max(0, self.budget.segments - self.used)

    @property
    def near_limit(self) -> bool:
        return self.used * 100 >= self.budget.segments * self.budget.near_limit_percent


@dataclass(frozen=True, slots=True)
class Ask:
    """A slice of at least `wanted` segments; `debt` segments went on without one and are counted now."""

    budget_id: int
    wanted: int
    debt: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """Segments that may be spent until the period ends, `ends_in` from now."""

    budget_id: int
    generation: int
    segments: int
    ends_in: timedelta


_ROLLED = """
SELECT b.budget_id, b.app_id, a.name AS app, b.segments, b.period, b.time_zone, b.country, b.prefix, b.shadow,
       b.stops_critical, b.near_limit_percent,
       CASE WHEN r.ended THEN 0 ELSE b.used END AS used,
       b.generation + r.ended::int AS generation,
       CASE WHEN r.ended THEN ledger.sms_period_start(b.period, b.time_zone, now()) ELSE b.period_start END AS period_start,
       CASE WHEN r.ended THEN ledger.sms_period_end(b.period, b.time_zone, now()) ELSE b.period_end END AS period_end
FROM ledger.sms_budget b
JOIN ledger.app a USING (app_id)
CROSS JOIN LATERAL (SELECT b.period_end <= now() AS ended) r
"""
_BY_APP = f"{_ROLLED} WHERE b.app_id = $1 ORDER BY b.country, b.prefix"
_BY_KEY = f"{_ROLLED} WHERE b.app_id = $1 AND b.country = $2 AND b.prefix = $3"

# Another period or zone begins a new generation with nothing used.
_PUT = """
INSERT INTO ledger.sms_budget AS b (app_id, country, prefix, segments, period, time_zone, shadow, stops_critical,
                                    near_limit_percent, period_start, period_end)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, ledger.sms_period_start($5, $6, now()), ledger.sms_period_end($5, $6, now()))
ON CONFLICT (app_id, country, prefix) DO UPDATE SET
    segments = excluded.segments, period = excluded.period, time_zone = excluded.time_zone, shadow = excluded.shadow,
    stops_critical = excluded.stops_critical, near_limit_percent = excluded.near_limit_percent,
    used = CASE WHEN (b.period, b.time_zone) = (excluded.period, excluded.time_zone) THEN b.used ELSE 0 END,
    generation = b.generation + ((b.period, b.time_zone) <> (excluded.period, excluded.time_zone))::int,
    period_start = CASE WHEN (b.period, b.time_zone) = (excluded.period, excluded.time_zone) THEN b.period_start
                        ELSE excluded.period_start END,
    period_end = CASE WHEN (b.period, b.time_zone) = (excluded.period, excluded.time_zone) THEN b.period_end
                      ELSE excluded.period_end END
"""

# A hundredth of what is left, or all that is asked for if that is more: few trips while there is much, little held by
# idle planners near the end. Everything that decides is read under the row's lock.
_TAKE = """
WITH locked AS (
    SELECT b.budget_id, b.segments, i.wanted, b.period_end <= now() AS ended,
           CASE WHEN b.period_end <= now() THEN 0 ELSE b.used END + i.debt AS used
    FROM ledger.sms_budget b
    JOIN unnest($1::int4[], $2::int8[], $3::int8[]) AS i (budget_id, wanted, debt) ON i.budget_id = b.budget_id
    ORDER BY b.budget_id FOR UPDATE OF b
), granted AS (
    SELECT l.budget_id, l.ended, l.used,
           CASE WHEN l.wanted > 0
                THEN least(greatest(l.segments - l.used, 0), greatest(l.wanted, (l.segments - l.used) / 100))
                ELSE 0 END AS slice
    FROM locked l
)
UPDATE ledger.sms_budget b SET
    used = g.used + g.slice,
    generation = b.generation + g.ended::int,
    period_start = CASE WHEN g.ended THEN ledger.sms_period_start(b.period, b.time_zone, now()) ELSE b.period_start END,
    period_end = CASE WHEN g.ended THEN ledger.sms_period_end(b.period, b.time_zone, now()) ELSE b.period_end END
FROM granted g WHERE b.budget_id = g.budget_id
RETURNING b.budget_id, b.generation, g.slice, b.period_end - now() AS ends_in
"""

_GIVE_BACK = """
WITH locked AS (
    SELECT b.budget_id, i.unused
    FROM ledger.sms_budget b
    JOIN unnest($1::int4[], $2::int8[], $3::int8[]) AS i (budget_id, generation, unused)
      ON i.budget_id = b.budget_id AND i.generation = b.generation
    ORDER BY b.budget_id FOR UPDATE OF b
)
UPDATE ledger.sms_budget b SET used = greatest(b.used - l.unused, 0) FROM locked l WHERE b.budget_id = l.budget_id
"""

# The charges are held first, so that each is put back once; of an earlier generation they just go.
_UNSPENT = """
SELECT delivery_id, budget_id FROM ledger.sms_charge WHERE unspent
ORDER BY delivery_id, budget_id LIMIT $1 FOR UPDATE SKIP LOCKED
"""
_PUT_BACK = """
WITH gone AS (
    DELETE FROM ledger.sms_charge c USING unnest($1::uuid[], $2::int4[]) AS i (delivery_id, budget_id)
    WHERE c.delivery_id = i.delivery_id AND c.budget_id = i.budget_id
    RETURNING c.budget_id, c.generation, c.segments
), unspent AS (
    SELECT budget_id, generation, sum(segments)::int8 AS segments FROM gone GROUP BY 1, 2
), locked AS (
    SELECT b.budget_id, u.segments FROM ledger.sms_budget b JOIN unspent u USING (budget_id, generation)
    ORDER BY b.budget_id FOR UPDATE OF b
)
UPDATE ledger.sms_budget b SET used = greatest(b.used - l.segments, 0) FROM locked l WHERE b.budget_id = l.budget_id
RETURNING b.budget_id, l.segments
"""


async def put(pool: Pool, app_id: int, budget: SmsBudget) -> SmsBudgetState:
    """Create or replace the budget of a country or prefix. Raises INVALID_FIELD (a zone that the database does not know,
    more than `MAX_BUDGETS`), LedgerUnavailable."""
    key = (app_id, budget.country, budget.prefix)
    async with connection(pool) as db, db.transaction():
        former = await db.fetchrow(_BY_KEY, *key)
        try:
            await db.execute(
                _PUT,
                *key,
                budget.segments,
                budget.period,
                budget.time_zone,
                budget.shadow,
                budget.stops_critical,
                budget.near_limit_percent,
            )
        except asyncpg.InvalidParameterValueError:
            raise invalid_fields([FieldFault("budget.time_zone", "unknown to the database")]) from None
        count: int = await db.fetchval("SELECT count(*) FROM ledger.sms_budget WHERE app_id = $1", app_id)
        if count > MAX_BUDGETS:
            raise invalid_fields([FieldFault("budget", f"an app has at most {MAX_BUDGETS}")])
        row = await db.fetchrow(_BY_KEY, *key)
        if row is None:
            raise RuntimeError("a budget that was stored is not there")
        await audit_log.record(
            db,
            "PutSmsBudget",
            app_id,
            f"sms budget {budget.name}",
            before=None if former is None else asdict(_state(former).budget),
            after=asdict(budget),
        )
    return _state(row)


async def of_app(pool: Pool, app_id: int) -> list[SmsBudgetState]:
    """An app's budgets by country and prefix. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        return [_state(row) for row in await db.fetch(_BY_APP, app_id)]


async def of_all_apps(pool: Pool) -> list[SmsBudgetState]:
    """Every budget. Raises LedgerUnavailable."""
    async with connection(pool) as db:
        return [_state(row) for row in await db.fetch(_ROLLED)]


async def delete(pool: Pool, app_id: int, country: str, prefix: str) -> bool:
    """Remove a budget; False if there was none. Raises LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        former = await db.fetchrow(_BY_KEY, app_id, country, prefix)
        deleted: int | None = await db.fetchval(
            "DELETE FROM ledger.sms_budget WHERE app_id = $1 AND country = $2 AND prefix = $3 RETURNING budget_id",
            app_id,
            country,
            prefix,
        )
        if deleted is not None and former is not None:
            budget = _state(former).budget
            await audit_log.record(db, "DeleteSmsBudget", app_id, f"sms budget {budget.name}", before=asdict(budget))
    return deleted is not None


async def take(pool: Pool, asks: Sequence[Ask]) -> dict[int, Slice]:
    """A slice of each budget by its id, at most one ask for each; less than was wanted where less is left, none where
    the budget is gone. Raises LedgerUnavailable: whether slices were taken is unknown, and then they are spent."""
    if not asks:
        return {}
    async with connection(pool) as db:
        rows = await db.fetch(
            _TAKE, [ask.budget_id for ask in asks], [ask.wanted for ask in asks], [ask.debt for ask in asks]
        )
    return {row["budget_id"]: Slice(row["budget_id"], row["generation"], row["slice"], row["ends_in"]) for row in rows}


async def give_back(pool: Pool, slices: Sequence[Slice]) -> None:
    """Return what is unspent of slices, at most one for each budget; of an earlier generation: nothing happens. Not to be
    repeated. Raises LedgerUnavailable."""
    if not slices:
        return
    async with connection(pool) as db:
        await db.execute(
            _GIVE_BACK,
            [one.budget_id for one in slices],
            [one.generation for one in slices],
            [one.segments for one in slices],
        )


async def put_back(pool: Pool) -> dict[int, int]:
    """Put back what SMS took that ended before any provider was asked, some thousands at a time; gives the segments by budget.
    Several may call it at once. Raises LedgerUnavailable."""
    async with connection(pool) as db, db.transaction():
        held = await db.fetch(_UNSPENT, PUT_BACK_AT_ONCE)
        if not held:
            return {}
        rows = await db.fetch(_PUT_BACK, [row["delivery_id"] for row in held], [row["budget_id"] for row in held])
    return {row["budget_id"]: row["segments"] for row in rows}


def _state(row: asyncpg.Record) -> SmsBudgetState:
    return SmsBudgetState(
        budget_id=row["budget_id"],
        app_id=row["app_id"],
        app=row["app"],
        budget=SmsBudget(
            segments=row["segments"],
            period=Period(row["period"]),
            time_zone=row["time_zone"],
            country=row["country"],
            prefix=row["prefix"],
            shadow=row["shadow"],
            stops_critical=row["stops_critical"],
            near_limit_percent=row["near_limit_percent"],
        ),
        used=row["used"],
        generation=row["generation"],
        period_start=row["period_start"],
        period_end=row["period_end"],
    )
