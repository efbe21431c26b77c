"""Web Push against the npm package web-push-testing: its own VAPID check, its own decryption."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyreqwest.client import Client, ClientBuilder

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address, WebSubscription
from clarion.types.v1.channel_pb2 import PRIORITY_NORMAL
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message, Provider
from clarion_channels.providers.es256 import b64url
from clarion_channels.providers.webpush import Factory
from clarion_channels.providers.webpush.encryption import public_bytes

from .conftest import TlsFiles
from .peer_process import running
from .reports import NoReceipts, send

HERE = Path(__file__).resolve().parent
VAPID_KEY = ec.generate_private_key(ec.SECP256R1())


class Service:
    """The package's own HTTP interface."""

    def __init__(self, http: Client) -> None:
        self._http = http

    async def subscribe(self, key: ec.EllipticCurvePrivateKey = VAPID_KEY) -> dict[str, str]:
        wanted = {"userVisibleOnly": "true", "applicationServerKey": b64url(public_bytes(key))}
        given: Any = await self._post("/subscribe", wanted)
        return {"endpoint": given["endpoint"], "hash": given["clientHash"], **given["keys"]}

    async def notifications(self, subscription: dict[str, str]) -> list[str]:
        given: Any = await self._post("/get-notifications", {"clientHash": subscription["hash"]})
        messages: list[str] = given["messages"]
        return messages

    async def expire(self, subscription: dict[str, str]) -> None:
        response = await self._http.post(f"/expire-subscription/{subscription['hash']}").build().send()
        assert response.status == 200

    async def _post(self, path: str, document: dict[str, str]) -> object:
        response = await self._http.post(path).body_json(document).build().send()
        assert response.status == 200, await response.text()
        answer: Any = await response.json()
        found: object = answer["data"]
        return found


@asynccontextmanager
async def world(node_modules: Path, tls: TlsFiles) -> AsyncIterator[tuple[Service, Provider]]:
    command = ["node", str(HERE / "web_push.js"), str(tls.certificate), str(tls.key)]
    document = {
        "vapid_private_key": VAPID_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "vapid_subject": "mailto:ops@example.com",
        "allow_private_addresses": True,
        "ca_file": str(tls.authority),
        "timeout_seconds": 10,
    }
    async with running(command, {"NODE_PATH": str(node_modules)}) as peer:
        document["allowed_hosts"] = [f"localhost:{peer.port}"]
        provider = await Factory.connect(json.dumps(document).encode(), NoReceipts())
        builder = ClientBuilder().add_root_certificate_pem(tls.authority.read_bytes())
        async with builder.base_url(f"https://localhost:{peer.port}").timeout(timedelta(seconds=5)).build() as http:
            try:
                yield Service(http), provider
            finally:
                await provider.close()


def to(subscription: dict[str, str], body: str = "is on its way") -> Message:
    return Message(
        delivery_id=uuid4(),
        address=Address(
            web=WebSubscription(
                endpoint=subscription["endpoint"], p256dh=subscription["p256dh"], auth=subscription["auth"]
            )
        ),
        content=Rendered(push=PushContent(title="Bestellung 7: bezahlt ✓", body=body)),
        priority=PRIORITY_NORMAL,
        expire_at=datetime.now(UTC) + timedelta(hours=1),
        collapse_key="order-7",
    )


async def test_browser_decrypts_what_was_sent(node_modules: Path, tls_files: TlsFiles) -> None:
    async with world(node_modules, tls_files) as (service, provider):
        subscription = await service.subscribe()
        results = await send(provider, [to(subscription), to(subscription, "x" * 3500)])
        assert [result.outcome for result in results] == [Outcome.ACCEPTED] * 2
        shown = sorted((json.loads(text) for text in await service.notifications(subscription)), key=str)
    assert [document["title"] for document in shown] == ["Bestellung 7: bezahlt ✓"] * 2
    assert {document["options"]["body"] for document in shown} == {"is on its way", "x" * 3500}


async def test_expired_subscription_is_dead_and_the_others_go_on(node_modules: Path, tls_files: TlsFiles) -> None:
    async with world(node_modules, tls_files) as (service, provider):
        gone, alive = await service.subscribe(), await service.subscribe()
        await service.expire(gone)
        results = await send(provider, [to(gone), to(alive)])
        assert [result.outcome for result in results] == [Outcome.DEAD, Outcome.ACCEPTED]
        assert len(await service.notifications(alive)) == 1


async def test_subscription_made_with_another_vapid_key_is_not_accepted(
    node_modules: Path, tls_files: TlsFiles
) -> None:
    async with world(node_modules, tls_files) as (service, provider):
        foreign = await service.subscribe(ec.generate_private_key(ec.SECP256R1()))
        [result] = await send(provider, [to(foreign)])
        assert result.outcome is Outcome.CRED  # 400 "Invalid Crypto-Key header sent", read as Chrome's service is
        assert await service.notifications(foreign) == []


async def test_two_hundred_subscriptions_at_once(node_modules: Path, tls_files: TlsFiles) -> None:
    async with world(node_modules, tls_files) as (service, provider):
        subscriptions = [await service.subscribe() for _ in range(20)]
        results = await send(provider, [to(each) for each in subscriptions for _ in range(10)])
        assert {result.outcome for result in results} == {Outcome.ACCEPTED}
        assert [len(await service.notifications(each)) for each in subscriptions] == [10] * 20
