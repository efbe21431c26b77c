"""Group commit: what gathers, what overflows, what a failing commit leaves behind."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from clarion_gateway.acceptor import MOST_OF_QUEUE, Acceptor
from clarion_kit.bus import JetStreamBus
from clarion_kit.errors import DomainError, ErrorReason
from clarion_kit.subjects import plan_lane, plan_lanes
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import Priority
from clarion_ledger.accept import Accepted, AcceptItem, AcceptResult, accept
from clarion_ledger.db import Pool
from clarion_ledger.runway import Runway
from clarion_testkit.depth import waiting
from clarion_testkit.plugin import App, Database

QUEUE = 400


@pytest_asyncio.fixture
async def acceptor(database: Database, bus: JetStreamBus, telemetry: Telemetry) -> AsyncIterator[Acceptor]:
    """Not committing yet: tests enter `running` themselves."""
    runway = Runway(database.pool, bus, plan_lanes())
    await runway.refresh()
    yield Acceptor(database.pool, bus, runway, telemetry, batch=100, queue=QUEUE)


def item(app: App, category_id: int | None = None, *, enqueue: bool = False) -> AcceptItem:
    event_id = uuid4().hex
    return AcceptItem(
        app_id=app.app_id,
        event_id=event_id,
        payload_hash=hashlib.sha256(event_id.encode()).digest(),
        category_id=category_id if category_id is not None else app.categories["transactional"],
        priority=Priority.NORMAL,
        recipient_count=1,
        deliver_at=None,
        expire_at=None,
        time_to_live=timedelta(hours=1),
        payload=b"sealed",
        traceparent="",
        enqueue=enqueue,
    )


def commits(telemetry: Telemetry) -> float:
    return telemetry.metrics.registry.get_sample_value("clarion_accept_commit_seconds_count") or 0.0


async def test_sends_that_gathered_share_commits_up_to_the_batch(
    acceptor: Acceptor, app: App, telemetry: Telemetry
) -> None:
    waiting = [asyncio.create_task(acceptor.accept([item(app)])) for _ in range(250)]
    await asyncio.sleep(0)

    async with acceptor.running(), asyncio.timeout(10):
        results = [await task for task in waiting]

    assert all(isinstance(result, Accepted) and result.fresh for [result] in results)
    assert commits(telemetry) == 3


async def test_single_send_waits_for_no_commit_of_batches(
    acceptor: Acceptor, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many batches another app handed in before, and however long the database takes for them."""
    held = asyncio.Event()

    async def slow_for_many(pool: Pool, items: Sequence[AcceptItem]) -> list[AcceptResult]:
        if len(items) > 1:
            await held.wait()
        return await accept(pool, items)

    monkeypatch.setattr("clarion_gateway.acceptor.accept", slow_for_many)
    async with acceptor.running(), asyncio.timeout(10):
        batches = [asyncio.create_task(acceptor.accept([item(app) for _ in range(60)])) for _ in range(4)]
        await asyncio.sleep(0)
        [sent] = await acceptor.accept([item(app)])
        stored = [batch.done() for batch in batches]
        held.set()
        results = await asyncio.gather(*batches)

    assert isinstance(sent, Accepted)
    assert not any(stored)
    assert all(isinstance(result, Accepted) for batch in results for result in batch)


async def test_call_larger_than_a_commit_is_stored_in_several_and_answered_in_order(
    acceptor: Acceptor, app: App, database: Database, telemetry: Telemetry
) -> None:
    items = [item(app) for _ in range(250)]

    async with acceptor.running(), asyncio.timeout(10):
        results = await acceptor.accept(items)

    assert commits(telemetry) == 3
    ids = [result.notification_id for result in results if isinstance(result, Accepted)]
    rows = await database.pool.fetch("SELECT id, event_id FROM ledger.notification WHERE id = ANY ($1)", ids)
    assert {row["id"]: row["event_id"] for row in rows} == {
        id_: each.event_id for id_, each in zip(ids, items, strict=True)
    }


async def test_app_that_fills_its_share_of_the_queue_is_refused_and_keeps_what_waits(
    acceptor: Acceptor, app: App
) -> None:
    share = int(QUEUE * MOST_OF_QUEUE)
    waiting = asyncio.create_task(acceptor.accept([item(app) for _ in range(share)]))  # noqa: RUF006  # awaited below
    await asyncio.sleep(0)

    with pytest.raises(DomainError) as refused:
        await acceptor.accept([item(app)])
    other = asyncio.create_task(acceptor.accept([replace(item(app), app_id=app.app_id + 1)]))
    await asyncio.sleep(0)
    assert not other.done(), "another app's call found room"
    other.cancel()
    async with acceptor.running(), asyncio.timeout(10):
        results = await waiting
        [after] = await acceptor.accept([item(app)])

    assert refused.value.reason is ErrorReason.OVERLOADED
    assert len(results) == share
    assert isinstance(after, Accepted)


async def test_full_queue_refuses_everybody(acceptor: Acceptor, app: App) -> None:
    calls = [
        asyncio.create_task(acceptor.accept([replace(item(app), app_id=app_id) for _ in range(QUEUE // 4)]))
        for app_id in (1, 2, 3, 4)
    ]
    await asyncio.sleep(0)

    with pytest.raises(DomainError) as refused:
        await acceptor.accept([item(app)])
    for call in calls:
        call.cancel()

    assert refused.value.reason is ErrorReason.OVERLOADED


async def test_caller_that_gave_up_disturbs_nobody(acceptor: Acceptor, app: App) -> None:
    gone, staying = (asyncio.create_task(acceptor.accept([item(app)])) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()

    async with acceptor.running(), asyncio.timeout(10):
        [result] = await staying

    assert isinstance(result, Accepted)


async def test_defect_in_a_commit_is_its_callers_answer_and_the_next_commit_goes_on(
    acceptor: Acceptor, app: App, database: Database
) -> None:
    await database.pool.execute("ALTER TABLE ledger.notification ADD CHECK (category_id > 0) NOT VALID")

    async with acceptor.running(), asyncio.timeout(10):
        with pytest.raises(asyncpg.CheckViolationError):
            await acceptor.accept([item(app, category_id=-1)])
        results = await asyncio.gather(*(acceptor.accept([item(app)]) for _ in range(4)))

    assert all(isinstance(result, Accepted) for [result] in results)


async def test_accepted_ids_are_on_the_bus_when_it_stops(acceptor: Acceptor, app: App, bus: JetStreamBus) -> None:
    assert acceptor.goes_straight(Priority.NORMAL, app.app_id)

    async with acceptor.running(), asyncio.timeout(10):
        await acceptor.accept([item(app, enqueue=True) for _ in range(150)])

    assert await waiting(bus, [plan_lane(Priority.NORMAL)]) == [2]
