"""Providers that break their contract, content nobody can read, a ledger that is away: nothing else is harmed."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from clarion_channels.engine import lease as lease_module
from clarion_channels.engine import recorder as recorder_module
from clarion_channels.outcome import Outcome, Result
from clarion_channels.port import Message, Report
from clarion_kit.errors import Unavailable
from clarion_kit.telemetry.provider import Telemetry
from clarion_kit.vocabulary import DeliveryState, Reason
from clarion_ledger.db import Pool
from clarion_ledger.dispatching import Record, record
from clarion_testkit.plugin import App, Database

from .cut_off import relay
from .engine_samples import Behaviour, Paused, answer, bench, hearing


async def report_first_and_raise(batch: Sequence[Message], report: Report) -> None:
    report(batch[0], Result(Outcome.ACCEPTED))
    raise ValueError("a defect")


async def report_first_and_hang(batch: Sequence[Message], report: Report) -> None:
    report(batch[0], Result(Outcome.ACCEPTED))
    await asyncio.Event().wait()


async def report_first(batch: Sequence[Message], report: Report) -> None:
    report(batch[0], Result(Outcome.ACCEPTED))


@pytest.mark.parametrize("behaviour", [report_first_and_raise, report_first_and_hang, report_first])
async def test_what_a_provider_did_not_report_is_unknown(
    database: Database, app: App, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    monkeypatch.setattr(lease_module, "LEASE_MARGIN", timedelta(milliseconds=50))
    async with bench(database, app, telemetry, lease=timedelta(seconds=1.5)) as b:
        b.factory.timeout = timedelta(seconds=0.1)
        b.factory.behaviour = behaviour
        ids = await b.deliveries(await b.lane(), 2)

        await b.send(ids)

        [first] = [id_ for id_ in ids if await b.state(id_) is DeliveryState.SENT]
        [second] = set(ids) - {first}
        row = await b.row(second)
        assert (row["now"], row["doubtful"], row["tried"]) == (DeliveryState.RETRY_WAIT, True, 1)
        assert await b.pool.fetchval("SELECT code FROM ledger.attempt WHERE delivery_id = $1", second) == "not reported"
        assert b.lanes.all()[0].in_flight == 0
        assert await b.unaccounted() == 0


async def test_provider_that_raises_disturbs_no_call_beside_it(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = report_first_and_raise
        [bad] = await b.deliveries(await b.lane("bad"))
        await b.send([bad])
        b.factory.behaviour = paused = Paused()
        good = await b.deliveries(await b.lane("good"), 2)
        bad_again = await b.deliveries(b.lanes.all()[0].config.lane_id, 2)

        with hearing() as heard:
            await b.hand_over(bad_again + good)
            await paused.reached.wait()
            await heard.until("raised or never ended")
        paused.go.set()
        await b.settled()

        assert await b.states(good) == [DeliveryState.SENT] * 2


async def test_second_report_of_a_message_counts_for_nothing(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async def behave(batch: Sequence[Message], report: Report) -> None:
        report(batch[0], Result(Outcome.ACCEPTED))
        report(batch[0], Result(Outcome.BAD))

    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = behave
        [id_] = await b.deliveries(await b.lane())

        await b.send([id_])

        assert await b.state(id_) is DeliveryState.SENT
        assert b.lanes.all()[0].outcomes == {"accepted": 1}
        assert b.engine._capacity.held == 0


async def test_peers_words_are_recorded_as_postgres_can_store_them(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = answer(
            Result(Outcome.ACCEPTED, code="a\0b\ud800" + "c" * 99, provider_message_id="\0m\udfff")
        )
        [id_] = await b.deliveries(await b.lane())

        await b.send([id_])

        code = await b.pool.fetchval("SELECT code FROM ledger.attempt WHERE delivery_id = $1", id_)
        assert code == "ab?" + "c" * 61
        assert (await b.row(id_))["provider_message_id"] == "m?"


@pytest.mark.parametrize("column", ["address", "content"])
async def test_unreadable_delivery_is_poison_and_its_neighbours_are_sent(
    database: Database, app: App, telemetry: Telemetry, column: str
) -> None:
    async with bench(database, app, telemetry) as b:
        ids = await b.deliveries(await b.lane(), 3)
        await b.pool.execute(f"UPDATE ledger.delivery_body SET {column} = 'rubbish' WHERE id = $1", ids[1])

        await b.send(ids)

        assert await b.states(ids) == [DeliveryState.SENT, DeliveryState.DEAD_LETTERED, DeliveryState.SENT]
        letter = await b.pool.fetchrow("SELECT * FROM ledger.dead_letter WHERE delivery_id = $1", ids[1])
        assert letter is not None
        assert (letter["reason"], letter["last_code"]) == (Reason.POISON, "unreadable: Unsealable")


async def test_defect_before_the_call_is_tried_again_then_poison_and_leaks_nothing(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry, capacity=10) as b:
        b.factory.max_batch = 0
        ids = await b.deliveries(await b.lane(), 5, max_attempts=2)

        await b.send(ids)
        assert await b.states(ids) == [DeliveryState.RETRY_WAIT] * 5
        await b.enqueue_again(ids)
        await b.send(ids)

        assert await b.states(ids) == [DeliveryState.DEAD_LETTERED] * 5
        assert {(await b.row(id_))["reason"] for id_ in ids} == {Reason.POISON}
        assert await b.unaccounted() == 0
        assert (b.engine._capacity.held, b.lanes.all()[0].in_flight) == (0, 0)


async def test_claim_that_fails_leaves_the_message_and_the_capacity(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    port = urlsplit(database.url).port
    assert port is not None
    async with relay(port) as gate:
        url = database.url.replace(f":{port}", f":{gate.port}")
        async with bench(database, app, telemetry, url=url) as b:
            [id_] = await b.deliveries(await b.lane())
            await gate.shut()

            with pytest.raises(Unavailable):
                await b.hand_over([id_])
            assert b.engine._capacity.held == 0

            await gate.open()
            await b.send([id_])
            assert await b.state(id_) is DeliveryState.SENT


async def test_outcomes_wait_while_postgres_is_away(database: Database, app: App, telemetry: Telemetry) -> None:
    port = urlsplit(database.url).port
    assert port is not None
    async with relay(port) as gate:
        url = database.url.replace(f":{port}", f":{gate.port}")
        async with bench(database, app, telemetry, url=url) as b:
            b.factory.behaviour = paused = Paused()
            ids = await b.deliveries(await b.lane(), 3)
            await b.hand_over(ids)
            await paused.reached.wait()

            await gate.shut()
            with hearing() as heard:
                paused.go.set()
                await heard.until("outcomes wait")
            assert await b.states(ids) == [DeliveryState.LEASED] * 3
            assert b.engine._capacity.held == 3

            await gate.open()
            await b.settled()
            assert await b.states(ids) == [DeliveryState.SENT] * 3


async def test_record_under_a_lost_lease_is_ignored_and_logged(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = paused = Paused()
        lost, kept = await b.deliveries(await b.lane(), 2)
        await b.hand_over([lost, kept])
        await paused.reached.wait()
        await b.steal([lost])

        with hearing() as heard:
            paused.go.set()
            await b.settled()

        assert await b.states([lost, kept]) == [DeliveryState.LEASED, DeliveryState.SENT]
        assert [message for message in heard.messages if "lease was lost" in message]


async def test_delivery_claimed_again_while_its_first_call_goes_on_is_accounted_for_twice(
    database: Database, app: App, telemetry: Telemetry
) -> None:
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = first = Paused()
        [id_] = await b.deliveries(await b.lane())
        await b.hand_over([id_])
        await first.reached.wait()
        await b.enqueue_again([id_])  # its lease ended
        [provider] = b.factory.made
        provider.behaviour = second = Paused()
        await b.hand_over([id_])
        await second.reached.wait()
        assert b.lanes.all()[0].in_flight == 2

        first.go.set()
        second.go.set()
        await b.settled()

        assert await b.state(id_) is DeliveryState.SENT
        assert b.lanes.all()[0].in_flight == 0


async def test_a_hundred_answers_take_few_commits(
    database: Database, app: App, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []

    async def counted(pool: Pool, records: Sequence[Record]) -> set[UUID]:
        commits.append(len(records))
        return await record(pool, records)

    async def one_by_one(batch: Sequence[Message], report: Report) -> None:
        for message in batch:
            await asyncio.sleep(0)
            report(message, Result(Outcome.ACCEPTED))

    monkeypatch.setattr(recorder_module, "record", counted)
    async with bench(database, app, telemetry) as b:
        b.factory.behaviour = one_by_one
        ids = await b.deliveries(await b.lane(), 100)

        await b.send(ids)

    assert sum(commits) == 100
    assert len(commits) <= 10


async def test_record_that_cannot_be_written_holds_back_no_other(
    database: Database, app: App, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad: set[UUID] = set()
    away = iter([True])

    async def picky(pool: Pool, records: Sequence[Record]) -> set[UUID]:
        if any(done.claimed.delivery_id in bad for done in records):
            raise ValueError("cannot be written")
        if len(records) == 1 and next(away, False):
            raise Unavailable  # in the middle of it
        return await record(pool, records)

    monkeypatch.setattr(recorder_module, "record", picky)
    async with bench(database, app, telemetry) as b:
        ids = await b.deliveries(await b.lane(), 5)
        bad.add(ids[2])

        await b.send(ids)

        assert [id_ for id_ in ids if await b.state(id_) is not DeliveryState.SENT] == list(bad)
        assert b.engine._capacity.held == 0
