"""Leases: prolonged while a call goes on; without one no call begins and nothing is written."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from clarion_channels.engine.lease import Leases
from clarion_channels.port import Message, Report
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_ledger import flow
from clarion_testkit.plugin import App, Database

from .engine_samples import ACCEPT, Bench, Paused, bench

SENT = DeliveryState.SENT


async def lease_until(b: Bench, id_: UUID) -> datetime:
    until = (await b.row(id_))["lease_until"]
    assert isinstance(until, datetime)
    return until


async def lose(b: Bench, ids: Sequence[UUID]) -> None:
    """As if the leases had ended and a scheduler had taken the deliveries back."""
    await b.pool.execute(
        """UPDATE ledger.delivery_work SET lease_until = now() - interval '1 second',
           enqueued_at = now() - interval '1 minute' WHERE delivery_id = ANY ($1)""",
        ids,
    )
    await flow.ended_leases(b.pool)


def test_lease_leaves_room_for_a_call_its_record_and_a_start_that_is_late() -> None:
    assert Leases(timedelta(seconds=90)).longest_timeout == timedelta(seconds=80)


async def test_heartbeat_prolongs_what_is_in_hand(database: Database, app: App, telemetry: Telemetry) -> None:
    async with bench(database, app, telemetry, lease=timedelta(seconds=60)) as b:
        b.factory.behaviour = paused = Paused()
        ids = await b.deliveries(await b.lane(), 2)
        await b.hand_over(ids)
        await paused.reached.wait()
        await b.pool.execute("UPDATE ledger.delivery_work SET lease_until = lease_until - interval '40 seconds'")
        before = [await lease_until(b, id_) for id_ in ids]

        await b.engine.heartbeat()

        gained = [await lease_until(b, id_) - until for id_, until in zip(ids, before, strict=True)]
        assert all(timedelta(seconds=39) < gain < timedelta(seconds=60) for gain in gained)
        paused.go.set()
        await b.settled()
        assert await b.states(ids) == [SENT] * 2
        assert await b.unaccounted() == 0


async def test_heartbeat_with_nothing_in_hand_needs_no_ledger(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        await b.send(await b.deliveries(await b.lane()))

        assert await b.leases.beat(b.pool) == 0


async def test_lease_that_was_taken_over_begins_no_call_and_writes_nothing(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        lost, kept = await b.deliveries(await b.lane(), 2)

        async def freeze() -> None:  # after the claim, before the call
            await lose(b, [lost])
            await b.engine.heartbeat()

        b.factory.before = freeze
        await b.send([lost, kept])

        assert [message.delivery_id for message in b.factory.sent] == [kept]
        assert await b.states([lost, kept]) == [DeliveryState.READY, SENT]
        assert await b.unaccounted() == 0


async def test_outcome_of_a_call_whose_lease_was_taken_over_writes_nothing(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as frozen, bench(database, app, telemetry) as successor:
        frozen.factory.behaviour = paused = Paused()
        lane_id = await frozen.lane()
        await successor.config.refresh()
        [id_] = await frozen.deliveries(lane_id)
        await frozen.hand_over([id_])
        await paused.reached.wait()
        await lose(frozen, [id_])
        await frozen.enqueue_again([id_])
        await successor.send([id_])

        paused.go.set()
        await frozen.settled()

        row = await frozen.row(id_)
        assert (row["now"], row["tried"], row["doubtful"]) == (SENT, 2, True)
        assert await frozen.pool.fetchval("SELECT count(*) FROM ledger.attempt WHERE delivery_id = $1", id_) == 1
        assert await frozen.unaccounted() == 0


async def test_lost_claim_is_told_from_the_newer_one_of_the_same_delivery(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        [id_] = await b.deliveries(await b.lane())
        entered, go = asyncio.Semaphore(0), asyncio.Event()

        async def wait() -> None:
            entered.release()
            await go.wait()

        b.factory.before = wait
        await b.hand_over([id_])
        await entered.acquire()
        await lose(b, [id_])
        await b.enqueue_again([id_])
        await b.hand_over([id_])

        await b.engine.heartbeat()
        go.set()
        await b.settled()

        assert [message.attempt for message in b.factory.sent] == [2]
        assert await b.state(id_) is SENT
        assert await b.unaccounted() == 0


async def test_at_most_once_is_sent_once_though_its_lease_is_lost_during_the_call(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = paused = Paused()
        [id_] = await b.deliveries(await b.lane(), at_most_once=True)
        await b.hand_over([id_])
        await paused.reached.wait()

        await lose(b, [id_])
        paused.go.set()
        await b.settled()
        await b.send([id_])

        row = await b.row(id_)
        assert (row["now"], row["reason"], row["doubtful"]) == (DeliveryState.FAILED, Reason.AMBIGUOUS, True)
        assert len(b.factory.sent) == 1
        assert await b.unaccounted() == 0


async def test_at_most_once_whose_lease_is_lost_before_the_write_is_sent_by_the_next(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        [id_] = await b.deliveries(await b.lane(), at_most_once=True)

        async def freeze() -> None:
            b.factory.before = None
            await lose(b, [id_])

        b.factory.before = freeze
        await b.send([id_])
        assert b.factory.sent == []
        await b.enqueue_again([id_])
        await b.send([id_])

        row = await b.row(id_)
        assert (row["now"], row["doubtful"]) == (SENT, False)
        assert len(b.factory.sent) == 1
        assert await b.unaccounted() == 0


async def test_call_that_outlasts_its_first_lease_is_recorded_thanks_to_the_heartbeat(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    reached, go = asyncio.Event(), asyncio.Event()

    async def take_long(batch: Sequence[Message], report: Report) -> None:
        reached.set()
        await go.wait()
        await ACCEPT(batch, report)

    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = take_long
        [id_] = await b.deliveries(await b.lane())
        await b.hand_over([id_])
        await reached.wait()
        await b.pool.execute(
            """UPDATE ledger.delivery_work SET lease_until = now() + interval '10 milliseconds',
               enqueued_at = now() - interval '1 minute' WHERE delivery_id = $1""",
            id_,
        )
        await b.engine.heartbeat()
        await b.pool.execute("SELECT pg_sleep(0.02)")

        await flow.ended_leases(b.pool)
        go.set()
        await b.settled()

        row = await b.row(id_)
        assert (row["now"], row["tried"], row["doubtful"]) == (SENT, 1, False)
        assert await b.unaccounted() == 0
