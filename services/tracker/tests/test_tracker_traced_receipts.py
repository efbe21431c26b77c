"""Receipts of sampled notifications are spans in their traces, linked to the attempt they answer."""

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from clarion_kit.telemetry.tracing import Tracing, attempt_span, format_traceparent
from clarion_kit.vocabulary import Receipt
from clarion_ledger.db import pool
from clarion_testkit.plugin import App, Database
from clarion_tracker.adapters.ledger import Ledger
from clarion_tracker.adapters.traced_receipts import TracedDeliveries
from clarion_tracker.inbound import DeliveryReceipt

from .tracker_ledger_samples import Sms, claimed_sms, send

TRACEPARENT = f"00-{'a' * 32}-{'1' * 16}-01"


async def sent(database: Database, app: App, traceparent: str | None) -> Sms:
    sms = await claimed_sms(database.pool, app)
    await send(database.pool, sms, "1")
    await database.pool.execute(
        "UPDATE ledger.notification SET traceparent = $2 WHERE id = $1", sms.claimed.notification_id, traceparent
    )
    return sms


async def test_receipt_is_a_span_of_its_notification_linked_to_its_attempt(database: Database, app: App) -> None:
    sampled, unsampled = await sent(database, app, TRACEPARENT), await sent(database, app, None)
    exporter = InMemorySpanExporter()
    async with (
        Tracing("test", 0.0, exporter) as tracing,
        pool(f"{database.url}?role=clarion_tracker", size=2, application="test") as connections,
    ):
        traced = TracedDeliveries(Ledger(connections), connections, tracing)
        both = [DeliveryReceipt(one.id, Receipt.DELIVERED) for one in (sampled, unsampled)]
        first = await traced.raise_receipts(both)
        repeated = await traced.raise_receipts(both)
        await traced.raise_receipts([DeliveryReceipt(sampled.id, Receipt.SEEN)])

    assert (first, repeated) == ({sampled.id, unsampled.id}, set())
    delivered, seen = exporter.get_finished_spans()
    for span, receipt in ((delivered, "delivered"), (seen, "seen")):
        assert span.name == "process RECEIPT.sms"
        assert span.parent is not None
        assert format_traceparent(span.parent) == TRACEPARENT
        assert [format_traceparent(link.context) for link in span.links] == [attempt_span(TRACEPARENT, sampled.id, 1)]
        assert span.attributes is not None
        assert span.attributes["clarion.receipt"] == receipt
        assert span.attributes["clarion.delivery.id"] == str(sampled.id)


async def test_receipts_are_kept_without_a_collector_and_without_their_trace(database: Database, app: App) -> None:
    sms, other = await sent(database, app, TRACEPARENT), await sent(database, app, TRACEPARENT)
    exporter = InMemorySpanExporter()
    async with (
        Tracing("test", 0.0, None) as silent,
        Tracing("test", 0.0, exporter) as tracing,
        pool("postgresql://nobody@127.0.0.1:1/none", size=1, application="test") as nowhere,
    ):
        for seen_by, one in ((silent, sms), (tracing, other)):
            traced = TracedDeliveries(Ledger(database.pool), nowhere, seen_by)
            assert await traced.raise_receipts([DeliveryReceipt(one.id, Receipt.DELIVERED)]) == {one.id}

    assert exporter.get_finished_spans() == ()
