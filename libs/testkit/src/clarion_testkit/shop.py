"""An app of a running stack, ready to send: keys, the sandbox's provider accounts, and recipients to send to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from clarion_client import AlreadyExists, AsyncClient, Recipient, Unavailable, addresses
from clarion_local.practice import Practice
from clarion_local.stack import Stack
from clarion_sandbox import browser

ALL_SCOPES = ("send:*", "recipient:write", "template:write", "status:read", "deadletter:redrive")
_AWAKE_WITHIN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Shop:
    """An app with its client and the sandbox behind its accounts."""

    name: str
    client: AsyncClient
    practice: Practice
    app_key: str
    app_secret: str

    def everywhere(self, recipient_id: str, *, ios: str = "ab" * 32, android: str | None = None) -> Recipient:
        """A recipient with one address on each channel, all of them alive."""
        web = browser.subscription(self.practice.vapid_public_key, recipient_id)
        return Recipient(
            recipient_id=recipient_id,
            addresses=[
                addresses.ios(ios),
                addresses.android(android or f"device-{recipient_id}-{'x' * 100}"),
                addresses.web(
                    {
                        "endpoint": f"{self.practice.url}{web.endpoint_path}",
                        "keys": {"p256dh": web.p256dh, "auth": web.auth},
                    }
                ),
                addresses.phone("+821012345678"),
                addresses.mail(f"{recipient_id}@example.com"),
            ],
        )


async def _create_app(operator: AsyncClient, name: str) -> None:
    """A mesh in the tests' own process stands still while tests without it run; connections may have ended meanwhile."""
    async with asyncio.timeout(_AWAKE_WITHIN_SECONDS):
        while True:
            try:
                await operator.apps.create(name)
            except Unavailable:
                await asyncio.sleep(0.2)
            except AlreadyExists:
                return
            else:
                return


@asynccontextmanager
async def open_shop(stack: Stack, name: str, scopes: Sequence[str] = ALL_SCOPES) -> AsyncIterator[Shop]:
    """A new app on a running stack."""
    ends = stack.endpoints
    practice = Practice.read(Path(ends.sandbox), ends.ca_file)
    async with AsyncClient.connect(ends.gateway, ends.admin_key, ends.admin_secret, ca_file=ends.ca_file) as operator:
        await _create_app(operator, name)
        key = await operator.apps.create_key(name, list(scopes))
        for account in practice.accounts(name):
            await operator.providers.put(name, account.name, account.kind, account.settings)
    async with AsyncClient.connect(ends.gateway, key.key.app_key, key.app_secret, ca_file=ends.ca_file) as client:
        yield Shop(name, client, practice, key.key.app_key, key.app_secret)
