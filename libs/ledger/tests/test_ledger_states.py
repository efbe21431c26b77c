"""Every statement that moves deliveries, from every state: it moves only along the transition table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from uuid import UUID

import pytest

from clarion_kit.subjects import Stream
from clarion_kit.vocabulary import DeliveryState, NotificationState, Priority, Reason, Receipt, StopReason
from clarion_ledger import digests, flow, stops
from clarion_ledger.cancelling import cancel
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Claimed, Record, claim, claim_held, extend, mark_writing, record
from clarion_ledger.receipts import ReceiptFor, apply
from clarion_ledger.states import DELIVERY_TRANSITIONS, IN_FLIGHT, NOTIFICATION_TRANSITIONS, TERMINAL, may_follow
from clarion_testkit.plugin import App, Database

from .ledger_samples import DISPATCH, LEASE, delivered, planned, state_of


@dataclass(frozen=True, slots=True)
class Target:
    """The delivery a mover is let loose on, and a claim on it that is as good as a claim can be."""

    pool: Pool
    app_id: int
    claimed: Claimed


Mover = Callable[[Target], Awaitable[object]]

RECORDED = {
    DeliveryState.SENT: None,
    DeliveryState.FAILED: Reason.REFUSED,
    DeliveryState.SUPPRESSED: Reason.OPTED_OUT,
    DeliveryState.EXPIRED: Reason.DEADLINE_PASSED,
    DeliveryState.CANCELLED: Reason.WISH_CHANGED,
    DeliveryState.DEAD_LETTERED: Reason.RETRIES_EXHAUSTED,
    DeliveryState.RETRY_WAIT: None,
    DeliveryState.DEFERRED: Reason.QUIET_HOURS,
    DeliveryState.HELD: None,
    DeliveryState.READY: None,
}


def recorder(state: DeliveryState) -> Mover:
    return lambda t: record(t.pool, [Record(t.claimed, state, RECORDED[state])])


MOVERS: dict[str, Mover] = {
    "claim": lambda t: claim(t.pool, [t.claimed.delivery_id], LEASE),
    "claim_held": lambda t: claim_held(t.pool, t.claimed.lane_id, 10, LEASE),
    "extend": lambda t: extend(t.pool, [t.claimed], LEASE),
    "mark_writing": lambda t: mark_writing(t.pool, [t.claimed]),
    **{f"record_{state.name.lower()}": recorder(state) for state in RECORDED},
    "pump": lambda t: flow.pump(t.pool, DISPATCH, 10),
    "due_retries": lambda t: flow.due_retries(t.pool),
    "due_steps": lambda t: flow.due_steps(t.pool),
    "close_digest": lambda t: _close_digest(t, go=True),
    "merge_digest": lambda t: _close_digest(t, go=False),
    "lost": lambda t: flow.lost(t.pool, DISPATCH, None),
    "ended_leases": lambda t: flow.ended_leases(t.pool),
    "expired": lambda t: flow.expired(t.pool),
    "release": lambda t: flow.release(t.pool, DISPATCH, [t.claimed.delivery_id]),
    "restart": lambda t: _restart(t.pool),
    "release_held": lambda t: stops.release(t.pool, 10),
    "end_held": lambda t: _end_held(t),
    "cancel": lambda t: cancel(t.pool, t.app_id, t.claimed.notification_id),
    "receipt": lambda t: apply(t.pool, [ReceiptFor(t.claimed.delivery_id, Receipt.DELIVERED)]),
}

CIRCUMSTANCES = {
    "early": "expire_at = now() + interval '1 hour'",
    "expired": "expire_at = now() - interval '1 second'",
    "spent": "attempt = max_attempts, lease_until = now() - interval '1 minute'",
    "step": "until = 1, step = 1, escalate_after = interval '1 minute'",
    "member": "digest_id = 7",
    "written": "at_most_once = true, writing_at = now() - interval '1 minute', lease_until = now() - interval '1 minute'",
}
"""What a row may also be; each makes some statement want it."""

RESTS = {
    DeliveryState.READY: "ready_since",
    DeliveryState.ENQUEUED: "enqueued_at",
    DeliveryState.LEASED: "enqueued_at",
    DeliveryState.RETRY_WAIT: "due_at",
    DeliveryState.DEFERRED: "due_at",
    DeliveryState.HELD: "held",
    DeliveryState.WAITING: "due_at",
}


async def _restart(pool: Pool) -> int:
    return await flow.restart(pool, Stream.DISPATCH)


async def _end_held(t: Target) -> int:
    await stops.stop(t.pool, t.claimed.lane_id, t.app_id, StopReason.OPERATOR, "", None)
    ended = await stops.end_held(t.pool, [(t.claimed.lane_id, timedelta(microseconds=-1))], 10)
    await stops.resume(t.pool, t.claimed.lane_id)
    return ended


async def _close_digest(t: Target, *, go: bool) -> None:
    await t.pool.execute(
        """INSERT INTO ledger.digest (digest_id, due_at, length, app_id, category_id, recipient_ref, digest_key)
           OVERRIDING SYSTEM VALUE VALUES (7, now(), '1 minute', 1, 1, uuidv7(), 'k') ON CONFLICT DO NOTHING"""
    )
    id_ = t.claimed.delivery_id
    ended = [digests.EndedMember(id_, Reason.MERGED, id_, b"", "")]
    await digests.close(t.pool, 7, [digests.Carrier(id_, None)] if go else [], [] if go else ended)
    await t.pool.execute("DELETE FROM ledger.digest")


async def put(pool: Pool, id_: UUID, state: DeliveryState, circumstance: str) -> None:
    """Put a delivery in flight into a state, resting there for an hour."""
    columns = ", ".join(
        f"{column} = " + ("now() - interval '1 hour'" if column == RESTS[state] else "NULL")
        for column in ("ready_since", "enqueued_at", "due_at")
    )
    if RESTS[state] == "held":  # until its lane goes on
        columns = "ready_since = NULL, enqueued_at = NULL, due_at = 'infinity'"
    await pool.execute(
        f"UPDATE ledger.delivery_work SET state = $2, lease_gen = 1, attempt = 1, {columns} WHERE delivery_id = $1",
        id_,
        state,
    )
    await pool.execute(f"UPDATE ledger.delivery_work SET {CIRCUMSTANCES[circumstance]} WHERE delivery_id = $1", id_)


def claim_on(id_: UUID, notification: UUID, app_id: int, lane_id: int) -> Claimed:
    """A claim with the lease generation that `put` leaves."""
    return Claimed(
        delivery_id=id_,
        notification_id=notification,
        recipient_ref=UUID(int=0),
        address_id=UUID(int=0),
        app_id=app_id,
        lane_id=lane_id,
        category_id=0,
        lease_gen=1,
        priority=Priority.NORMAL,
        attempt=1,
        max_attempts=3,
        at_most_once=False,
        ambiguous=False,
        expired=False,
        changed=False,
        claimed_at=datetime.max,
        planned_at=datetime.max,
        expire_at=datetime.max,
        collapse_key="",
        traceparent="",
        address=b"",
        content=b"",
    )


@pytest.mark.parametrize("mover", MOVERS)
async def test_statement_moves_deliveries_only_along_the_table(database: Database, app: App, mover: str) -> None:
    cases = list(product(IN_FLIGHT, CIRCUMSTANCES))
    _, ids = await planned(database.pool, app, len(cases))
    rows = await database.pool.fetch(
        "SELECT id, notification_id, lane_id FROM ledger.delivery WHERE id = ANY ($1)", ids
    )
    by_delivery: dict[UUID, UUID] = {row["id"]: row["notification_id"] for row in rows}
    lane_id: int = rows[0]["lane_id"]
    moves = set()
    for (before, circumstance), id_ in zip(cases, ids, strict=True):
        await put(database.pool, id_, before, circumstance)
        await MOVERS[mover](Target(database.pool, app.app_id, claim_on(id_, by_delivery[id_], app.app_id, lane_id)))
        after = await state_of(database.pool, id_)
        if after is not before:
            moves.add((before, after))
        await database.pool.execute("DELETE FROM ledger.delivery_work WHERE delivery_id = $1", id_)

    assert {(before.name, after.name) for before, after in moves if not may_follow(before, after)} == set()
    assert moves or mover in ("mark_writing", "extend", "lost", "receipt"), "a mover that moves nothing proves nothing"


@pytest.mark.parametrize("mover", MOVERS)
async def test_statement_leaves_ended_deliveries_alone(database: Database, app: App, mover: str) -> None:
    for state in TERMINAL:
        notification, id_ = await delivered(database.pool, app)
        await database.pool.execute("UPDATE ledger.delivery SET state = $2 WHERE id = $1", id_, state)
        before = await database.pool.fetchrow("SELECT state, reason, attempts FROM ledger.delivery WHERE id = $1", id_)

        await MOVERS[mover](Target(database.pool, app.app_id, claim_on(id_, notification, app.app_id, 0)))

        after = await database.pool.fetchrow("SELECT state, reason, attempts FROM ledger.delivery WHERE id = $1", id_)
        assert after == before
        assert await database.pool.fetchval("SELECT count(*) FROM ledger.delivery_work") == 0


@pytest.mark.parametrize(("before", "after"), list(product(DeliveryState, DeliveryState)))
def test_table_ends_in_terminal_states_only(before: DeliveryState, after: DeliveryState) -> None:
    allowed = may_follow(before, after)

    assert not (allowed and before.terminal)
    assert not (allowed and before is after)


def test_every_delivery_in_flight_can_reach_sent() -> None:
    reached = {DeliveryState.SENT}
    while more := {s for s in DeliveryState if s not in reached and DELIVERY_TRANSITIONS[s] & reached}:
        reached |= more

    assert reached == {DeliveryState.SENT, *IN_FLIGHT}


def test_tables_name_every_state() -> None:
    assert set(DELIVERY_TRANSITIONS) == set(DeliveryState)
    assert set(NOTIFICATION_TRANSITIONS) == set(NotificationState)
    assert set(IN_FLIGHT) | set(TERMINAL) == set(DeliveryState)
    assert not set(IN_FLIGHT) & set(TERMINAL)
