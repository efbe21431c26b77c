"""Providers that fail, throttle or slow down: what an account may do to itself, and what it may not do to others."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import grpc
import pytest

from clarion.provider.v1.provider_service_pb2 import Breaker, Limits
from clarion_channels.engine import limit as limit_module
from clarion_channels.engine.limit import LEAST
from clarion_channels.engine.pacing import LimiterPacer
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Report
from clarion_kit.rpc.client import Peer
from clarion_kit.telemetry import names
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import DeliveryState, Priority
from clarion_testkit.plugin import App, Database

from .engine_samples import ACCEPT, Bench, Paused, answer, bench

SENT = DeliveryState.SENT
RETRY_WAIT = DeliveryState.RETRY_WAIT
UNBREAKABLE = Limits(breaker=Breaker(min_attempts=100_000))


class Counted:
    """Accepts, and tells when it took as many messages as it should."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.all_sent = asyncio.Event()

    async def __call__(self, batch: Sequence[Message], report: Report) -> None:
        await ACCEPT(batch, report)
        self._left -= len(batch)
        if self._left == 0:
            self.all_sent.set()


async def work_off(b: Bench, ids: Sequence[UUID]) -> None:
    """As a scheduler does: send what is due when it is due, until nothing is left."""
    while True:
        due = await b.pool.fetch(
            "SELECT delivery_id FROM ledger.delivery_work WHERE delivery_id = ANY ($1) AND due_at <= now()", ids
        )
        if due:
            await b.enqueue_again([row["delivery_id"] for row in due])
            await b.send([row["delivery_id"] for row in due])
        next_due = await b.pool.fetchval(
            "SELECT min(due_at) FROM ledger.delivery_work WHERE delivery_id = ANY ($1)", ids
        )
        if next_due is None:
            return
        await b.pool.execute("SELECT pg_sleep_until($1)", next_due)


# ---------------------------------------------------------------- retry budget


async def test_while_every_send_fails_few_are_tried_again_and_none_is_dropped(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = answer(Result(Outcome.RETRY, code="503"))
        ids = await b.deliveries(await b.lane(limits=UNBREAKABLE), 400, max_attempts=100)

        for _ in range(5):
            await b.send(ids)
            await b.enqueue_again(ids)

        firsts = sum(message.attempt == 1 for message in b.factory.sent)
        retries = len(b.factory.sent) - firsts
        reserve = 10
        assert firsts == 400
        assert 0 < retries <= firsts * 0.1 + reserve
        assert (
            await b.pool.fetchval("SELECT count(*) FROM ledger.delivery_work WHERE delivery_id = ANY ($1)", ids) == 400
        )
        tried = await b.pool.fetchval("SELECT sum(attempt) FROM ledger.delivery_work WHERE delivery_id = ANY ($1)", ids)
        assert tried == len(b.factory.sent)
        assert await b.unaccounted() == 0


async def test_retries_are_free_while_most_sends_work(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id = await b.lane(limits=UNBREAKABLE)
        await b.send(await b.deliveries(lane_id, 300))
        b.factory.made[0].behaviour = answer(Result(Outcome.RETRY, code="503"))
        failing = await b.deliveries(lane_id, 100)
        await b.send(failing)
        b.factory.made[0].behaviour = ACCEPT
        await b.enqueue_again(failing)

        await b.send(failing)

        assert await b.states(failing) == [SENT] * 100


# ---------------------------------------------------------------- pacing


async def test_paced_lane_is_asked_for_and_what_has_to_wait_comes_again_untried(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.pacer.room = 3
        paced, free = await b.lane("paced", limits=Limits(per_second=50.0)), await b.lane("free")
        ids = await b.deliveries(paced, 5)
        others = await b.deliveries(free, 5)

        await b.send(ids + others)

        assert [(lane_id, pace.per_second) for _, lane_id, pace in b.pacer.asked] == [(paced, 50.0)]
        states = await b.states(ids)
        assert (states.count(SENT), states.count(RETRY_WAIT)) == (3, 2)
        waiting = [await b.row(id_) for id_, state in zip(ids, states, strict=True) if state is RETRY_WAIT]
        assert [row["tried"] for row in waiting] == [0, 0]
        assert b.at_work(paced).in_flight == 0
        assert await b.states(others) == [SENT] * 5
        assert await b.unaccounted() == 0


async def test_paced_lane_takes_its_time_and_lets_urgent_messages_through(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    rate, burst, count = 40.0, 10, 30
    called: list[float] = []

    async def note(batch: Sequence[Message], report: Report) -> None:
        called.extend(time.monotonic() for _ in batch)
        await ACCEPT(batch, report)

    async with grpc.aio.insecure_channel("127.0.0.1:1") as nowhere:
        unchecked = telemetry.metrics.counter(names.PACING_LOCAL).labels("android")
        pacer = LimiterPacer(Peer("rate_limiter", nowhere, telemetry), unchecked)
        async with bench(database, app, telemetry, pacer=pacer) as b:
            b.factory.behaviour = note
            lane_id = await b.lane(limits=Limits(per_second=rate, burst=burst))
            bulk = await b.deliveries(lane_id, count, priority=Priority.BULK)
            urgent = await b.deliveries(lane_id, 2, priority=Priority.URGENT)
            await b.send(bulk, Priority.BULK)
            await b.send(urgent, Priority.URGENT)
            assert await b.states(urgent) == [SENT] * 2
            assert (await b.states(bulk)).count(SENT) < count

            async with asyncio.timeout(20):
                await work_off(b, bulk)

            assert await b.states(bulk) == [SENT] * count
            assert await b.unaccounted() == 0
    began = called[0]
    for number, at in enumerate(called):
        # The provider is called a moment after its messages were counted: a hundredth of a second for the bucket's sake.
        assert number < burst + rate * (at - began + 0.01)
    assert called[-1] - began >= (count - burst * 0.8) / rate


# ---------------------------------------------------------------- in-flight limit


async def test_slow_provider_shrinks_its_own_limit_and_leaves_other_lanes_alone(
    database: Database, app: App, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit_module, "_SHRINK_PAUSE", 0.01)
    most, timeout = 40, timedelta(seconds=0.1)

    async def take_long(batch: Sequence[Message], report: Report) -> None:
        await asyncio.sleep(timeout.total_seconds())
        for message in batch:
            report(message, Result(Outcome.UNKNOWN, "timeout"))

    async with bench(database, app, telemetry, capacity=100, most_open=most) as b:
        b.factory.timeout = timeout
        b.factory.max_batch = 5
        b.factory.behaviour = take_long
        slow = await b.lane("slow", limits=UNBREAKABLE)
        ids = await b.deliveries(slow, 200, max_attempts=100)
        for start in range(0, 200, 40):
            await b.send(ids[start : start + 40])
        shrunk = b.at_work(slow).protection.limit
        b.factory.made[0].behaviour = paused = Paused()
        b.factory.behaviour = quick = Counted(30)
        await b.enqueue_again(ids)

        await b.hand_over(ids[:60])
        await paused.reached.wait()
        others = await b.deliveries(await b.lane("quick"), 30)
        await b.hand_over(others)
        async with asyncio.timeout(10):
            await quick.all_sent.wait()

        assert LEAST <= shrunk < most / 2
        assert 0 < b.at_work(slow).in_flight <= shrunk
        paused.go.set()
        await b.settled()
        assert await b.states(others) == [SENT] * 30
        assert b.at_work(slow).in_flight == 0
        assert b.engine._capacity.held == 0
        assert DeliveryState.DEAD_LETTERED not in await b.states(ids)
        assert await b.unaccounted() == 0


async def test_urgent_delivery_finds_room_in_a_lane_that_bulk_fills(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry, most_open=LEAST) as b:
        b.factory.behaviour = paused = Paused()
        lane_id = await b.lane()
        bulk = await b.deliveries(lane_id, 10, priority=Priority.BULK)
        urgent = await b.deliveries(lane_id, priority=Priority.URGENT)
        await b.hand_over(bulk, Priority.BULK)
        await b.hand_over(urgent, Priority.URGENT)
        for _ in range(2):
            await paused.calls.acquire()
        paused.go.set()
        await b.settled()

        assert await b.states(urgent) == [SENT]
        assert (await b.states(bulk)).count(SENT) == LEAST // 2
