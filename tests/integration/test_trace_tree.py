"""One sampled `Send` is one connected trace, from the caller to the provider's answer."""

import asyncio
from functools import partial

import pytest

from clarion_client import Channel, Content, Mail, Notification, Push, Sent
from clarion_local.stack import Stack
from clarion_testkit.otlp import Collector
from clarion_testkit.shop import Shop, open_shop

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEND = "clarion.notification.v1.NotificationService/Send"
RESOLVE = "clarion.internal.preference.v1.PreferenceService/Resolve"
ACQUIRE = "clarion.internal.ratelimit.v1.RateLimitService/Acquire"
RENDER = "clarion.internal.template.v1.TemplateService/Render"
PLAN = "process PLAN.normal"
CONTENT = Content(
    push=Push(title="canary-title", body="b"), sms="canary-sms", mail=Mail(subject="canary-subject", text="t")
)


async def _template(shop: Shop) -> None:
    await shop.client.templates.put(
        "greeting", {"en": Content(push=Push(title="Hello {{ name }}", body="b"))}, sample_data={"name": "canary-name"}
    )


async def test_one_sampled_send_is_one_connected_trace(stack: Stack, collector: Collector) -> None:
    async with open_shop(stack, "trace-one") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))
        await _template(shop)

        sent = await shop.client.send(
            recipients=["u1"], category="marketing", template="greeting", data={"name": "canary-name"}, trace=True
        )

        span = partial(collector.one, sent.trace_id)
        gateway = await span(SEND, "clarion-gateway")
        produced = await span("send PLAN.normal", "clarion-gateway")
        plan = await span(PLAN, "clarion-planner")
        assert gateway.parent_id, "the caller's span is the gateway's parent"
        assert produced.parent_id == gateway.span_id
        assert plan.parent_id == gateway.span_id
        assert (produced.trace_id, produced.span_id) in plan.links
        for method, service in ((RESOLVE, "preference"), (RENDER, "template"), (ACQUIRE, "rate-limiter")):
            call = await span(method, "clarion-planner")
            served = await span(method, f"clarion-{service}")
            assert call.parent_id == plan.span_id
            assert served.parent_id == call.span_id
        for channel, provider in (("ios", "apns"), ("android", "fcm"), ("web", "webpush")):
            process = await span(f"process DISPATCH.{channel}", f"clarion-dispatcher-{channel}")
            handed_on = await span(f"send DISPATCH.{channel}", "clarion-planner")
            answer = await span(f"{provider} send", f"clarion-dispatcher-{channel}")
            assert process.parent_id == plan.span_id
            assert (handed_on.trace_id, handed_on.span_id) in process.links
            assert answer.parent_id == process.span_id
        shown = await shop.client.get(sent.notification_id)
        assert shown.notification.trace_id == sent.trace_id


async def test_no_span_carries_content_addresses_or_secrets(stack: Stack, collector: Collector) -> None:
    async with open_shop(stack, "trace-secrets") as shop:
        await shop.client.recipients.upsert(shop.everywhere("canary-recipient", android="canary-device-" + "x" * 60))

        sent = await shop.client.send(
            recipients=["canary-recipient"], category="transactional", content=CONTENT, trace=True
        )

        spans = await collector.until(sent.trace_id, SEND, PLAN, "fcm send", "smpp send", "smtp send")
        told = " ".join(f"{span.name} {span.attributes}" for span in spans)
        for secret in ("canary", "+8210", "@example.com", "ab" * 32, shop.app_secret, shop.practice.url):
            assert secret not in told


async def test_three_sampled_among_five_hundred_give_three_whole_trees(stack: Stack, collector: Collector) -> None:
    async with open_shop(stack, "trace-three") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))

        def send(number: int) -> "asyncio.Task[Sent]":
            content = Content(push=Push(title=f"n{number}", body="b"))
            notification = Notification(
                recipients=["u1"], category="transactional", content=content, channels=[Channel.ANDROID]
            )
            return asyncio.create_task(shop.client.send(notification, trace=number in (7, 250, 499)))

        sends = await asyncio.gather(*(send(number) for number in range(500)))

        traced = [sent.trace_id for sent in sends if sent.trace_id]
        assert len(traced) == 3
        everything = list(collector.spans)
        for trace_id in traced:
            gateway = await collector.one(trace_id, SEND, "clarion-gateway")
            plan = await collector.one(trace_id, PLAN, "clarion-planner")
            process = await collector.one(trace_id, "process DISPATCH.android", "clarion-dispatcher-android")
            answer = await collector.one(trace_id, "fcm send", "clarion-dispatcher-android")
            assert (plan.parent_id, process.parent_id, answer.parent_id) == (
                gateway.span_id,
                plan.span_id,
                process.span_id,
            )
        new = {span.trace_id for span in collector.spans} - {span.trace_id for span in everything} | set(traced)
        assert new == set(traced), "an unsampled send left a span"
