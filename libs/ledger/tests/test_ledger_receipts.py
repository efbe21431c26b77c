"""Receipts against a real Postgres."""

import asyncio

import pytest

from clarion_kit.vocabulary import DeliveryState, EventKind, Receipt
from clarion_ledger.receipts import ReceiptFor, apply, find_deliveries
from clarion_testkit.plugin import App, Database

from .ledger_samples import audited, delivered, delivery_row, events_of, leased


async def test_receipt_is_stored_and_shown(database: Database, app: App) -> None:
    notification, id_ = await delivered(database.pool, app)

    assert await apply(database.pool, [ReceiptFor(id_, Receipt.DELIVERED, "DELIVRD")]) == {id_}

    row = await delivery_row(database.pool, id_)
    assert (row["receipt"], row["state"]) == (Receipt.DELIVERED, DeliveryState.SENT)
    assert row["receipt_at"] is not None
    assert (await events_of(database.pool, notification))[-1] == EventKind.RECEIPT
    assert (await audited(database.pool)).unaccounted == 0


@pytest.mark.parametrize(
    "arrivals",
    [
        [Receipt.DELIVERED, Receipt.SEEN, Receipt.CLICKED],
        [Receipt.CLICKED, Receipt.SEEN, Receipt.DELIVERED],
        [Receipt.UNDELIVERED, Receipt.CLICKED, Receipt.UNDELIVERED],
        [Receipt.CLICKED, Receipt.CLICKED],
    ],
)
async def test_highest_receipt_wins_whatever_the_order(database: Database, app: App, arrivals: list[Receipt]) -> None:
    notification, id_ = await delivered(database.pool, app)

    for receipt in arrivals:
        await apply(database.pool, [ReceiptFor(id_, receipt)])

    assert (await delivery_row(database.pool, id_))["receipt"] == Receipt.CLICKED
    rises = sum(receipt > max(arrivals[:n], default=0) for n, receipt in enumerate(arrivals))
    assert (await events_of(database.pool, notification)).count(EventKind.RECEIPT) == rises


async def test_duplicates_within_a_batch_count_once(database: Database, app: App) -> None:
    notification, id_ = await delivered(database.pool, app)

    changed = await apply(
        database.pool,
        [ReceiptFor(id_, Receipt.DELIVERED), ReceiptFor(id_, Receipt.SEEN), ReceiptFor(id_, Receipt.DELIVERED)],
    )

    assert changed == {id_}
    assert (await delivery_row(database.pool, id_))["receipt"] == Receipt.SEEN
    assert (await events_of(database.pool, notification)).count(EventKind.RECEIPT) == 1


async def test_receipt_before_the_record_of_the_send_is_to_come_again(database: Database, app: App) -> None:
    claimed = await leased(database.pool, app)

    assert await apply(database.pool, [ReceiptFor(claimed.delivery_id, Receipt.DELIVERED)]) == set()
    assert await apply(database.pool, []) == set()


async def test_same_receipt_applied_by_many_at_once_counts_once(database: Database, app: App) -> None:
    pairs = [await delivered(database.pool, app) for _ in range(3)]
    receipts = [ReceiptFor(id_, Receipt.DELIVERED) for _, id_ in pairs]

    changed = await asyncio.gather(*(apply(database.pool, receipts[n:] + receipts[:n]) for n in range(3)))

    assert sorted(id_ for ids in changed for id_ in ids) == sorted(id_ for _, id_ in pairs)


async def test_delivery_is_found_by_the_key_of_its_attempt(database: Database, app: App) -> None:
    _, id_ = await delivered(database.pool, app, receipt_key="lane7:abc")
    await delivered(database.pool, app)

    assert await find_deliveries(database.pool, ["lane7:abc", "unknown"]) == {"lane7:abc": id_}
