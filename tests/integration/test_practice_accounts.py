"""The accounts of a practice stack: each recipient is served by the provider of their region, whose receipts come back."""

import asyncio

import pytest

from clarion_client import AsyncClient, Channel, Content, Mail, Push, Recipient, addresses
from clarion_kit.vocabulary import Receipt
from clarion_local.practising import open_accounts
from clarion_local.stack import Stack
from clarion_testkit.shop import Shop, open_shop

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOOK_AGAIN_SECONDS = 0.1
RECEIPT_SECONDS = 8.0
CONTENT = Content(
    push=Push(title="Order 7", body="is on its way"), sms="Order 7", mail=Mail(subject="Order 7", text="t")
)


def as_operator(stack: Stack) -> AsyncClient:
    ends = stack.endpoints
    return AsyncClient.connect(ends.gateway, ends.admin_key, ends.admin_secret, ca_file=ends.ca_file)


async def served_by(
    shop: Shop, channel: Channel, recipient: Recipient, account: str, receipt: Receipt | None = None
) -> None:
    """Returns once this account sent it and the ledger has this receipt (None: whatever it has); nobody is told when it has.
    Sends again, for daemons look for a new configuration every second: until that account sends, and a receipt comes back
    through a tracker that knows it. Raises TimeoutError."""
    await shop.client.recipients.upsert(recipient)
    async with asyncio.timeout(60):
        while True:
            sent = await shop.client.send(
                recipients=[recipient.recipient_id], category="transactional", channels=[channel], content=CONTENT
            )
            provider = ""
            patience = asyncio.get_running_loop().time() + RECEIPT_SECONDS
            while not provider and asyncio.get_running_loop().time() < patience:
                found = await shop.client.get(sent.notification_id)
                for delivery in found.deliveries:
                    if delivery.provider_message_id and (receipt is None or int(delivery.receipt) == receipt):
                        provider = delivery.provider
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            if provider == account:
                return


async def test_people_are_served_by_the_provider_of_their_region_and_its_receipts_come_back(stack: Stack) -> None:
    async with open_shop(stack, "practising") as shop, as_operator(stack) as operator:
        await open_accounts(operator, shop.name, shop.practice, stack.endpoints.tracker_url)
        token = "device-" + "x" * 100
        chinese = Recipient(recipient_id="cn", country="CN", addresses=[addresses.android(token, huawei=True)])
        german = Recipient(recipient_id="de", country="DE", addresses=[addresses.android(f"{token}y")])
        american = Recipient(recipient_id="us", country="US", addresses=[addresses.phone("+14155552671")])
        korean = Recipient(recipient_id="kr", country="KR", addresses=[addresses.phone("+821012345678")])

        await asyncio.gather(
            served_by(shop, Channel.ANDROID, chinese, "sandbox-huawei", Receipt.DELIVERED),
            served_by(shop, Channel.ANDROID, german, "sandbox-fcm"),
            served_by(shop, Channel.SMS, american, "sandbox-twilio", Receipt.DELIVERED),
            served_by(shop, Channel.SMS, korean, "sandbox-smpp", Receipt.DELIVERED),
        )


async def test_mail_goes_on_with_the_next_provider_once_accounts_are_deleted(stack: Stack) -> None:
    async with open_shop(stack, "moving") as shop, as_operator(stack) as operator:
        await open_accounts(operator, shop.name, shop.practice, stack.endpoints.tracker_url)
        reader = Recipient(recipient_id="reader", addresses=[addresses.mail("reader@example.com")])
        await served_by(shop, Channel.EMAIL, reader, "sandbox-smtp")

        await operator.providers.delete(shop.name, "sandbox-smtp")
        await operator.providers.delete(shop.name, "sandbox-ses")
        await served_by(shop, Channel.EMAIL, reader, "sandbox-sendgrid", Receipt.DELIVERED)
