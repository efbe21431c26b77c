"""Claims and records against a real Postgres."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from clarion_kit.vocabulary import DeliveryState, EventKind, Priority, Reason
from clarion_ledger import flow, stops
from clarion_ledger.accept import accept
from clarion_ledger.db import Pool, connection
from clarion_ledger.dispatching import Record, changed, claim, claim_held, extend, mark_writing, record
from clarion_ledger.planning import load, plan
from clarion_testkit.plugin import App, Database

from .ledger_samples import (
    DISPATCH,
    LEASE,
    OUTCOME_RETRY,
    accepted,
    audited,
    delivered,
    delivery_row,
    events_of,
    existing_work_row,
    failed_for_now,
    item,
    lane,
    leased,
    plan_of,
    planned,
    sent,
    state_of,
    work_row,
)


async def end_lease(pool: Pool, id_: UUID) -> None:
    """As if the lease had run out some time ago."""
    await pool.execute(
        """UPDATE ledger.delivery_work SET lease_until = now() - interval '1 second', enqueued_at = now() - interval '1 hour'
           WHERE delivery_id = $1""",
        id_,
    )


async def test_claim_brings_the_content_and_counts_the_attempt(database: Database, app: App) -> None:
    [notification], [id_] = await planned(database.pool, app)

    [claimed] = await claim(database.pool, [id_], LEASE)

    assert (claimed.delivery_id, claimed.notification_id, claimed.app_id) == (id_, notification, app.app_id)
    assert (claimed.address, claimed.content, claimed.address_id) == (b"address", b"content", UUID(int=7))
    assert (claimed.attempt, claimed.lease_gen, claimed.max_attempts) == (1, 1, 3)
    assert (claimed.priority, claimed.at_most_once, claimed.ambiguous, claimed.expired) == (
        Priority.NORMAL,
        False,
        False,
        False,
    )


async def test_claim_of_leased_ended_or_unknown_delivery_gives_nothing(database: Database, app: App) -> None:
    taken = await leased(database.pool, app)
    _, over = await delivered(database.pool, app)

    assert await claim(database.pool, [taken.delivery_id, over, uuid4()], LEASE) == []
    assert await claim(database.pool, [], LEASE) == []
    assert (await existing_work_row(database.pool, taken.delivery_id))["lease_gen"] == 1


async def test_claim_of_resting_delivery_gives_nothing(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app, enqueue=False)

    assert await claim(database.pool, ids, LEASE) == []


async def test_each_delivery_is_claimed_by_one_of_many_dispatchers(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app, 60)

    claims = await asyncio.gather(
        *(claim(database.pool, ids[start:] + ids[:start], LEASE) for start in range(0, 60, 10))
    )

    claimed = [c.delivery_id for batch in claims for c in batch]
    assert sorted(claimed) == sorted(ids)


async def test_claim_says_that_the_deadline_passed(database: Database, app: App) -> None:
    _, [id_] = await planned(database.pool, app)
    await database.pool.execute("UPDATE ledger.delivery_work SET expire_at = now() WHERE delivery_id = $1", id_)

    [claimed] = await claim(database.pool, [id_], LEASE)

    assert claimed.expired


async def test_sent_delivery_is_terminal_with_attempt_and_event(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)

    assert await record(database.pool, [sent(claimed, "m1", receipt_key="r1")]) == {claimed.delivery_id}

    row = await delivery_row(database.pool, claimed.delivery_id)
    assert (row["state"], row["reason"], row["attempts"]) == (DeliveryState.SENT, 0, 1)
    assert (row["provider_message_id"], row["ambiguous"], row["lane_id"]) == ("m1", False, claimed.lane_id)
    attempt = await database.pool.fetchrow(
        "SELECT attempt, duration_ms, receipt_key FROM ledger.attempt WHERE delivery_id = $1", claimed.delivery_id
    )
    assert attempt is not None
    assert tuple(attempt) == (1, 40, "r1")
    assert (await events_of(database.pool, claimed.notification_id))[-1] == EventKind.TERMINAL
    assert await work_row(database.pool, claimed.delivery_id) is None
    assert (await audited(database.pool)).unaccounted == 0


async def test_retry_rests_until_it_is_due_and_keeps_its_attempts(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)

    await record(database.pool, [failed_for_now(claimed, timedelta(minutes=5))])

    work = await existing_work_row(database.pool, claimed.delivery_id)
    assert (work["state"], work["attempt"]) == (DeliveryState.RETRY_WAIT, 1)
    assert (work["enqueued_at"], work["lease_until"]) == (None, None)
    assert (await events_of(database.pool, claimed.notification_id))[-1] == EventKind.RETRY
    assert await flow.due_retries(database.pool) == []
    assert (await audited(database.pool)).unaccounted == 0


async def test_delivery_sent_at_the_second_attempt_shows_both(database: Database, app: App) -> None:
    first = await leased(database.pool, app)
    await record(database.pool, [failed_for_now(first)])
    await flow.due_retries(database.pool)

    [second] = await claim(database.pool, [first.delivery_id], LEASE)
    await record(database.pool, [sent(second)])

    assert (second.attempt, second.lease_gen) == (2, 2)
    outcomes = await database.pool.fetch(
        "SELECT outcome FROM ledger.attempt WHERE delivery_id = $1 ORDER BY attempt", first.delivery_id
    )
    assert [row["outcome"] for row in outcomes] == [OUTCOME_RETRY, 1]
    assert (await delivery_row(database.pool, first.delivery_id))["attempts"] == 2


async def test_delivery_given_back_untried_costs_no_attempt_and_leaves_no_trace(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)

    await record(database.pool, [Record(claimed, DeliveryState.READY, tried=False)])

    work = await existing_work_row(database.pool, claimed.delivery_id)
    assert (work["state"], work["attempt"], work["lease_gen"]) == (DeliveryState.READY, 0, 1)
    assert work["ready_since"] is not None
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.attempt") == 0
    assert sorted(await events_of(database.pool, claimed.notification_id)) == [EventKind.ACCEPTED, EventKind.PLANNED]
    assert (await audited(database.pool)).unaccounted == 0


async def test_held_delivery_shows_in_the_timeline_and_waits_until_its_lane_goes_on(
    database: Database, app: App
) -> None:
    claimed = await leased(database.pool, app)

    await record(database.pool, [Record(claimed, DeliveryState.HELD, tried=False)])

    assert (await events_of(database.pool, claimed.notification_id))[-1] == EventKind.HELD
    assert (await audited(database.pool)).unaccounted == 0
    assert await flow.due_retries(database.pool) == []
    assert await stops.release(database.pool, 10) == 1
    assert await state_of(database.pool, claimed.delivery_id) is DeliveryState.READY


async def test_delivery_ended_without_a_call_has_a_terminal_event_and_no_attempt(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)

    await record(database.pool, [Record(claimed, DeliveryState.EXPIRED, Reason.DEADLINE_PASSED, tried=False)])

    assert await state_of(database.pool, claimed.delivery_id) is DeliveryState.EXPIRED
    assert (await delivery_row(database.pool, claimed.delivery_id))["attempts"] == 0
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.attempt") == 0
    assert (await audited(database.pool)).unaccounted == 0


async def test_frozen_worker_writes_nothing_after_its_lease_was_taken_back(database: Database, app: App) -> None:
    frozen = await leased(database.pool, app)
    await end_lease(database.pool, frozen.delivery_id)
    assert await flow.ended_leases(database.pool) == 1
    await flow.pump(database.pool, DISPATCH, 10)
    [successor] = await claim(database.pool, [frozen.delivery_id], LEASE)

    assert await record(database.pool, [sent(frozen, "zombie")]) == set()

    assert await state_of(database.pool, frozen.delivery_id) is DeliveryState.LEASED
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.attempt") == 0
    assert await record(database.pool, [sent(successor, "m2")]) == {frozen.delivery_id}
    assert (await audited(database.pool)).unaccounted == 0


async def test_second_record_under_the_same_lease_writes_nothing(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)
    await record(database.pool, [sent(claimed, "m1")])

    assert await record(database.pool, [sent(claimed, "m2")]) == set()

    assert (await delivery_row(database.pool, claimed.delivery_id))["provider_message_id"] == "m1"


async def test_outcomes_of_a_batch_fail_or_hold_each_for_itself(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app, 4)
    claims = await claim(database.pool, ids, LEASE)
    stale = replace(claims[3], lease_gen=7)

    written = await record(
        database.pool,
        [
            sent(claims[0]),
            failed_for_now(claims[1]),
            Record(
                claims[2], DeliveryState.FAILED, Reason.REFUSED, outcome=2, code="400", duration=timedelta(seconds=1)
            ),
            sent(stale),
        ],
    )

    assert written == {c.delivery_id for c in claims[:3]}
    states = [await state_of(database.pool, c.delivery_id) for c in claims]
    assert states == [DeliveryState.SENT, DeliveryState.RETRY_WAIT, DeliveryState.FAILED, DeliveryState.LEASED]
    assert (await audited(database.pool)).unaccounted == 0


async def test_dead_letter_keeps_its_last_code(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)

    await record(
        database.pool,
        [
            Record(
                claimed,
                DeliveryState.DEAD_LETTERED,
                Reason.RETRIES_EXHAUSTED,
                outcome=OUTCOME_RETRY,
                code="503",
                duration=timedelta(seconds=1),
            )
        ],
    )

    letter = await database.pool.fetchrow(
        "SELECT app_id, reason, attempts, last_code FROM ledger.dead_letter WHERE delivery_id = $1", claimed.delivery_id
    )
    assert letter is not None
    assert tuple(letter) == (app.app_id, Reason.RETRIES_EXHAUSTED, 1, "503")
    assert (await audited(database.pool)).unaccounted == 0


async def test_doubt_about_one_attempt_stays_with_the_delivery(database: Database, app: App) -> None:
    first = await leased(database.pool, app)
    await record(database.pool, [replace(failed_for_now(first), ambiguous=True)])
    await flow.due_retries(database.pool)
    [second] = await claim(database.pool, [first.delivery_id], LEASE)

    await record(database.pool, [sent(second)])

    assert second.ambiguous
    assert (await delivery_row(database.pool, first.delivery_id))["ambiguous"]


async def test_at_most_once_write_is_allowed_only_under_a_live_lease(database: Database, app: App) -> None:
    live = await leased(database.pool, app, at_most_once=True)
    ended = await leased(database.pool, app, at_most_once=True)
    await end_lease(database.pool, ended.delivery_id)
    lost = replace(await leased(database.pool, app, at_most_once=True), lease_gen=0)

    assert await mark_writing(database.pool, [live, ended, lost]) == {live.delivery_id}

    assert (await existing_work_row(database.pool, live.delivery_id))["writing_at"] is not None


async def test_new_claim_forgets_the_write_of_the_last_one(database: Database, app: App) -> None:
    first = await leased(database.pool, app, at_most_once=True)
    await mark_writing(database.pool, [first])
    await record(database.pool, [failed_for_now(first)])
    await flow.due_retries(database.pool)

    await claim(database.pool, [first.delivery_id], LEASE)

    assert (await existing_work_row(database.pool, first.delivery_id))["writing_at"] is None


async def test_heartbeat_prolongs_what_is_still_ours_and_names_it(database: Database, app: App) -> None:
    ours, taken_over, over = [await leased(database.pool, app) for _ in range(3)]
    await end_lease(database.pool, taken_over.delivery_id)
    await flow.ended_leases(database.pool)
    await flow.pump(database.pool, DISPATCH, 10)
    [successor] = await claim(database.pool, [taken_over.delivery_id], LEASE)
    await record(database.pool, [sent(over)])
    before = (await existing_work_row(database.pool, ours.delivery_id))["lease_until"]
    theirs = (await existing_work_row(database.pool, taken_over.delivery_id))["lease_until"]

    kept = await extend(database.pool, [ours, taken_over, over], LEASE + LEASE)

    assert kept == {(ours.delivery_id, ours.lease_gen)}
    assert (await existing_work_row(database.pool, ours.delivery_id))["lease_until"] - before > LEASE / 2
    assert (await existing_work_row(database.pool, taken_over.delivery_id))["lease_until"] == theirs
    both = await extend(database.pool, [taken_over, successor], LEASE)
    assert both == {(successor.delivery_id, successor.lease_gen)}


async def test_held_deliveries_are_claimed_oldest_first_and_by_one_alone(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app, 8)
    claims = await claim(database.pool, ids, LEASE)
    await record(database.pool, [Record(one, DeliveryState.HELD, tried=False) for one in claims])
    lane_id = claims[0].lane_id
    await database.pool.execute("UPDATE ledger.delivery_work SET expire_at = now() WHERE delivery_id = $1", min(ids))

    first, second = await asyncio.gather(*(claim_held(database.pool, lane_id, 3, LEASE) for _ in range(2)))
    rest = await claim_held(database.pool, lane_id, 10, LEASE)

    tried = [one.delivery_id for one in (*first, *second, *rest)]
    assert sorted(tried) == sorted(ids)[1:]
    assert {one.delivery_id for one in (*first, *second)} <= set(sorted(ids)[1:7])
    assert {(one.attempt, one.lease_gen, one.address) for one in first} == {(1, 2, b"address")}
    assert await claim_held(database.pool, lane_id + 1, 10, LEASE) == []
    assert (await audited(database.pool)).unaccounted == 0


async def know(pool: Pool, app: App, *, revision: int, planned_ago: timedelta) -> None:
    """Store everyone to whom something is on its way, and let the plans be of that age with revision 5."""
    await pool.execute("DELETE FROM preference.recipient")
    await pool.execute(
        """INSERT INTO preference.recipient (revision, app_id, recipient_ref, recipient_id, locale, time_zone, country)
           SELECT $1, app_id, recipient_ref, recipient_ref::text, '', '', '' FROM ledger.delivery_work""",
        revision,
    )
    await pool.execute(
        "UPDATE ledger.delivery_work SET wishes_revision = 5, planned_at = now() - $1::interval", planned_ago
    )


@pytest.mark.parametrize(
    ("revision", "planned_ago", "said"),
    [(5, 2.0, False), (6, 2.0, True), (6, 0.5, True), (6, -60.0, False)],
    ids=["same revision", "newer revision", "plan of half a second", "fresh plan"],
)
async def test_claim_says_that_the_recipient_changed_after_the_plan(
    database: Database, app: App, revision: int, planned_ago: float, said: bool
) -> None:
    _, ids = await planned(database.pool, app)
    await know(database.pool, app, revision=revision, planned_ago=timedelta(seconds=planned_ago))

    [claimed] = await claim(database.pool, ids, LEASE)

    assert claimed.changed is said
    assert bool(await changed(database.pool, [claimed])) is (revision == 6)


async def test_claim_says_that_the_recipient_is_gone(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app)
    await know(database.pool, app, revision=5, planned_ago=timedelta(seconds=2))
    await database.pool.execute("DELETE FROM preference.recipient")

    [claimed] = await claim(database.pool, ids, LEASE)

    assert claimed.changed
    assert await changed(database.pool, [claimed]) == set(ids)


async def test_updates_of_the_hot_path_touch_no_index(database: Database, app: App) -> None:
    pool = database.pool
    lane_id = await lane(pool, app)
    today = await pool.fetchval("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')")
    tables = ["ledger.delivery_work", f"ledger.notification_{today}", f"ledger.delivery_{today}"]
    async with pool.acquire() as db:
        await db.execute("SELECT pg_stat_force_next_flush()")
        await db.execute("SELECT pg_stat_reset_single_table_counters(t::regclass) FROM unnest($1::text[]) AS t", tables)
    for _ in range(5):
        results = await accept(pool, [item(app, uuid4().hex) for _ in range(100)])
        waiting = await load(pool, [accepted(result).notification_id for result in results])
        plans = [plan_of(w, lane_id) for w in waiting]
        await plan(pool, plans)
        claims = await claim(pool, [p.deliveries[0].delivery_id for p in plans], LEASE)
        await record(pool, [sent(c) for c in claims])

    async with pool.acquire() as db:
        await db.execute("SELECT pg_stat_force_next_flush()")
        await db.execute("SELECT pg_stat_clear_snapshot()")
        counted = await db.fetch(
            """SELECT t, n_tup_upd, n_tup_hot_upd FROM unnest($1::text[]) AS t
               JOIN pg_stat_user_tables s ON s.relid = t::regclass""",
            tables,
        )
    assert {row["t"]: (row["n_tup_upd"], row["n_tup_hot_upd"]) for row in counted} == dict.fromkeys(tables, (500, 500))


async def test_batch_of_old_and_new_reads_nothing_in_between(database: Database, app: App) -> None:
    # Small tables are the trap: the planner takes a range of them for a row.
    await database.pool.execute("TRUNCATE ledger.delivery, ledger.delivery_body")
    _, ids = await planned(database.pool, app, 60)
    ends = sorted(ids)[:: len(ids) - 1]
    async with connection(database.pool) as db, db.transaction():
        claims = await db.fetch("SELECT delivery_id, lease_gen FROM ledger.claim($1, $2)", ends, LEASE)
        assert [row["delivery_id"] for row in claims] == ends
        await db.execute(
            """SELECT ledger.record($1, '{1,1}', '{20,20}', '{0,0}', '{1,1}', '{ok,ok}', '{a,b}', '{NULL,NULL}', '{0,0}',
                                    '{f,f}', '{0,0}', '{1,1}', '{t,t}', '{NULL,NULL}')""",
            ends,
        )
        fetched = await db.fetchval(
            """SELECT sum(pg_stat_get_xact_tuples_fetched(i.indexrelid))::int8 FROM pg_inherits p
               JOIN pg_index i ON i.indrelid = p.inhrelid
               WHERE p.inhparent = ANY ('{ledger.delivery,ledger.delivery_body}'::regclass[])"""
        )
    assert 0 < fetched <= 4 * len(ends)


async def test_row_of_a_newer_version_harms_none_beside_it(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app, 3)
    await database.pool.execute("UPDATE ledger.delivery_work SET priority = 9 WHERE delivery_id = $1", ids[0])

    claims = {claimed.delivery_id: claimed for claimed in await claim(database.pool, ids, LEASE)}

    assert set(claims) == set(ids)
    assert not claims[ids[0]].priority.known
    assert await record(database.pool, [sent(claimed) for claimed in claims.values()]) == set(ids)
    assert (await audited(database.pool)).unaccounted == 0


async def test_retry_without_a_lane_rests_and_holds_up_no_other(database: Database, app: App) -> None:
    _, ids = await planned(database.pool, app, 2)
    await record(database.pool, [failed_for_now(claimed) for claimed in await claim(database.pool, ids, LEASE)])
    await database.pool.execute("UPDATE ledger.delivery_work SET priority = 9 WHERE delivery_id = $1", ids[0])

    moved = await flow.due_retries(database.pool)

    assert [one.ids for one in moved] == [[ids[1]]]
    assert await state_of(database.pool, ids[0]) is DeliveryState.RETRY_WAIT
