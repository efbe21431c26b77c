"""Digest windows: who gathers goes once, whoever dies or joins meanwhile."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clarion_kit.vocabulary import DeliveryState, EventKind, Reason
from clarion_ledger import flow
from clarion_ledger.cancelling import cancel
from clarion_ledger.db import Pool
from clarion_ledger.digests import claim_due
from clarion_testkit.plugin import App, Database

from .ledger_samples import (
    LEASE,
    WINDOW,
    audited,
    close_digest,
    delivery_row,
    events_of,
    existing_work_row,
    member,
    state_of,
    window_ends,
)
from .test_ledger_crash import die_at

HOLD = timedelta(seconds=10)


async def windows(pool: Pool) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM ledger.digest"))


async def test_members_of_one_key_wait_in_one_window(database: Database, app: App) -> None:
    _, first = await member(database.pool, app)
    _, second = await member(database.pool, app)
    await member(database.pool, app, "another")

    rows = [await existing_work_row(database.pool, id_) for id_ in (first, second)]

    assert {row["state"] for row in rows} == {DeliveryState.WAITING}
    assert len({(row["digest_id"], row["due_at"]) for row in rows}) == 1
    assert await windows(database.pool) == 2
    assert await claim_due(database.pool, 10, HOLD) == []
    assert (await audited(database.pool)).unaccounted == 0


async def test_newest_goes_with_new_content_and_the_others_end_merged_into_it(database: Database, app: App) -> None:
    _, first = await member(database.pool, app)
    notification, newest = await member(database.pool, app)
    await window_ends(database.pool)
    [window] = await claim_due(database.pool, 10, HOLD)

    assert await close_digest(database.pool, window)

    merged = await delivery_row(database.pool, first)
    assert (merged["state"], merged["reason"], merged["merged_into"]) == (
        DeliveryState.SUPPRESSED,
        Reason.MERGED,
        newest,
    )
    carrier = await existing_work_row(database.pool, newest)
    assert (carrier["state"], carrier["digest_id"], carrier["due_at"]) == (DeliveryState.READY, None, None)
    content = await database.pool.fetchval("SELECT content FROM ledger.delivery_body WHERE id = $1", newest)
    assert content == b"together"
    assert (await events_of(database.pool, notification))[-2:] == [EventKind.WAITING, EventKind.RELEASED]
    assert await windows(database.pool) == 0
    assert (await audited(database.pool)).unaccounted == 0


async def test_who_joins_while_a_window_closes_begins_the_next_one(database: Database, app: App) -> None:
    await member(database.pool, app)
    await window_ends(database.pool)
    [window] = await claim_due(database.pool, 10, HOLD)
    _, late = await member(database.pool, app)

    assert await close_digest(database.pool, window)

    row = await existing_work_row(database.pool, late)
    assert row["state"] == DeliveryState.WAITING
    left = await database.pool.fetchval("SELECT due_at - now() FROM ledger.digest")
    assert WINDOW - timedelta(minutes=1) < left <= WINDOW
    assert (await audited(database.pool)).unaccounted == 0


async def test_window_of_which_a_member_is_gone_is_looked_at_again(database: Database, app: App) -> None:
    cancelled, _ = await member(database.pool, app)
    _, other = await member(database.pool, app)
    await window_ends(database.pool)
    [window] = await claim_due(database.pool, 10, HOLD)
    await cancel(database.pool, app.app_id, cancelled)

    assert not await close_digest(database.pool, window)
    [again] = await claim_due(database.pool, 10, HOLD)
    assert await close_digest(database.pool, again)

    assert [one.delivery_id for one in again.members] == [other]
    assert await state_of(database.pool, other) is DeliveryState.READY
    assert (await audited(database.pool)).unaccounted == 0


async def test_claimed_window_is_nobody_elses_for_a_while(database: Database, app: App) -> None:
    await member(database.pool, app)
    await window_ends(database.pool)

    assert len(await claim_due(database.pool, 10, HOLD)) == 1
    assert await claim_due(database.pool, 10, HOLD) == []


async def test_window_is_closed_once(database: Database, app: App) -> None:
    await member(database.pool, app)
    await window_ends(database.pool)
    [window] = await claim_due(database.pool, 10, HOLD)

    assert await close_digest(database.pool, window)
    assert not await close_digest(database.pool, window)


async def test_window_closes_early_for_a_member_that_would_not_live_to_its_end(database: Database, app: App) -> None:
    await member(database.pool, app)
    expire_at = datetime.now(UTC) + timedelta(minutes=2)
    await member(database.pool, app, expire_at=expire_at)

    due_at = await database.pool.fetchval("SELECT due_at FROM ledger.digest")

    assert due_at < expire_at


async def test_expired_member_leaves_the_others_their_digest(database: Database, app: App) -> None:
    _, short = await member(database.pool, app)
    _, long = await member(database.pool, app)
    await database.pool.execute(
        "UPDATE ledger.delivery_work SET expire_at = now() - interval '1 second' WHERE delivery_id = $1", short
    )
    assert await flow.expired(database.pool) == 1
    await window_ends(database.pool)
    [window] = await claim_due(database.pool, 10, HOLD)

    assert await close_digest(database.pool, window)

    assert await state_of(database.pool, short) is DeliveryState.EXPIRED
    assert await state_of(database.pool, long) is DeliveryState.READY


async def test_member_is_never_moved_as_a_step_or_a_retry(database: Database, app: App) -> None:
    _, id_ = await member(database.pool, app)
    await window_ends(database.pool)

    assert await flow.due_steps(database.pool) == ([], 0)
    assert await flow.due_retries(database.pool) == []
    assert await state_of(database.pool, id_) is DeliveryState.WAITING


@pytest.mark.parametrize("point", ["digest.before_commit", "digest.after_commit"])
async def test_death_of_who_closes_a_window_makes_exactly_one_digest(database: Database, app: App, point: str) -> None:
    ids = [(await member(database.pool, app))[1] for _ in range(3)]
    await window_ends(database.pool)

    await die_at(point, database, app)
    await database.pool.execute("UPDATE ledger.digest SET claimed_until = NULL")
    for window in await claim_due(database.pool, 10, LEASE):
        await close_digest(database.pool, window)

    states = [await state_of(database.pool, id_) for id_ in ids]
    assert sorted(states) == [DeliveryState.READY, DeliveryState.SUPPRESSED, DeliveryState.SUPPRESSED]
    assert await windows(database.pool) == 0
    assert (await audited(database.pool)).unaccounted == 0


STEPS = st.lists(st.sampled_from(["join", "end", "look", "close", "cancel", "forget"]), min_size=3, max_size=14)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_whatever_the_order_no_member_is_lost_and_none_goes_twice(
    database: Database, app: App, steps: list[str]
) -> None:
    """`look` and `close` are two planners' halves; `forget` is one that died between them."""
    pool = database.pool
    seen = []
    joined = []
    for step in [*steps, "end", "forget", "look", "close", "end", "forget", "look", "close"]:
        match step:
            case "join":
                joined.append(await member(pool, app))
            case "end":
                await window_ends(pool)
            case "look":
                seen += await claim_due(pool, 10, HOLD)
            case "close":
                for window in seen:
                    if window.members:
                        await close_digest(pool, window)
            case "cancel" if joined:
                await cancel(pool, app.app_id, joined[-1][0])
            case "forget":
                seen = []
                await pool.execute("UPDATE ledger.digest SET claimed_until = NULL")

    states = [await state_of(pool, id_) for _, id_ in joined]
    assert DeliveryState.WAITING not in states
    for (_, id_), state in zip(joined, states, strict=True):
        if state is DeliveryState.SUPPRESSED:
            into = (await delivery_row(pool, id_))["merged_into"]
            assert await state_of(pool, into) in (DeliveryState.READY, DeliveryState.CANCELLED)
    assert (await audited(pool)).unaccounted == 0
    await pool.execute("DELETE FROM ledger.digest")
