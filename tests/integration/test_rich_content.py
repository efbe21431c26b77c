"""Rich content through the whole mesh: files, buttons, what is too large, and a bounce that finds its delivery."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from clarion.notification.v1.notification_service_pb2 import Delivery
from clarion.notification.v1.state_pb2 import REASON_TOO_LARGE, RECEIPT_UNDELIVERED
from clarion_client import Action, Attachment, Channel, Content, InvalidArgument, Mail, Push, Recipient, addresses
from clarion_local.stack import Stack
from clarion_testkit.shop import Shop, open_shop

pytestmark = pytest.mark.asyncio(loop_scope="session")

BOUNCES_LATER = "bounce+late-550-5.1.1+ann@example.org"
"""An address of the sandbox whose mail is taken and comes back."""
LOGO = Attachment(filename="logo.png", content_type="image/png", content=b"\x89PNG", content_id="logo")
LOOK_AGAIN_SECONDS = 0.1
MAIL = Mail(subject="Order 7", text="is on its way", html='<p><img src="cid:logo"></p>')


async def until(shop: Shop, notification_id: str, holds: Callable[[Sequence[Delivery]], bool]) -> Sequence[Delivery]:
    """The deliveries once they are as wanted; nobody is told when."""
    async with asyncio.timeout(30):
        while True:
            found = (await shop.client.get(notification_id)).deliveries
            if holds(found):
                return found
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def test_bounce_of_a_mail_with_files_reaches_its_delivery(stack: Stack) -> None:
    async with open_shop(stack, "rich-mail") as shop:
        await shop.client.recipients.upsert(Recipient(recipient_id="u1", addresses=[addresses.mail(BOUNCES_LATER)]))

        sent = await shop.client.send(
            recipients=["u1"], category="marketing", content=Content(mail=MAIL), attachments=[LOGO]
        )
        [mail] = await until(shop, sent.notification_id, lambda found: any(one.receipt for one in found))

        assert mail.receipt == RECEIPT_UNDELIVERED


async def test_picture_that_nobody_attached_is_refused_before_anything_is_stored(stack: Stack) -> None:
    async with open_shop(stack, "rich-faults") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))

        with pytest.raises(InvalidArgument) as refused:
            await shop.client.send(recipients=["u1"], category="marketing", content=Content(mail=MAIL))

        assert [fault.field for fault in refused.value.field_faults] == ["notification.content.mail.html"]


async def test_push_that_no_device_could_get_is_not_sent(stack: Stack) -> None:
    async with open_shop(stack, "rich-push") as shop:
        await shop.client.recipients.upsert(shop.everywhere("u1"))
        data = {"order": "x" * 3_000, "items": "y" * 3_000}
        push = Push(title="Order 7", data=data, actions=[Action(id="track", title="Track")])

        sent = await shop.client.send(
            recipients=["u1"], category="marketing", content=Content(push=push), channels=[Channel.IOS, Channel.WEB]
        )
        found = await until(shop, sent.notification_id, lambda found: len(found) == 2)

        assert {one.reason for one in found} == {REASON_TOO_LARGE}
