"""Stopped lanes and what they hold, against a real Postgres."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from clarion_kit.vocabulary import DeliveryState, EventKind, Reason, StopReason
from clarion_ledger import stops
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Record, claim, record
from clarion_testkit.plugin import App, Database

from .ledger_samples import (
    LEASE,
    audited,
    delivery_row,
    events_of,
    existing_work_row,
    planned,
    state_of,
    work_row,
)

MINUTE = timedelta(minutes=1)


async def held(pool: Pool, app: App, count: int = 1) -> tuple[int, list[UUID]]:
    """Deliveries that a lane of their own holds."""
    _, ids = await planned(pool, app, count)
    claims = await claim(pool, ids, LEASE)
    await record(pool, [Record(one, DeliveryState.HELD, tried=False) for one in claims])
    return claims[0].lane_id, ids


async def states_of(pool: Pool, ids: Sequence[UUID]) -> list[DeliveryState]:
    return [await state_of(pool, id_) for id_ in ids]


async def stop(pool: Pool, lane_id: int, app: App, reason: StopReason, probe_after: timedelta | None = MINUTE) -> None:
    await stops.stop(pool, lane_id, app.app_id, reason, "detail", None if reason.by_hand else probe_after)


async def reason_of(pool: Pool, lane_id: int) -> StopReason:
    return (await stops.stopped(pool))[lane_id].reason


async def test_stop_is_seen_with_its_reason_until_the_lane_goes_on(database: Database, app: App) -> None:
    pool = database.pool
    assert await stops.stopped(pool) == {}
    await stops.stop(pool, 7, app.app_id, StopReason.BREAKER, "x" * 500, MINUTE)

    [found] = (await stops.stopped(pool)).values()
    assert (found.lane_id, found.app_id, found.reason, found.probes) == (7, app.app_id, StopReason.BREAKER, 0)
    assert (found.detail, found.probe_due) == ("x" * stops.MAX_DETAIL, False)
    assert await stops.resume(pool, 7)
    assert not await stops.resume(pool, 7)
    assert await stops.stopped(pool) == {}


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        (StopReason.BREAKER, StopReason.CREDENTIALS, StopReason.BREAKER),
        (StopReason.BREAKER, StopReason.OPERATOR, StopReason.OPERATOR),
        (StopReason.UNUSABLE, StopReason.DEAD_JUMP, StopReason.DEAD_JUMP),
        (StopReason.OPERATOR, StopReason.BREAKER, StopReason.OPERATOR),
        (StopReason.DEAD_JUMP, StopReason.OPERATOR, StopReason.DEAD_JUMP),
        (StopReason.OPERATOR, StopReason.DEAD_JUMP, StopReason.OPERATOR),
    ],
)
async def test_stop_that_waits_for_a_person_overrules_the_others(
    database: Database, app: App, first: StopReason, second: StopReason, stands: StopReason
) -> None:
    await stop(database.pool, 7, app, first)

    await stop(database.pool, 7, app, second)

    assert await reason_of(database.pool, 7) is stands
    assert await stops.take_probe(database.pool, 7, MINUTE) is False


async def test_trial_that_is_due_is_taken_by_one_of_many(database: Database, app: App) -> None:
    await stop(database.pool, 7, app, StopReason.BREAKER, timedelta(0))
    assert (await stops.stopped(database.pool))[7].probe_due

    taken = await asyncio.gather(*(stops.take_probe(database.pool, 7, MINUTE) for _ in range(6)))

    assert taken.count(True) == 1
    found = (await stops.stopped(database.pool))[7]
    assert (found.probes, found.probe_due) == (1, False)


async def test_trial_of_a_lane_that_waits_for_a_person_is_never_due(database: Database, app: App) -> None:
    await stop(database.pool, 7, app, StopReason.OPERATOR)

    assert not (await stops.stopped(database.pool))[7].probe_due
    assert not await stops.take_probe(database.pool, 7, MINUTE)


# ---------------------------------------------------------------- release


async def test_what_a_lane_holds_goes_back_to_the_pump_only_when_it_goes_on(database: Database, app: App) -> None:
    stopped, kept = await held(database.pool, app, 3)
    _, free = await held(database.pool, app, 2)
    await stop(database.pool, stopped, app, StopReason.BREAKER)

    assert await stops.release(database.pool, 100) == 2
    assert await states_of(database.pool, free) == [DeliveryState.READY] * 2
    assert await states_of(database.pool, kept) == [DeliveryState.HELD] * 3
    await stops.resume(database.pool, stopped)
    assert await stops.release(database.pool, 100) == 3

    row = await existing_work_row(database.pool, kept[0])
    assert (row["due_at"], row["attempt"], row["ready_since"] is not None) == (None, 0, True)
    assert (await audited(database.pool)).unaccounted == 0


async def test_release_moves_so_many_of_each_lane_oldest_first(database: Database, app: App) -> None:
    _, first = await held(database.pool, app, 5)
    _, second = await held(database.pool, app, 5)

    assert await stops.release(database.pool, 2) == 4

    for ids in (first, second):
        ready = [id_ for id_ in sorted(ids) if await state_of(database.pool, id_) is DeliveryState.READY]
        assert ready == sorted(ids)[:2]


async def test_schedulers_at_once_release_each_delivery_once(database: Database, app: App) -> None:
    _, ids = await held(database.pool, app, 60)

    released = await asyncio.gather(*(stops.release(database.pool, 20) for _ in range(4)))
    while more := await stops.release(database.pool, 20):
        released.append(more)

    assert sum(released) == 60
    assert set(await states_of(database.pool, ids)) == {DeliveryState.READY}


async def test_release_with_nothing_held_moves_nothing(database: Database, app: App) -> None:
    await planned(database.pool, app)

    assert await stops.release(database.pool, 100) == 0


# ---------------------------------------------------------------- held too long


async def grow_old(pool: Pool, *ids: UUID) -> None:
    await pool.execute("UPDATE ledger.lane_stop SET since = now() - interval '2 minutes'")
    await pool.execute(
        "UPDATE ledger.delivery_work SET planned_at = now() - interval '2 minutes' WHERE delivery_id = ANY ($1)", ids
    )


async def test_delivery_held_too_long_by_a_stopped_lane_is_a_dead_letter(database: Database, app: App) -> None:
    pool = database.pool
    lane_id, [old, young] = await held(pool, app, 2)
    await stop(pool, lane_id, app, StopReason.BREAKER)
    await grow_old(pool, old)

    assert await stops.end_held(pool, [(lane_id, MINUTE)], 100) == 1

    row = await delivery_row(pool, old)
    assert (row["state"], row["reason"], row["attempts"]) == (DeliveryState.DEAD_LETTERED, Reason.HELD_TOO_LONG, 0)
    assert row["terminal_at"] is not None
    assert await work_row(pool, old) is None
    assert (await events_of(pool, row["notification_id"]))[-1] == EventKind.TERMINAL
    letter = await pool.fetchrow("SELECT delivery_id, lane_id, reason, last_code FROM ledger.dead_letter")
    assert letter is not None
    assert tuple(letter) == (old, lane_id, Reason.HELD_TOO_LONG, "held too long")
    assert await state_of(pool, young) is DeliveryState.HELD
    assert (await audited(pool)).unaccounted == 0


async def test_lane_that_is_stopped_only_now_ends_nothing(database: Database, app: App) -> None:
    lane_id, ids = await held(database.pool, app)
    await grow_old(database.pool, *ids)
    await stop(database.pool, lane_id, app, StopReason.BREAKER)

    assert await stops.end_held(database.pool, [(lane_id, MINUTE)], 100) == 0


async def test_lane_that_goes_on_ends_nothing(database: Database, app: App) -> None:
    lane_id, ids = await held(database.pool, app)
    await stop(database.pool, lane_id, app, StopReason.BREAKER)
    await grow_old(database.pool, *ids)
    await stops.resume(database.pool, lane_id)

    assert await stops.end_held(database.pool, [(lane_id, MINUTE)], 100) == 0


async def test_each_lane_has_its_own_limit_and_so_many_end_at_a_time(database: Database, app: App) -> None:
    pool = database.pool
    short, quick = await held(pool, app, 3)
    long, patient = await held(pool, app, 3)
    for lane_id in (short, long):
        await stop(pool, lane_id, app, StopReason.BREAKER)
    await grow_old(pool, *quick, *patient)
    limits = [(short, MINUTE), (long, 60 * MINUTE)]

    assert [await stops.end_held(pool, limits, 2) for _ in range(3)] == [2, 1, 0]

    assert await states_of(pool, patient) == [DeliveryState.HELD] * 3
    assert await stops.end_held(pool, [], 2) == 0
    assert (await audited(pool)).unaccounted == 0
