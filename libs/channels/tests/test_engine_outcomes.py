"""From a provider's answer to the ledger: states, attempts, events, what is told of dead addresses."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from clarion_channels.engine import lease as lease_module
from clarion_channels.engine.dead import DeadAddress
from clarion_channels.engine.engine import BULK_CLAIM_LIMIT
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Report
from clarion_kit.bus import Verdict
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import DeliveryState, EventKind, Priority, Reason
from clarion_testkit.plugin import App, Database
from clarion_testkit.yielding import OneByOne

from .engine_samples import Bench, Paused, answer, bench

ZERO = timedelta(0)


async def kinds(b: Bench, lane_id: int) -> list[EventKind]:
    """Events of a lane in order."""
    rows = await b.pool.fetch("SELECT kind FROM ledger.event WHERE lane_id = $1 ORDER BY xid, seq", lane_id)
    return [EventKind(row["kind"]) for row in rows]


@pytest.mark.parametrize(
    ("outcome", "at_most_once", "state", "reason", "event", "tried"),
    [
        (Outcome.ACCEPTED, False, DeliveryState.SENT, None, EventKind.TERMINAL, 1),
        (Outcome.BAD, False, DeliveryState.FAILED, Reason.REFUSED, EventKind.TERMINAL, 1),
        (Outcome.DEAD, False, DeliveryState.FAILED, Reason.ADDRESS_DEAD, EventKind.TERMINAL, 1),
        (Outcome.CRED, False, DeliveryState.HELD, None, EventKind.HELD, 0),
        (Outcome.RETRY, False, DeliveryState.RETRY_WAIT, None, EventKind.RETRY, 1),
        (Outcome.AFTER, False, DeliveryState.RETRY_WAIT, None, EventKind.RETRY, 1),
        (Outcome.THROTTLE, False, DeliveryState.RETRY_WAIT, None, EventKind.RETRY, 1),
        (Outcome.UNKNOWN, False, DeliveryState.RETRY_WAIT, None, EventKind.RETRY, 1),
        (Outcome.UNKNOWN, True, DeliveryState.FAILED, Reason.AMBIGUOUS, EventKind.TERMINAL, 1),
    ],
)
async def test_every_answer_is_recorded_with_attempt_and_event(
    database: Database,
    app: App,
    telemetry: Telemetry,
    outcome: Outcome,
    at_most_once: bool,
    state: DeliveryState,
    reason: Reason | None,
    event: EventKind,
    tried: int,
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = answer(Result(outcome, code="the code", provider_message_id="m7"))
        lane_id = await b.lane()
        [id_] = await b.deliveries(lane_id, at_most_once=at_most_once)

        await b.send([id_])

        row = await b.row(id_)
        assert (row["now"], row["reason"], row["tried"]) == (state, reason or 0, tried)
        assert row["doubtful"] is (outcome is Outcome.UNKNOWN)
        assert await kinds(b, lane_id) == [event]
        assert await b.unaccounted() == 0
        attempts = await b.pool.fetch("SELECT * FROM ledger.attempt WHERE delivery_id = $1", id_)
        assert [(found["attempt"], found["outcome"], found["code"]) for found in attempts] == (
            [(1, outcome, "the code")] if tried else []
        )


async def test_provider_is_given_the_opened_message(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id = await b.lane(settings=b'{"secret": 1}')
        [id_] = await b.deliveries(lane_id)

        await b.send([id_])

        [message] = b.factory.sent
        assert b.factory.settings == [b'{"secret": 1}']
        assert (message.delivery_id, message.provider_request_id, message.attempt) == (id_, id_, 1)
        assert (message.address.android.token, message.content.push.title) == ("device", "Order 7")
        assert message.expire_at > datetime.now(UTC)
        assert (await b.row(id_))["provider_message_id"] == "m1"


async def test_handler_acknowledges_before_the_provider_has_answered(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = paused = Paused()
        [id_] = await b.deliveries(await b.lane())

        assert await b.hand_over([id_]) is Verdict.ACK
        await paused.reached.wait()
        assert await b.state(id_) is DeliveryState.LEASED

        paused.go.set()
        await b.settled()
        assert await b.state(id_) is DeliveryState.SENT


async def test_message_delivered_twice_is_sent_once(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        [id_] = await b.deliveries(await b.lane())

        await b.hand_over([id_])
        await b.send([id_])

        assert len(b.factory.sent) == 1


async def test_retry_after_is_a_floor_of_the_rest(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = answer(Result(Outcome.AFTER, retry_after=timedelta(minutes=5)))
        [id_] = await b.deliveries(await b.lane())

        await b.send([id_])

        rests = (await b.row(id_))["rests"]
        assert timedelta(minutes=4, seconds=50) < rests < timedelta(minutes=5, seconds=32)


async def test_retries_end_as_a_dead_letter(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id = await b.lane()
        await b.send(await b.deliveries(lane_id, 3))  # most of its attempts go well: retries are free
        b.factory.made[0].behaviour = answer(Result(Outcome.RETRY, code="503"))
        [id_] = await b.deliveries(lane_id, max_attempts=2)

        await b.send([id_])
        await b.enqueue_again([id_])
        await b.send([id_])

        row = await b.row(id_)
        assert (row["now"], row["reason"]) == (DeliveryState.DEAD_LETTERED, Reason.RETRIES_EXHAUSTED)
        letter = await b.pool.fetchrow("SELECT * FROM ledger.dead_letter WHERE delivery_id = $1", id_)
        assert letter is not None
        assert (letter["attempts"], letter["last_code"]) == (2, "503")
        assert [message.attempt for message in b.factory.sent if message.delivery_id == id_] == [1, 2]
        assert await b.unaccounted() == 0


async def test_expired_delivery_ends_without_a_call(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        late, fresh = await b.deliveries(await b.lane(), 2)
        await b.pool.execute("UPDATE ledger.delivery_work SET expire_at = now() WHERE delivery_id = $1", late)

        await b.send([late, fresh])

        row = await b.row(late)
        assert (row["now"], row["reason"]) == (DeliveryState.EXPIRED, Reason.DEADLINE_PASSED)
        assert [message.delivery_id for message in b.factory.sent] == [fresh]


async def test_too_little_lease_left_gives_deliveries_back_untried(
    database: Database, app: App, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(database, app, telemetry, lease=timedelta(seconds=14)) as b:
        b.factory.timeout = timedelta(seconds=4)

        async def dawdle() -> None:  # so long that less than the timeout and its margin is left
            monkeypatch.setattr(lease_module, "LEASE_MARGIN", timedelta(seconds=12))

        b.factory.before = dawdle
        ids = await b.deliveries(await b.lane(), 3)

        await b.send(ids)

        assert await b.states(ids) == [DeliveryState.READY] * 3
        assert [(await b.row(id_))["tried"] for id_ in ids] == [0] * 3
        assert b.factory.sent == []


async def test_dead_address_is_told_with_the_providers_moment_or_that_of_the_call(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    known = datetime(2026, 1, 2, tzinfo=UTC)
    called_at: list[datetime] = []

    async def behave(batch: Sequence[Message], report: Report) -> None:
        called_at.append(datetime.now(UTC))
        report(batch[0], Result(Outcome.DEAD, dead_since=known))
        await asyncio.sleep(0.05)
        report(batch[1], Result(Outcome.DEAD))
        report(batch[2], Result(Outcome.BAD))

    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = behave
        lane_id = await b.lane()
        ids = await b.deliveries(lane_id, 3)
        before = datetime.now(UTC)
        await b.send(ids)
        rows = await b.pool.fetch("SELECT id, address_id FROM ledger.delivery WHERE id = ANY ($1)", ids)
        addresses = {row["id"]: row["address_id"] for row in rows}

        assert b.dead == []
        await b.dead_queue.flush()
        first, second = b.dead
        assert first == DeadAddress(lane_id, app.app_id, addresses[b.factory.sent[0].delivery_id], known)
        assert second.address_id == addresses[b.factory.sent[1].delivery_id]
        # A registration while the call was on its way is newer than what the provider judged.
        assert before <= second.since <= called_at[0] + timedelta(milliseconds=1)


async def test_at_most_once_is_marked_in_the_ledger_before_the_call(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = paused = Paused()
        lane_id = await b.lane()
        [once] = await b.deliveries(lane_id, at_most_once=True)
        [often] = await b.deliveries(lane_id)

        await b.hand_over([once, often])
        await paused.reached.wait()
        marked = [(await b.row(id_))["writing_at"] is not None for id_ in (once, often)]
        paused.go.set()
        await b.settled()

        assert marked == [True, False]
        assert await b.states([once, often]) == [DeliveryState.SENT] * 2


async def test_at_most_once_under_a_lost_lease_is_not_written(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lane_id = await b.lane()
        lost, kept = await b.deliveries(lane_id, 2, at_most_once=True)

        async def lose() -> None:
            await b.steal([lost])

        b.factory.before = lose  # after the claim, before the mark
        await b.send([lost, kept])

        assert [message.delivery_id for message in b.factory.sent] == [kept]
        assert await b.states([lost, kept]) == [DeliveryState.LEASED, DeliveryState.SENT]


async def test_drain_waits_for_the_records(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = paused = Paused()
        ids = await b.deliveries(await b.lane(), 5)
        await b.hand_over(ids)
        await paused.reached.wait()
        draining = asyncio.create_task(b.engine.drain())
        await asyncio.sleep(0)
        assert not draining.done()

        paused.go.set()
        await draining

        assert await b.states(ids) == [DeliveryState.SENT] * 5


async def test_urgent_deliveries_are_claimed_where_bulk_fills_the_dispatcher(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry, capacity=10) as b:
        b.factory.behaviour = paused = Paused()
        lane_id = await b.lane()
        bulk = await b.deliveries(lane_id, 9, priority=Priority.BULK)
        urgent = await b.deliveries(lane_id, priority=Priority.URGENT)
        waiting = asyncio.create_task(b.hand_over(bulk, Priority.BULK))
        await paused.reached.wait()

        await b.hand_over(urgent, Priority.URGENT)
        assert not waiting.done()
        assert (await b.states(urgent), (await b.states(bulk)).count(DeliveryState.LEASED)) == (
            [DeliveryState.LEASED],
            2,
        )

        paused.go.set()
        assert await waiting is Verdict.ACK
        await b.settled()
        assert await b.states(bulk + urgent) == [DeliveryState.SENT] * 10


async def test_normal_delivery_reaches_its_provider_past_a_flood_of_bulk(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry, capacity=400, most_open=200) as b:
        b.factory.behaviour = paused = Paused()
        lane_id = await b.lane()
        bulk = await b.deliveries(lane_id, 500, priority=Priority.BULK)
        normal = await b.deliveries(lane_id)
        flood = asyncio.create_task(b.hand_over(bulk, Priority.BULK))
        await paused.reached.wait()

        await b.hand_over(normal)
        for _ in range(2):
            await paused.calls.acquire()

        assert not flood.done()
        assert [message.delivery_id for message in b.factory.sent[100:]] == normal
        paused.go.set()
        assert await flood is Verdict.ACK
        await b.settled()
        assert set(await b.states(bulk + normal)) == {DeliveryState.SENT}


async def test_bulk_goes_in_steps_that_it_is_given_and_yields_to_what_others_waited(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    yielding = OneByOne()
    async with bench(database, app, telemetry, bulk=yielding) as b:
        lane_id = await b.lane()
        await b.send(await b.deliveries(lane_id, 3, priority=Priority.BULK), Priority.BULK)
        assert yielding.asked == [BULK_CLAIM_LIMIT] * 3
        assert yielding.waits == []

        await b.send(await b.deliveries(lane_id, 2))

        assert len(yielding.asked) == 3
        assert len(yielding.waits) == 2
        assert all(0 < seconds < 60 for seconds in yielding.waits)


async def test_bulk_leaves_a_part_of_the_provider_to_others(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.max_in_flight = 10
        b.factory.behaviour = paused = Paused()
        lane_id = await b.lane()
        bulk = await b.deliveries(lane_id, 30, priority=Priority.BULK)
        normal = await b.deliveries(lane_id, 3)
        await b.hand_over(bulk, Priority.BULK)
        for _ in range(4):
            await paused.calls.acquire()

        await b.hand_over(normal)
        await paused.calls.acquire()

        assert len(b.factory.sent) == 8 + 3
        assert {message.delivery_id for message in b.factory.sent[8:]} == set(normal)
        paused.go.set()
        await b.settled()
        assert set(await b.states(bulk + normal)) == {DeliveryState.SENT}


async def test_busy_lane_leaves_room_for_others(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry, capacity=20, most_open=10) as b:
        b.factory.behaviour = paused = Paused()
        slow, other = await b.lane("slow"), await b.lane("other")
        [there] = await b.deliveries(other)
        await b.hand_over([there])
        await paused.reached.wait()
        ids = await b.deliveries(slow, 14)

        await asyncio.gather(b.hand_over(ids[:7]), b.hand_over(ids[7:]))
        for _ in range(3):
            await paused.calls.acquire()
        lane = b.at_work(slow)
        assert lane.in_flight == 8
        paused.go.set()
        await b.settled()

        states = await b.states(ids)
        # Of the ten that the lane may hold, what is not urgent leaves a fifth free.
        assert (states.count(DeliveryState.SENT), states.count(DeliveryState.RETRY_WAIT)) == (8, 6)
        assert lane.in_flight == 0
        assert [(await b.row(id_))["tried"] for id_, state in zip(ids, states, strict=True) if not state.terminal] == [
            0
        ] * 6
        assert await b.unaccounted() == 0
