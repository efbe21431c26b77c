"""Receipts and statistics against a real Postgres, with no more rights than the daemon's role has."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import permutations

import asyncpg
import pytest

from clarion_channels.outcome import Outcome
from clarion_kit.vocabulary import DeliveryState, Receipt
from clarion_ledger.db import Pool, pool
from clarion_ledger.receipts import open_inbound, seal_inbound
from clarion_testkit.plugin import App, Database
from clarion_tracker.adapters import smpp
from clarion_tracker.adapters.inbound_table import InboundTable
from clarion_tracker.adapters.ledger import Ledger
from clarion_tracker.adapters.segments import SegmentTable
from clarion_tracker.inbound import Segment
from clarion_tracker.receipts import ReceiptJob

from .tracker_ledger_samples import Sms, claimed_again, claimed_sms, receipt_of, record_answer, send
from .tracker_samples import READ_SMPP, FakeAddresses, a_persons_message, deliver_sm, tracked


@pytest.fixture
async def tracker_pool(database: Database) -> AsyncIterator[Pool]:
    async with pool(f"{database.url}?role=clarion_tracker", size=4, application="test") as connections:
        yield connections


@pytest.fixture
def job(tracker_pool: Pool, app: App) -> ReceiptJob:
    return _job(tracker_pool, app)


def _job(connections: Pool, app: App) -> ReceiptJob:
    counter, _ = tracked()
    return ReceiptJob(
        InboundTable(connections, app.keys, [smpp.KIND]),
        Ledger(connections),
        SegmentTable(connections),
        FakeAddresses(),
        {smpp.KIND: READ_SMPP},
        counter,
    )


async def _arrive(database: Database, app: App, sms: Sms, body: bytes, kind: str = smpp.KIND) -> int:
    """A row as the dispatcher stores it, with the rights of the dispatcher."""
    async with pool(f"{database.url}?role=clarion_dispatcher", size=1, application="test") as dispatcher:
        await dispatcher.execute(
            "INSERT INTO tracking.inbound (app_id, lane_id, provider, kind, body) VALUES ($1, $2, 'smpp', $3, $4)",
            sms.claimed.app_id,
            sms.lane_id,
            kind,
            seal_inbound(await app.keys.sealer(app.app_id), sms.lane_id, body),
        )
    found: int = await database.pool.fetchval("SELECT max(inbound_id) FROM tracking.inbound")
    return found


async def _row(database: Database, inbound_id: int) -> asyncpg.Record:
    row = await database.pool.fetchrow("SELECT * FROM tracking.inbound WHERE inbound_id = $1", inbound_id)
    assert row is not None
    return row


async def _make_due(database: Database) -> None:
    await database.pool.execute("UPDATE tracking.inbound SET next_at = now() - interval '1 second'")


async def test_receipt_after_the_record_is_applied_once_with_its_event(
    database: Database, app: App, job: ReceiptJob
) -> None:
    sms = await claimed_sms(database.pool, app)
    await send(database.pool, sms, "1A")
    first = await _arrive(database, app, sms, deliver_sm("1A", err="000"))
    again = await _arrive(database, app, sms, deliver_sm("1A", err="000"))

    assert await job.apply_batch() == 2

    assert await receipt_of(database.pool, sms) == Receipt.DELIVERED
    assert {(await _row(database, id_))["result"] for id_ in (first, again)} == {"applied"}
    events = await database.pool.fetch("SELECT code FROM ledger.event WHERE delivery_id = $1 AND kind = 6", sms.id)
    assert [event["code"] for event in events] == ["000"]


async def test_applied_row_keeps_nothing_of_the_person(database: Database, app: App, job: ReceiptJob) -> None:
    sms = await claimed_sms(database.pool, app)
    row = await _arrive(database, app, sms, a_persons_message())

    await job.apply_batch()

    settled = await _row(database, row)
    assert (settled["result"], settled["body"]) == ("message", b"")


async def test_receipt_before_the_record_waits_for_it(database: Database, app: App, job: ReceiptJob) -> None:
    sms = await claimed_sms(database.pool, app)
    row = await _arrive(database, app, sms, deliver_sm("77"))

    await job.apply_batch()
    early = await _row(database, row)
    assert (early["applied_at"], early["tries"]) == (None, 1)
    assert open_inbound(await app.keys.sealer(app.app_id), sms.lane_id, early["body"]) == deliver_sm("77")
    assert await job.apply_batch() == 0

    await send(database.pool, sms, "77")
    await _make_due(database)
    await job.apply_batch()

    assert (await _row(database, row))["result"] == "applied"
    assert await receipt_of(database.pool, sms) == Receipt.DELIVERED


async def test_receipts_out_of_order_leave_the_highest(database: Database, app: App, job: ReceiptJob) -> None:
    sms = await claimed_sms(database.pool, app)
    await send(database.pool, sms, "5")
    for stat in ("DELIVRD", "UNDELIV", "ENROUTE"):
        row = await _arrive(database, app, sms, deliver_sm("5", stat))
        await job.apply_batch()
        assert (await _row(database, row))["applied_at"] is not None

    assert await receipt_of(database.pool, sms) == Receipt.DELIVERED


async def _results(database: Database) -> list[str | None]:
    rows = await database.pool.fetch("SELECT result FROM tracking.inbound ORDER BY inbound_id")
    return [row["result"] for row in rows]


@pytest.mark.parametrize("order", list(permutations(("A1", "A2", "A3"))), ids="-".join)
async def test_longer_message_is_delivered_once_all_its_segments_are(
    database: Database, app: App, job: ReceiptJob, order: tuple[str, ...]
) -> None:
    sms = await claimed_sms(database.pool, app)
    await send(database.pool, sms, "00A1", "A2", " A3")

    seen = []
    for id_ in (order[0], *order):
        await _arrive(database, app, sms, deliver_sm(id_))
        await job.apply_batch()
        seen.append(await receipt_of(database.pool, sms))

    assert seen == [0, 0, 0, Receipt.DELIVERED]
    assert await _results(database) == ["segment", "segment", "segment", "applied"]


async def test_receipts_of_segments_that_overtook_the_record_wait_for_it(
    database: Database, app: App, job: ReceiptJob
) -> None:
    sms = await claimed_sms(database.pool, app)
    for id_, stat in (("A3", "DELIVRD"), ("A2", "UNDELIV"), ("A2", "UNDELIV")):
        await _arrive(database, app, sms, deliver_sm(id_, stat))
    await job.apply_batch()
    assert await _results(database) == [None, None, None]

    await send(database.pool, sms, "A1", "A2", "A3")
    await _make_due(database)
    await job.apply_batch()

    assert await receipt_of(database.pool, sms) == Receipt.UNDELIVERED
    assert await _results(database) == ["applied", "applied", "applied"]


@pytest.mark.parametrize("lost", ["A1", "A2", "A3"])
async def test_one_lost_segment_makes_a_longer_message_undelivered(
    database: Database, app: App, job: ReceiptJob, lost: str
) -> None:
    sms = await claimed_sms(database.pool, app)
    await send(database.pool, sms, "A1", "A2", "A3")
    for id_ in ("A3", "A2", "A1"):
        await _arrive(database, app, sms, deliver_sm(id_, "UNDELIV" if id_ == lost else "DELIVRD"))
        await job.apply_batch()

    assert await receipt_of(database.pool, sms) == Receipt.UNDELIVERED


async def test_receipt_on_another_bind_is_another_row_of_the_same_lane(
    database: Database, app: App, job: ReceiptJob
) -> None:
    """Binds share the lane, which is all that a receipt is found by; another lane's message of the same id is not meant."""
    sms, other = await claimed_sms(database.pool, app), await claimed_sms(database.pool, app)
    await send(database.pool, sms, "A1", "A2")
    await send(database.pool, other, "A1", "A2")
    for id_ in ("A2", "A1"):
        await _arrive(database, app, other, deliver_sm(id_))
    await job.apply_batch()

    assert (await receipt_of(database.pool, sms), await receipt_of(database.pool, other)) == (0, Receipt.DELIVERED)


async def test_second_try_completes_the_segments_of_the_first(database: Database, app: App, job: ReceiptJob) -> None:
    first = await claimed_sms(database.pool, app)
    await record_answer(database.pool, first, DeliveryState.RETRY_WAIT, Outcome.RETRY, ["a1", "", ""])
    await _arrive(database, app, first, deliver_sm("a1"))
    await job.apply_batch()
    assert await _results(database) == [None]

    second = await claimed_again(database.pool, first)
    await send(database.pool, second, "b1", "b2", "b3")
    await _make_due(database)
    await job.apply_batch()
    seen = [await receipt_of(database.pool, second)]
    for id_ in ("b3", "b2"):
        await _arrive(database, app, second, deliver_sm(id_))
        await job.apply_batch()
        seen.append(await receipt_of(database.pool, second))

    assert seen == [0, 0, Receipt.DELIVERED]


async def test_receipts_of_a_part_do_not_stand_for_the_whole_that_another_account_sent(
    database: Database, app: App, job: ReceiptJob
) -> None:
    first = await claimed_sms(database.pool, app)
    await record_answer(database.pool, first, DeliveryState.RETRY_WAIT, Outcome.RETRY, ["a1", ""])
    second = await claimed_again(database.pool, first)
    await send(database.pool, second, "sm77")
    await _arrive(database, app, first, deliver_sm("a1"))
    await job.apply_batch()
    partly = await receipt_of(database.pool, second)

    await _arrive(database, app, second, deliver_sm("sm77"))
    await job.apply_batch()

    assert (partly, await receipt_of(database.pool, second)) == (0, Receipt.DELIVERED)


async def test_lost_lease_notes_no_segments(database: Database, app: App) -> None:
    sms = await claimed_sms(database.pool, app)
    await database.pool.execute("UPDATE ledger.delivery_work SET lease_gen = lease_gen + 1")
    with pytest.raises(AssertionError):
        await send(database.pool, sms, "a1", "a2")

    assert await database.pool.fetchval("SELECT count(*) FROM tracking.segment") == 0


async def test_trackers_that_apply_segments_at_once_miss_none(database: Database, app: App, tracker_pool: Pool) -> None:
    table = SegmentTable(tracker_pool)
    sms = await claimed_sms(database.pool, app)
    count = 12
    await send(database.pool, sms, *(f"s{n}" for n in range(count)))

    wholes = await asyncio.gather(
        *(table.raise_receipts([(Segment(sms.id, n), Receipt.DELIVERED)]) for n in range(count))
    )

    assert [whole[sms.id] for whole in wholes].count(Receipt.DELIVERED) == 1


async def test_segments_of_long_ago_are_forgotten(database: Database, app: App, tracker_pool: Pool) -> None:
    table = SegmentTable(tracker_pool)
    sms = await claimed_sms(database.pool, app)
    await send(database.pool, sms, "a", "b")
    assert await table.prune(timedelta(days=5), 10) == 0
    await database.pool.execute("UPDATE tracking.segment SET noted_at = now() - interval '6 days'")

    assert await table.prune(timedelta(days=5), 10) == 2


async def test_call_that_comes_again_is_stored_once_and_sealed(
    database: Database, app: App, tracker_pool: Pool
) -> None:
    table = InboundTable(tracker_pool, app.keys, ["x"])

    stored = [await table.store(app.app_id, lane, "p", "x", b"+821012345678", b"1") for lane in (1, 1, 2)]

    rows = await database.pool.fetch("SELECT * FROM tracking.inbound")
    assert stored == [True, False, True]
    assert not any(b"8210" in row["body"] for row in rows)
    assert {row.body for row in await table.take(10)} == {b"+821012345678"}


async def test_batch_ends_with_the_row_that_fills_it(app: App, tracker_pool: Pool) -> None:
    table = InboundTable(tracker_pool, app.keys, ["x"])
    for n in range(5):
        await table.store(app.app_id, 1, "p", "x", bytes(900_000), b"%d" % n)

    sizes = [len(await table.take(500)) for _ in range(3)]

    assert sizes == [3, 2, 0]


async def test_unknown_receipt_is_given_up_after_fifteen_minutes(database: Database, app: App, job: ReceiptJob) -> None:
    sms = await claimed_sms(database.pool, app)
    row = await _arrive(database, app, sms, deliver_sm("404"))
    await database.pool.execute("UPDATE tracking.inbound SET received_at = now() - interval '15 minutes', tries = 8")

    await job.apply_batch()

    assert (await _row(database, row))["result"] == "unknown"


async def test_row_that_cannot_be_opened_ends_and_holds_up_no_other(
    database: Database, app: App, job: ReceiptJob
) -> None:
    sms = await claimed_sms(database.pool, app)
    await send(database.pool, sms, "1A")
    damaged = await _arrive(database, app, sms, deliver_sm("1A", err="000"))
    await database.pool.execute("UPDATE tracking.inbound SET body = substr(body, 2) WHERE inbound_id = $1", damaged)
    whole = await _arrive(database, app, sms, deliver_sm("1A", err="000"))

    await job.apply_batch()

    assert (await _row(database, damaged))["applied_at"] is not None
    assert (await _row(database, whole))["applied_at"] is not None
    assert await receipt_of(database.pool, sms) == Receipt.DELIVERED


async def test_two_trackers_share_the_rows(database: Database, app: App, tracker_pool: Pool) -> None:
    sms = await claimed_sms(database.pool, app)
    await database.pool.execute(
        "INSERT INTO tracking.inbound (app_id, lane_id, provider, kind, body) "
        "SELECT $1, $2, 'smpp', $3, $4 FROM generate_series(1, 900)",
        sms.claimed.app_id,
        sms.lane_id,
        smpp.KIND,
        seal_inbound(await app.keys.sealer(app.app_id), sms.lane_id, a_persons_message()),
    )

    sizes = await asyncio.gather(*(_job(tracker_pool, app).apply_batch() for _ in range(4)))

    assert sum(sizes) == 900
    assert await database.pool.fetchval("SELECT count(*) FROM tracking.inbound WHERE tries <> 1") == 0


async def test_row_of_a_kind_we_cannot_read_is_left_alone(database: Database, app: App, job: ReceiptJob) -> None:
    sms = await claimed_sms(database.pool, app)
    row = await _arrive(database, app, sms, b"{}", kind="twilio.callback")

    assert await job.apply_batch() == 0
    assert (await _row(database, row))["tries"] == 0


async def test_prune_deletes_only_what_was_applied_long_ago(database: Database, app: App, job: ReceiptJob) -> None:
    sms = await claimed_sms(database.pool, app)
    old, fresh, waiting = [await _arrive(database, app, sms, b"") for _ in range(3)]
    await database.pool.execute(
        "UPDATE tracking.inbound SET applied_at = now() - interval '8 days' WHERE inbound_id = $1", old
    )
    await database.pool.execute("UPDATE tracking.inbound SET applied_at = now() WHERE inbound_id = $1", fresh)

    await job.prune(timedelta(days=7), lambda: False)

    left = await database.pool.fetch("SELECT inbound_id FROM tracking.inbound ORDER BY 1")
    assert [row["inbound_id"] for row in left] == [fresh, waiting]
