"""What rests, on a whole mesh: an escalation, a digest, a cap that defers, and why."""

import asyncio
from datetime import timedelta

import pytest

from clarion.category.v1 import category_service_pb2 as category
from clarion.notification.v1 import notification_service_pb2 as pb
from clarion.notification.v1 import state_pb2
from clarion_client import Channel, ChannelMode, Content, Mail, Notification, Push
from clarion_local.stack import Stack
from clarion_testkit.shop import Shop, open_shop

pytestmark = pytest.mark.asyncio(loop_scope="session")

WITHIN_SECONDS = 30.0
CONTENT = Content(push=Push(title="Order 7", body="b"), sms="Order 7", mail=Mail(subject="Order 7", text="t"))


async def settled(shop: Shop, notification_id: str, *states: "state_pb2.DeliveryState.ValueType") -> pb.GetResponse:
    """The notification once its deliveries are in these states. Raises TimeoutError that tells theirs."""
    shown = pb.GetResponse()
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            while sorted(delivery.state for delivery in shown.deliveries) != sorted(states):
                shown = await shop.client.get(notification_id)
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise TimeoutError(f"still {shown.deliveries} {shown.timeline}") from None
    return shown


async def test_step_that_is_not_needed_ends_and_one_that_is_needed_goes(stack: Stack) -> None:
    async with open_shop(stack, "waiting-steps") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))

        enough = await shop.client.send(
            recipients=["u1"],
            category="transactional",
            content=CONTENT,
            channels=[Channel.ANDROID, Channel.EMAIL],
            channel_mode=ChannelMode.ESCALATE,
            escalate_after=timedelta(seconds=5),
        )
        shown = await settled(
            shop, enough.notification_id, state_pb2.DELIVERY_STATE_SENT, state_pb2.DELIVERY_STATE_CANCELLED
        )

        by_channel = {int(delivery.channel): delivery for delivery in shown.deliveries}
        assert by_channel[Channel.EMAIL].reason == state_pb2.REASON_NOT_NEEDED
        assert pb.EVENT_KIND_WAITING in {entry.kind for entry in shown.timeline}


async def test_notifications_of_one_key_become_one(stack: Stack) -> None:
    async with open_shop(stack, "waiting-digest") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))
        likes = category.Category(name="likes")
        likes.digest_window.FromTimedelta(timedelta(seconds=3))
        await shop.client.categories.put(likes)

        sent = [
            await shop.client.send(
                recipients=["u1"],
                category="likes",
                content=Content(sms=f"like {number}"),
                channels=[Channel.SMS],
                digest_key="post-7",
            )
            for number in range(3)
        ]
        await settled(shop, sent[2].notification_id, state_pb2.DELIVERY_STATE_SENT)
        merged = await settled(shop, sent[0].notification_id, state_pb2.DELIVERY_STATE_SUPPRESSED)

        assert merged.deliveries[0].reason == state_pb2.REASON_MERGED
        carrier = (await shop.client.get(sent[2].notification_id)).deliveries[0].delivery_id
        why = await shop.client.explain(notification_id=sent[0].notification_id)
        assert f"into {carrier}" in {gate.rule for gate in why.explanations[0].gates}


async def test_cap_that_defers_sends_when_there_is_room_and_says_why(stack: Stack) -> None:
    async with open_shop(stack, "waiting-cap") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))
        cap = category.Cap(limit=1)
        cap.window.FromTimedelta(timedelta(seconds=5))
        await shop.client.categories.put(
            category.Category(name="offers", caps=[cap], cap_action=category.GATE_ACTION_DEFER)
        )
        wanted = Notification(recipients=["u1"], category="offers", content=CONTENT, channels=[Channel.SMS])

        first = await shop.client.send(wanted)
        await settled(shop, first.notification_id, state_pb2.DELIVERY_STATE_SENT)
        would = await shop.client.explain(wanted)
        second = await shop.client.send(
            Notification(recipients=["u1"], category="offers", content=CONTENT, channels=[Channel.SMS])
        )
        resting = await settled(shop, second.notification_id, state_pb2.DELIVERY_STATE_DEFERRED)

        deferred = [entry for entry in resting.timeline if entry.kind == pb.EVENT_KIND_DEFERRED]
        assert [entry.reason for entry in deferred] == [state_pb2.REASON_CAPPED]
        assert deferred[0].code.startswith("category offers: 1 per")
        [dry] = would.explanations
        assert (dry.state, dry.gates[-1].verdict) == (state_pb2.DELIVERY_STATE_DEFERRED, state_pb2.VERDICT_DEFER)
        assert dry.content.sms.text == "Order 7"


async def test_test_send_goes_although_the_cap_is_full_and_is_marked(stack: Stack) -> None:
    async with open_shop(stack, "waiting-test-send") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))
        cap = category.Cap(limit=1)
        cap.window.FromTimedelta(timedelta(days=1))
        await shop.client.categories.put(category.Category(name="offers", caps=[cap]))

        ids = []
        for test, state in (
            (False, state_pb2.DELIVERY_STATE_SENT),
            (False, state_pb2.DELIVERY_STATE_SUPPRESSED),
            (True, state_pb2.DELIVERY_STATE_SENT),
        ):
            wanted = Notification(
                recipients=["u1"], category="offers", content=CONTENT, channels=[Channel.SMS], test=test
            )
            ids.append((await shop.client.send(wanted)).notification_id)
            await settled(shop, ids[-1], state)

        why = await shop.client.explain(notification_id=ids[2])
        assert [(await shop.client.get(id_)).notification.test for id_ in ids] == [False, False, True]
        assert why.test
        assert "test send" in {gate.rule for gate in why.explanations[0].gates}
