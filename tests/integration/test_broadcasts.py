"""Broadcasts and schedules on a whole mesh: through the gateway to the sandbox's devices."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from clarion.broadcast.v1 import broadcast_service_pb2 as pb
from clarion_client import Content, FailedPrecondition, Notification, Push
from clarion_client.calls.broadcasts import broadcast
from clarion_local.stack import Stack
from clarion_testkit.shop import Shop, open_shop

pytestmark = pytest.mark.asyncio(loop_scope="session")

WITHIN_SECONDS = 40.0
ENDED = (pb.BROADCAST_STATE_PLANNED, pb.BROADCAST_STATE_CANCELLED)
SALE = Content(push=Push(title="Sale", body="b"))


async def ended(shop: Shop, broadcast_id: str) -> pb.GetBroadcastResponse:
    """The broadcast once nothing of it is in flight. Raises TimeoutError that tells how far it came."""
    shown = pb.GetBroadcastResponse()
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            while shown.broadcast.state not in ENDED or shown.outcomes.in_flight:
                shown = await shop.client.broadcasts.get(broadcast_id)
                await asyncio.sleep(0.5)
    except TimeoutError:
        raise TimeoutError(f"still {shown}") from None
    return shown


async def test_subscribers_of_a_topic_get_a_broadcast_once(stack: Stack) -> None:
    async with open_shop(stack, "broadcast-topic") as shop:
        everyone = [f"u{number}" for number in range(12)]
        await shop.client.recipients.upsert_many(shop.everywhere(name) for name in everyone)
        await shop.client.topics.subscribe("news", everyone[:9])
        request = broadcast(category="marketing", topic="news", content=SALE, event_id="sale-1")

        started = await shop.client.broadcasts.start(request)
        again = await shop.client.broadcasts.start(request)
        shown = await ended(shop, started.broadcast_id)

        assert (again.broadcast_id, again.duplicate) == (started.broadcast_id, True)
        assert (shown.broadcast.state, shown.broadcast.planned, shown.broadcast.total) == (
            pb.BROADCAST_STATE_PLANNED,
            9,
            9,
        )
        assert shown.outcomes.sent == shown.broadcast.deliveries
        assert shown.outcomes.sent >= 9


async def test_topic_with_no_one_ends_at_once(stack: Stack) -> None:
    async with open_shop(stack, "broadcast-nobody") as shop:
        started = await shop.client.broadcasts.start(broadcast(category="marketing", topic="nobody", content=SALE))

        shown = await ended(shop, started.broadcast_id)

        assert (shown.broadcast.state, shown.broadcast.total) == (pb.BROADCAST_STATE_PLANNED, 0)


async def test_broadcast_cancelled_before_its_time_reaches_nobody(stack: Stack) -> None:
    async with open_shop(stack, "broadcast-cancel") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))
        later = broadcast(
            category="marketing", everybody=True, content=SALE, deliver_at=datetime.now(UTC) + timedelta(hours=1)
        )
        started = await shop.client.broadcasts.start(later)

        await shop.client.broadcasts.cancel(started.broadcast_id)
        shown = await ended(shop, started.broadcast_id)

        assert shown.broadcast.planned == 0
        with pytest.raises(FailedPrecondition):
            await shop.client.broadcasts.resume(started.broadcast_id)


async def test_schedule_is_kept_and_shows_when_it_fires(stack: Stack) -> None:
    async with open_shop(stack, "broadcast-schedule") as shop:
        body = Notification(recipients=["u1"], category="transactional", content=SALE).to_proto()

        put = await shop.client.schedules.put("daily", "0 9 * * *", body, time_zone="Asia/Seoul")
        listed = [one async for one in shop.client.schedules.list()]
        deleted = await shop.client.schedules.delete("daily")

        assert [one.name for one in listed] == ["daily"]
        assert {stamp.ToDatetime().hour for stamp in put.schedule.next_fire_times} == {0}
        assert deleted.deleted
