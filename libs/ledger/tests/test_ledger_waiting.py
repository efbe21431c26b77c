"""What rests until its time: deferred deliveries, steps of an escalation."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from clarion_kit.subjects import Stream
from clarion_kit.vocabulary import Channel, DeliveryState, EventKind, Reason, Receipt
from clarion_ledger import flow
from clarion_ledger.cancelling import cancel
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Record, claim, record
from clarion_ledger.planning import PlannedDelivery, ToPlan
from clarion_ledger.receipts import ReceiptFor, apply
from clarion_ledger.rests import UNTIL_APP_RECEIPT, EscalationStep, Rest
from clarion_testkit.plugin import App, Database

from .ledger_samples import (
    LEASE,
    audited,
    delivery_row,
    events_of,
    existing_work_row,
    leased,
    plan_resting,
    resting,
    sent,
    state_of,
)

AFTER = timedelta(minutes=5)
DELIVERED, OPENED = 1, 2
FIRST, SECOND, THIRD = Channel.ANDROID, Channel.SMS, Channel.EMAIL


async def due(pool: Pool, *ids: UUID) -> None:
    await pool.execute(
        "UPDATE ledger.delivery_work SET due_at = now() - interval '1 second' WHERE delivery_id = ANY ($1)", ids
    )


async def released(pool: Pool) -> list[UUID]:
    moves, _ = await flow.due_steps(pool)
    assert {moved.lane.stream for moved in moves} <= {Stream.RETRY}
    return [id_ for moved in moves for id_ in moved.ids]


def step(channel: Channel, number: int, until: int = DELIVERED) -> Callable[[ToPlan, int], PlannedDelivery]:
    """The `number`-th step of an escalation, from 0."""

    def make(source: ToPlan, lane_id: int) -> PlannedDelivery:
        rest = Rest(DeliveryState.WAITING, delay=AFTER * number, code=f"step {number}") if number else None
        return resting(source, lane_id, channel, rest=rest, escalation=EscalationStep(number, until, AFTER))

    return make


async def escalation(pool: Pool, app: App, until: int = DELIVERED, steps: int = 3) -> tuple[UUID, list[UUID]]:
    channels = (FIRST, SECOND, THIRD)[:steps]
    return await plan_resting(pool, app, *(step(channel, n, until) for n, channel in enumerate(channels)))


async def test_deferred_delivery_rests_until_it_is_due_and_is_then_to_ask_its_gates(
    database: Database, app: App
) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    rest = Rest(DeliveryState.DEFERRED, at, reason=Reason.QUIET_HOURS, code="quiet until then")
    notification, [id_] = await plan_resting(database.pool, app, lambda s, lane: resting(s, lane, rest=rest))
    early = await flow.due_retries(database.pool)
    row = await existing_work_row(database.pool, id_)
    await due(database.pool, id_)

    [moved] = await flow.due_retries(database.pool)
    [claimed] = await claim(database.pool, [id_], LEASE)

    assert (early, row["state"], row["due_at"]) == ([], DeliveryState.DEFERRED, at)
    assert moved.ids == [id_]
    assert claimed.gates_due
    assert await events_of(database.pool, notification) == [
        EventKind.ACCEPTED,
        EventKind.PLANNED,
        EventKind.DEFERRED,
    ]
    assert (await audited(database.pool)).unaccounted == 0


async def test_delivery_that_is_claimed_before_its_quiet_hours_begin_asks_nobody(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)

    assert not claimed.gates_due


async def test_claim_after_quiet_hours_began_asks_again(database: Database, app: App) -> None:
    _, [id_] = await plan_resting(database.pool, app, lambda s, lane: resting(s, lane))
    await database.pool.execute("UPDATE ledger.delivery_work SET ask_again_at = now() - interval '1 second'")

    [claimed] = await claim(database.pool, [id_], LEASE)

    assert claimed.gates_due


async def test_claimed_delivery_is_deferred_with_its_reason_and_keeps_its_attempt(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)
    later = Record(
        claimed, DeliveryState.DEFERRED, Reason.CAPPED, code="3 a day", delay=timedelta(hours=1), tried=False
    )

    await record(database.pool, [later])
    row = await existing_work_row(database.pool, claimed.delivery_id)
    event = await database.pool.fetchrow(
        "SELECT state, reason, code FROM ledger.event WHERE kind = $1", EventKind.DEFERRED
    )
    await due(database.pool, claimed.delivery_id)
    await flow.due_retries(database.pool)
    [again] = await claim(database.pool, [claimed.delivery_id], LEASE)

    assert (row["state"], row["attempt"]) == (DeliveryState.DEFERRED, 0)
    assert event is not None
    assert tuple(event) == (DeliveryState.DEFERRED, Reason.CAPPED, "3 a day")
    assert (again.attempt, again.gates_due) == (1, True)


async def test_deferred_delivery_ends_expired_at_its_deadline(database: Database, app: App) -> None:
    rest = Rest(DeliveryState.DEFERRED, delay=timedelta(hours=9))
    _, [id_] = await plan_resting(database.pool, app, lambda s, lane: resting(s, lane, rest=rest))
    await database.pool.execute("UPDATE ledger.delivery_work SET expire_at = now() - interval '1 second'")

    assert await flow.expired(database.pool) == 1

    assert await state_of(database.pool, id_) is DeliveryState.EXPIRED


async def test_step_that_is_due_goes_and_the_one_behind_it_waits_on_from_then(database: Database, app: App) -> None:
    notification, [_, second, third] = await escalation(database.pool, app)
    assert await released(database.pool) == []
    await due(database.pool, second, third)

    assert await released(database.pool) == [second]

    assert await state_of(database.pool, second) is DeliveryState.ENQUEUED
    left = await database.pool.fetchval("SELECT due_at - now() FROM ledger.delivery_work WHERE delivery_id = $1", third)
    assert timedelta(minutes=4) < left <= AFTER
    [claimed] = await claim(database.pool, [second], LEASE)
    assert claimed.gates_due
    assert EventKind.RELEASED in await events_of(database.pool, notification)
    assert (await audited(database.pool)).unaccounted == 0


@pytest.mark.parametrize(
    ("until", "receipt_key", "receipt", "needed"),
    [
        pytest.param(DELIVERED, "", None, False, id="no receipts: sent is enough"),
        pytest.param(DELIVERED, "k", None, True, id="receipts: sent is not enough"),
        pytest.param(DELIVERED, "k", Receipt.DELIVERED, False, id="delivered"),
        pytest.param(DELIVERED, "k", Receipt.UNDELIVERED, True, id="undelivered"),
        pytest.param(DELIVERED, "", Receipt.UNDELIVERED, True, id="undelivered, unasked"),
        pytest.param(OPENED, "", None, True, id="sent is not opened"),
        pytest.param(OPENED, "k", Receipt.DELIVERED, True, id="delivered is not opened"),
        pytest.param(OPENED, "k", Receipt.SEEN, False, id="opened"),
        pytest.param(UNTIL_APP_RECEIPT, "", None, True, id="the app tells what arrives: sent is not enough"),
        pytest.param(UNTIL_APP_RECEIPT, "", Receipt.DELIVERED, False, id="the app told that it arrived"),
    ],
)
async def test_step_is_needed_unless_the_one_before_was_enough(
    database: Database, app: App, until: int, receipt_key: str, receipt: Receipt | None, needed: bool
) -> None:
    _, [first, second, third] = await escalation(database.pool, app, until)
    claims = await claim(database.pool, [first], LEASE)
    await record(database.pool, [sent(one, receipt_key=receipt_key) for one in claims])
    if receipt is not None:
        await apply(database.pool, [ReceiptFor(first, receipt)])
    await due(database.pool, second)

    moved = await released(database.pool)

    assert moved == ([second] if needed else [])
    if not needed:
        rows = [await delivery_row(database.pool, id_) for id_ in (second, third)]
        assert {(row["state"], row["reason"]) for row in rows} == {(DeliveryState.CANCELLED, Reason.NOT_NEEDED)}
    assert (await audited(database.pool)).unaccounted == 0


async def test_what_apps_cannot_tell_of_is_delivered_once_it_is_sent(database: Database, app: App) -> None:
    _, [first, second, third] = await escalation(database.pool, app, UNTIL_APP_RECEIPT)
    await record(database.pool, [sent(one) for one in await claim(database.pool, [first], LEASE)])
    await due(database.pool, second)
    assert await released(database.pool) == [second]
    await record(database.pool, [sent(one, receipt_key="") for one in await claim(database.pool, [second], LEASE)])
    await due(database.pool, third)

    assert await released(database.pool) == []


@pytest.mark.parametrize("final", [DeliveryState.FAILED, DeliveryState.SUPPRESSED, DeliveryState.DEAD_LETTERED])
async def test_step_that_ended_without_being_sent_brings_the_next_one_forward(
    database: Database, app: App, final: DeliveryState
) -> None:
    _, [first, second, third] = await escalation(database.pool, app)
    [claimed] = await claim(database.pool, [first], LEASE)
    await record(database.pool, [Record(claimed, final, Reason.REFUSED)])

    assert await released(database.pool) == [second]

    assert await state_of(database.pool, third) is DeliveryState.WAITING


async def test_step_that_was_sent_brings_nothing_forward(database: Database, app: App) -> None:
    _, [first, *_] = await escalation(database.pool, app)
    await record(database.pool, [sent(one) for one in await claim(database.pool, [first], LEASE)])

    assert await flow.due_steps(database.pool) == ([], 0)


async def test_step_behind_a_deferred_one_waits_for_it(database: Database, app: App) -> None:
    _, [first, second, _] = await escalation(database.pool, app)
    [claimed] = await claim(database.pool, [first], LEASE)
    await record(
        database.pool,
        [Record(claimed, DeliveryState.DEFERRED, Reason.QUIET_HOURS, delay=timedelta(hours=8), tried=False)],
    )
    await due(database.pool, second)

    assert await released(database.pool) == []

    left = await database.pool.fetchval(
        "SELECT due_at - now() FROM ledger.delivery_work WHERE delivery_id = $1", second
    )
    assert timedelta(hours=8) < left <= timedelta(hours=8) + AFTER


async def test_cancel_ends_every_step_that_waits(database: Database, app: App) -> None:
    notification, ids = await escalation(database.pool, app)

    done = await cancel(database.pool, app.app_id, notification)

    assert done is not None
    assert done.cancelled == 3
    assert {await state_of(database.pool, id_) for id_ in ids} == {DeliveryState.CANCELLED}
    assert (await audited(database.pool)).unaccounted == 0


async def test_two_schedulers_release_a_step_once(database: Database, app: App) -> None:
    _, [_, second, _] = await escalation(database.pool, app)
    await due(database.pool, second)
    async with database.pool.acquire() as other, other.transaction():
        taken = await other.fetch("SELECT * FROM ledger.due_steps(10, '{1,2,3}')")
        meanwhile = await released(database.pool)

    assert ([row["id"] for row in taken], meanwhile) == ([second], [])
    assert await released(database.pool) == []
