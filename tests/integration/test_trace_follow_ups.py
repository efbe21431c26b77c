"""What follows a send, seconds or days later, is in its trace: retries and receipts, linked to the attempts they follow."""

from uuid import UUID

import pytest

from clarion_client import Channel, Content, Push
from clarion_kit.telemetry.tracing import attempt_span
from clarion_local.stack import Stack
from clarion_testkit.otlp import Collector, ReceivedSpan
from clarion_testkit.shop import open_shop

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEND = "clarion.notification.v1.NotificationService/Send"
FAILS_ONCE = "dead500001" + "x" * 100
"""A device of the sandbox whose first request is answered 500."""


def named(spans: list[ReceivedSpan], name: str) -> list[ReceivedSpan]:
    return sorted((span for span in spans if span.name == name), key=lambda span: span.told("clarion.attempt"))


async def test_retry_is_in_the_same_trace_and_linked_to_the_attempt_before(stack: Stack, collector: Collector) -> None:
    async with open_shop(stack, "trace-retry") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1", android=FAILS_ONCE))

        sent = await shop.client.send(
            recipients=["u1"],
            category="transactional",
            content=Content(push=Push(title="twice", body="b")),
            channels=[Channel.ANDROID],
            trace=True,
        )

        spans = await collector.until(sent.trace_id, "fcm send", "process DISPATCH.android", count=2)
        first, second = named(spans, "fcm send")
        assert (first.told("clarion.outcome"), second.told("clarion.outcome")) == ("retry", "accepted")
        assert (first.told("clarion.attempt"), second.told("clarion.attempt")) == ("1", "2")
        assert (first.links, second.links) == (frozenset(), frozenset({(sent.trace_id, first.span_id)}))
        processes = {span.span_id: span for span in spans if span.name == "process DISPATCH.android"}
        assert len(processes) == 2
        assert processes[first.parent_id].parent_id == processes[second.parent_id].parent_id


async def test_receipt_is_in_the_same_trace_and_linked_to_its_attempt(stack: Stack, collector: Collector) -> None:
    async with open_shop(stack, "trace-receipt") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))

        sent = await shop.client.send(
            recipients=["u1"],
            category="transactional",
            content=Content(sms="hello"),
            channels=[Channel.SMS],
            trace=True,
        )

        spans = await collector.until(sent.trace_id, SEND, "smpp send", "process RECEIPT.sms")
        [attempt] = named(spans, "smpp send")
        [receipt] = named(spans, "process RECEIPT.sms")
        [gateway] = named(spans, SEND)
        assert receipt.service == "clarion-tracker"
        assert receipt.told("clarion.receipt") == "delivered"
        assert receipt.links == frozenset({(sent.trace_id, attempt.span_id)})
        assert receipt.parent_id == gateway.span_id
        [delivery] = (await shop.client.get(sent.notification_id)).deliveries
        assert receipt.told("clarion.delivery.id") == attempt.told("clarion.delivery.id") == delivery.delivery_id
        assert (
            attempt_span(f"00-{sent.trace_id}-{'1' * 16}-01", UUID(delivery.delivery_id), 1)[36:52] == attempt.span_id
        )
