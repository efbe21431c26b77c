"""Broadcasts: durable once, planned once whatever dies, cancelled in chunks, and an audit that knows their children."""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from clarion_kit import crash
from clarion_kit.vocabulary import BroadcastState, DeliveryState, EventKind, NotificationState
from clarion_ledger import broadcasts, cancelling, reading, retention
from clarion_ledger.audit import Auditor
from clarion_ledger.broadcasts import Broadcast, LeaseLost, child_id, siblings
from clarion_ledger.db import Pool, pool
from clarion_ledger.dispatching import claim as claim_deliveries
from clarion_ledger.dispatching import record
from clarion_ledger.ids import timestamp_ms
from clarion_ledger.retention import Retention
from clarion_testkit.plugin import App, Database

from .broadcast_samples import (
    PROVED_WITH_BROADCASTS,
    child_plan,
    chunk_of,
    claimed,
    new_broadcast,
    plan_all,
    refs,
    started,
)
from .ledger_samples import LEASE, audited, events_of, failed_for_now, lane, planned, sent

ROOT = Path(__file__).resolve().parents[3]


async def seen(database: Database, app: App, id_: UUID) -> Broadcast:
    found = await broadcasts.get(database.pool, app.app_id, id_)
    assert found is not None
    return found


async def children(connections: Pool, id_: UUID) -> set[UUID]:
    rows = await connections.fetch("SELECT id FROM ledger.notification WHERE broadcast_id = $1", id_)
    return {row["id"] for row in rows}


async def end_lease(connections: Pool) -> None:
    await connections.execute("UPDATE ledger.broadcast SET lease_until = now() - interval '1 second'")


# ---------------------------------------------------------------- start


async def test_same_event_id_and_payload_gives_the_first_broadcast(database: Database, app: App) -> None:
    first, second, other = [
        await broadcasts.start(database.pool, new_broadcast(app, "e1", payload=payload))
        for payload in (b"a", b"a", b"b")
    ]

    assert (first.fresh, second.fresh, other.fresh) == (True, False, False)
    assert (second.same, other.same) == (True, False)
    assert first.broadcast_id == second.broadcast_id == other.broadcast_id


async def test_broadcast_for_later_is_not_served_before_its_time(database: Database, app: App) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    one = await broadcasts.start(database.pool, new_broadcast(app, deliver_at=later))

    found = await seen(database, app, one.broadcast_id)

    assert await broadcasts.claim(database.pool) is None
    assert (found.deliver_at, found.expire_at) == (later, later + timedelta(hours=1))
    assert abs(timestamp_ms(one.broadcast_id) - later.timestamp() * 1_000) < 1_000


# ---------------------------------------------------------------- children


async def test_every_recipient_gets_one_child_and_the_counters_say_so(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    id_ = await started(database.pool, app)
    members = refs(8)

    await plan_all(database.pool, members, lane_id)

    found = await seen(database, app, id_)
    assert (found.state, found.planned, found.deliveries, found.suppressed, found.total) == (
        BroadcastState.PLANNED,
        8,
        8,
        8,
        8,
    )
    assert await children(database.pool, id_) == {child_id(id_, ref) for ref in members}
    assert (await audited(database.pool)).unaccounted == 0
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.notification_body") == 0


async def test_child_is_shown_and_cancelled_as_any_notification(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    id_ = await started(database.pool, app)
    [ref] = refs(1)
    await plan_all(database.pool, [ref], lane_id)
    child = child_id(id_, ref)

    whole = await reading.whole(database.pool, app.app_id, child)
    listed = await reading.page(
        database.pool, app.app_id, size=5, before=reading.MAX_UUID, since=UUID(int=0), recipient_ref=ref
    )
    ended = await cancelling.cancel(database.pool, app.app_id, child)

    assert whole is not None
    assert (whole.notification.state, len(whole.deliveries)) == (NotificationState.PLANNED, 2)
    assert [row.notification_id for row in listed] == [child]
    assert ended is not None
    assert ended.cancelled == 1
    assert await events_of(database.pool, child) == [
        EventKind.ACCEPTED,
        EventKind.PLANNED,
        EventKind.TERMINAL,
        EventKind.TERMINAL,
    ]
    assert (await audited(database.pool)).unaccounted == 0


async def test_audience_of_no_one_is_planned_at_once(database: Database, app: App) -> None:
    id_ = await started(database.pool, app)

    await plan_all(database.pool, [], 0)

    found = await seen(database, app, id_)
    assert (found.state, found.planned, found.total) == (BroadcastState.PLANNED, 0, 0)


def test_children_and_their_ids_lie_in_the_millisecond_of_their_broadcast() -> None:
    broadcast = UUID("019aaaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee")
    first, last = siblings(broadcast)
    ids = [child_id(broadcast, ref) for ref in refs(200)]

    assert all(first <= id_ <= last for id_ in ids)
    assert all(id_.version == 7 and timestamp_ms(id_) == timestamp_ms(broadcast) for id_ in ids)
    assert len(set(ids)) == 200


# ---------------------------------------------------------------- turns


async def test_broadcasts_are_served_in_turn_and_nobody_holds_one_twice(database: Database, app: App) -> None:
    first, second = [await started(database.pool, app) for _ in range(2)]

    one, two = await claimed(database.pool), await claimed(database.pool)
    assert await broadcasts.claim(database.pool) is None
    await broadcasts.release(database.pool, two, rate=1)
    await broadcasts.release(database.pool, one, rate=1)
    again = await claimed(database.pool)

    assert {one.broadcast.broadcast_id, two.broadcast.broadcast_id} == {first, second}
    assert again.broadcast.broadcast_id == one.broadcast.broadcast_id


async def test_planner_whose_lease_ended_writes_nothing(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    id_ = await started(database.pool, app)
    slow = await claimed(database.pool)
    await end_lease(database.pool)
    members = refs(4)
    await plan_all(database.pool, members, lane_id)

    with pytest.raises(LeaseLost):
        await broadcasts.plan_chunk(database.pool, slow, slow.cursor, chunk_of(slow, members[:2], lane_id, last=False))

    assert len(await children(database.pool, id_)) == 4
    assert (await audited(database.pool)).unaccounted == 0


async def test_two_planners_with_one_lease_write_a_chunk_once(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    id_ = await started(database.pool, app)
    turn = await claimed(database.pool)
    chunk = chunk_of(turn, refs(3), lane_id, last=True)

    results = await asyncio.gather(
        *(broadcasts.plan_chunk(database.pool, turn, turn.cursor, chunk) for _ in range(2)), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in results) == ["LeaseLost", "bool"]
    assert (await seen(database, app, id_)).planned == 3


async def test_pace_makes_a_broadcast_wait(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    await started(database.pool, app, pace=2)
    turn = await claimed(database.pool)
    members = refs(20)

    waits = await broadcasts.plan_chunk(
        database.pool, turn, turn.cursor, chunk_of(turn, members[:10], lane_id, last=False)
    )
    await broadcasts.release(database.pool, turn, rate=2)

    assert waits
    assert await broadcasts.claim(database.pool) is None


async def test_chunk_that_fails_is_counted_and_rests(database: Database, app: App) -> None:
    await started(database.pool, app)
    turn = await claimed(database.pool)

    await broadcasts.release(database.pool, turn, rate=0, failed=True)

    assert await broadcasts.claim(database.pool) is None
    await database.pool.execute("UPDATE ledger.broadcast SET next_at = now()")
    assert (await claimed(database.pool)).tries == 1


# ---------------------------------------------------------------- deaths


async def die_at(point: str, database: Database) -> None:
    """Plan a chunk in a child that dies there."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "libs.ledger.tests.broadcast_child",
        database.url,
        env={**os.environ, "CLARION_CRASH_POINT": point},
        cwd=ROOT,
    )
    assert await asyncio.wait_for(child.wait(), 30) == crash.EXIT_STATUS


@pytest.mark.parametrize(
    "point",
    ["broadcast.before_commit", "broadcast.children_stored", "broadcast.children_planned", "broadcast.after_commit"],
)
async def test_whatever_dies_every_recipient_gets_one_child(database: Database, app: App, point: str) -> None:
    lane_id = await lane(database.pool, app)
    id_ = await started(database.pool, app)
    await die_at(point, database)
    assert await broadcasts.claim(database.pool) is None
    await end_lease(database.pool)
    members = refs(8)

    await plan_all(database.pool, members, lane_id)

    assert await children(database.pool, id_) == {child_id(id_, ref) for ref in members}
    assert (await seen(database, app, id_)).planned == 8
    assert (await audited(database.pool)).unaccounted == 0


# ---------------------------------------------------------------- pause, cancel, expiry


async def test_paused_broadcast_plans_nothing_until_it_is_resumed(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    id_ = await started(database.pool, app)
    turn = await claimed(database.pool)

    assert await broadcasts.pause(database.pool, app.app_id, id_)
    with pytest.raises(LeaseLost):
        await broadcasts.plan_chunk(database.pool, turn, turn.cursor, chunk_of(turn, refs(2), lane_id, last=True))
    await broadcasts.release(database.pool, turn, rate=0)
    assert await broadcasts.claim(database.pool) is None
    assert await broadcasts.resume(database.pool, app.app_id, id_)
    await plan_all(database.pool, refs(2), lane_id)

    assert (await seen(database, app, id_)).planned == 2


async def test_cancel_ends_what_no_provider_has_yet_and_nothing_of_others(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    [other], _ = await planned(database.pool, app, enqueue=False)
    id_ = await started(database.pool, app)
    await plan_all(database.pool, refs(6), lane_id, enqueue=True)
    flying = await database.pool.fetch(
        "SELECT delivery_id FROM ledger.delivery_work WHERE notification_id = ANY ($1) ORDER BY 1",
        list(await children(database.pool, id_)),
    )
    gone, held = await claim_deliveries(database.pool, [row["delivery_id"] for row in flying[:2]], LEASE)
    await record(database.pool, [sent(gone)])

    assert await broadcasts.cancel(database.pool, app.app_id, id_)
    ended = await broadcasts.end_cancelled(database.pool)
    between = (await seen(database, app, id_)).state
    await record(database.pool, [failed_for_now(held)])
    ended += await broadcasts.end_cancelled(database.pool)
    await broadcasts.end_cancelled(database.pool)

    found = await seen(database, app, id_)
    assert (ended, between, found.state) == (5, BroadcastState.CANCELLING, BroadcastState.CANCELLED)
    counts = await broadcasts.outcomes(database.pool, id_)
    assert counts == {DeliveryState.SENT: 1, DeliveryState.CANCELLED: 5, DeliveryState.SUPPRESSED: 6}
    assert (
        await database.pool.fetchval("SELECT count(*) FROM ledger.delivery_work WHERE notification_id = $1", other) == 1
    )
    assert (await audited(database.pool)).unaccounted == 0
    assert not await broadcasts.cancel(database.pool, app.app_id, id_)


async def test_broadcast_past_its_deadline_plans_no_more(database: Database, app: App) -> None:
    id_ = await started(database.pool, app)
    await database.pool.execute("UPDATE ledger.broadcast SET expire_at = now()")

    assert await broadcasts.expire(database.pool) == 1

    assert (await seen(database, app, id_)).state is BroadcastState.EXPIRED
    assert await broadcasts.claim(database.pool) is None
    assert await events_of(database.pool, id_) == [EventKind.BROADCAST] * 2


async def test_broadcasts_of_another_app_are_not_there(database: Database, app: App) -> None:
    id_ = await started(database.pool, app)
    stranger = app.app_id + 1

    assert await broadcasts.get(database.pool, stranger, id_) is None
    assert not await broadcasts.pause(database.pool, stranger, id_)
    assert not await broadcasts.cancel(database.pool, stranger, id_)
    assert await broadcasts.page(database.pool, stranger, before=reading.MAX_UUID, size=5) == []


# ---------------------------------------------------------------- audit, retention, roles


CORRUPTIONS = {
    "a child lost": """DELETE FROM ledger.notification WHERE id = $1""",
    "a child doubled": """INSERT INTO ledger.notification (expire_at, id, app_id, category_id, recipient_count, priority, state,
            event_id, broadcast_id)
        SELECT expire_at, overlay(id::text placing '00' from 35)::uuid, app_id, category_id, 1, priority, 3, '', broadcast_id
        FROM ledger.notification WHERE id = $1""",
    "a child given away": "UPDATE ledger.notification SET broadcast_id = NULL WHERE id = $1",
    "a child of nobody": "UPDATE ledger.notification SET broadcast_id = uuidv7() WHERE id = $1",
    "a counter moved alone": "UPDATE ledger.broadcast SET planned = planned + 1 WHERE broadcast_id <> $1",
    "a delivery counted twice": "UPDATE ledger.broadcast SET deliveries = deliveries + 1 WHERE broadcast_id <> $1",
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
async def test_audit_finds_a_broadcast_that_does_not_add_up(database: Database, app: App, corruption: str) -> None:
    lane_id = await lane(database.pool, app)
    id_ = await started(database.pool, app)
    await plan_all(database.pool, refs(4), lane_id)
    assert (await audited(database.pool)).unaccounted == 0

    await database.pool.execute(CORRUPTIONS[corruption], min(await children(database.pool, id_)))

    found = (await audited(database.pool)).findings.keys() & PROVED_WITH_BROADCASTS
    assert found == (
        {"broadcast_counts_differ", "child_of_no_broadcast"} if "nobody" in corruption else {"broadcast_counts_differ"}
    )


async def test_auditor_that_follows_events_counts_a_broadcast_when_it_ends(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    id_ = await started(database.pool, app)
    await plan_all(database.pool, refs(4), lane_id)
    await database.pool.execute(
        "DELETE FROM ledger.notification WHERE id = $1", min(await children(database.pool, id_))
    )

    findings, _ = await Auditor(database.pool).step()

    assert findings["broadcast_counts_differ"] == 1


async def test_retention_keeps_the_day_of_a_broadcast_that_goes_on(database: Database, app: App) -> None:
    id_ = await started(database.pool, app)
    day = datetime.now(UTC).date() - timedelta(days=200)
    await database.pool.execute("SELECT ledger.ensure_partitions($1, $1)", day)
    early = UUID(int=int((datetime.now(UTC) - timedelta(days=200)).timestamp() * 1_000) << 80 | 7 << 76)
    await database.pool.execute("UPDATE ledger.broadcast SET broadcast_id = $1 WHERE broadcast_id = $2", early, id_)
    notifications = f"notification_{day:%Y%m%d}"

    held = {one.partition: one.held_by for one in await retention.prunable(database.pool, Retention())}
    await database.pool.execute("UPDATE ledger.broadcast SET state = 3")
    dropped = await retention.prune(database.pool, Retention(), notifications)
    for other in await retention.prunable(database.pool, Retention()):  # other tests have the same database
        await retention.prune(database.pool, Retention(), other.partition)

    assert held[notifications] == f"broadcast {early}"
    assert dropped
    assert await database.pool.fetchval("SELECT count(*) FROM ledger.broadcast") == 0


async def test_each_daemon_may_do_its_part_and_no_more(database: Database, app: App) -> None:
    lane_id = await lane(database.pool, app)
    async with (
        pool(f"{database.url}?role=clarion_scheduler", size=1, application="test") as scheduler,
        pool(f"{database.url}?role=clarion_planner", size=1, application="test") as planner,
    ):
        id_ = await started(scheduler, app)
        turn = await claimed(planner)
        one = child_plan(turn, uuid4(), lane_id)
        chunk = broadcasts.Chunk([one], one.deliveries[0].recipient_ref, last=True)
        await broadcasts.plan_chunk(planner, turn, turn.cursor, chunk)
        await broadcasts.release(planner, turn, rate=1)
        await broadcasts.outcomes(scheduler, id_)
        await broadcasts.cancel(scheduler, app.app_id, id_)
        assert await broadcasts.end_cancelled(scheduler) == 1
        with pytest.raises(Exception, match="permission denied"):
            await planner.execute("UPDATE ledger.broadcast SET payload = ''")
