"""Push providers on the sandbox's HTTP/2 listener, and the check that what they report fits what arrived."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import count

from clarion.types.v1.address_pb2 import Address, AndroidDevice, ApnsDevice, WebSubscription
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message, Provider
from clarion_channels.providers.apns import Factory as ApnsFactory
from clarion_channels.providers.fcm import Factory as FcmFactory
from clarion_channels.providers.webpush import Factory as WebPushFactory
from clarion_sandbox import browser
from clarion_sandbox.faults import FaultRules

from .push_messages import Reports, push_message
from .sandbox_door import Practice

_numbers = count(1)


class NoReceipts:
    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError("push services send no receipts")


class World:
    """A sandbox whose HTTP/2 listener plays APNs, FCM and a web push service."""

    def __init__(self, door: Practice) -> None:
        self.door = door
        self.providers: list[Provider] = []

    def script(self, *faults: dict[str, object], slow_ms: float = 0) -> None:
        """Put these HTTP/2 faults in force; answers take `slow_ms`."""
        slow = [{"provider": name, "latency_ms": slow_ms} for name in ("apns", "fcm", "webpush")] if slow_ms else []
        self.door.sandbox.faults.replace(FaultRules.model_validate({"http2": faults, "faults": slow}))

    async def apns(self, **changes: object) -> Provider:
        account = self.door.account("apns")
        document = {
            "auth": {
                "kind": "token",
                "key_p8": account["private_key"],
                "key_id": account["key_id"],
                "team_id": account["team_id"],
            },
            "bundle_id": "com.example.clarion",
            "production_host": "localhost",
            "production_port": self.door.sandbox.ports.http2,
            "ca_file": str(self.door.ca_file),
            "max_connections": 1,
            "timeout_seconds": 30,
            **changes,
        }
        return self._keep(await ApnsFactory.connect(json.dumps(document).encode(), NoReceipts()))

    async def fcm(self, **changes: object) -> Provider:
        document = {
            "service_account": self.door.account("fcm")["service_account"],
            "base_url": self.door.sandbox.http2_url,
            "ca_file": str(self.door.ca_file),
            "connections": 1,
            "timeout_seconds": 30,
            **changes,
        }
        return self._keep(await FcmFactory.connect(json.dumps(document).encode(), NoReceipts()))

    async def webpush(self, **changes: object) -> Provider:
        account = self.door.account("webpush")
        document = {
            "vapid_private_key": account["vapid_private_key"],
            "vapid_subject": account["subject"],
            "allowed_hosts": [f"localhost:{self.door.sandbox.ports.http2}"],
            "allow_private_addresses": True,
            "ca_file": str(self.door.ca_file),
            "connections": 1,
            "timeout_seconds": 30,
            **changes,
        }
        return self._keep(await WebPushFactory.connect(json.dumps(document).encode(), NoReceipts()))

    async def connect(self, name: str, **changes: object) -> Provider:
        return await {"apns": self.apns, "fcm": self.fcm, "webpush": self.webpush}[name](**changes)

    def messages(self, name: str, number: int, magic: str = "") -> list[Message]:
        """Messages to devices that no other test sends to."""
        return [push_message(self._address(name, magic)) for _ in range(number)]

    def taken(self, messages: Iterable[Message]) -> Counter[str]:
        """How often the provider took a message for each of these devices."""
        wanted = {destination(message) for message in messages}
        lines = [json.loads(line) for line in self.door.sandbox.ledger.read(0, 100_000).splitlines()]
        return Counter(line["destination"] for line in lines if line["accepted"] and line["destination"] in wanted)

    async def close(self) -> None:
        self.script()
        for provider in self.providers:
            await provider.close()

    def _address(self, name: str, magic: str) -> Address:
        number = next(_numbers)
        if name == "apns":
            return Address(ios=ApnsDevice(token=magic + f"{number:x}".rjust(64 - len(magic), "0")))
        if name == "fcm":
            return Address(android=AndroidDevice(token=f"{magic}device-{number:08}".ljust(140, "x")))
        keys = browser.subscription(self.door.account("webpush")["vapid_public_key"], f"{magic}{number:08}")
        return Address(
            web=WebSubscription(
                endpoint=f"{self.door.sandbox.http2_url}{keys.endpoint_path}", p256dh=keys.p256dh, auth=keys.auth
            )
        )

    def _keep(self, provider: Provider) -> Provider:
        self.providers.append(provider)
        return provider


def destination(message: Message) -> str:
    """How the sandbox's ledger names the device."""
    address = message.address
    if address.WhichOneof("kind") == "web":
        return address.web.endpoint.rpartition("/")[2]
    return address.ios.token or address.android.token


async def send(provider: Provider, batch: Sequence[Message]) -> Reports:
    reports = Reports()
    await provider.send(batch, reports)
    assert len(reports.results) == len(batch)
    return reports


def assert_true(world: World, batch: Sequence[Message], reports: Reports) -> None:
    """What was reported accepted was taken once, what may be sent again was not taken; unknown may be either."""
    taken = world.taken(batch)
    wrong = {
        destination(message): (reports.results[message.delivery_id], taken[destination(message)])
        for message in batch
        if taken[destination(message)]
        not in {Outcome.ACCEPTED: {1}, Outcome.UNKNOWN: {0, 1}}.get(reports.results[message.delivery_id].outcome, {0})
    }
    assert not wrong, wrong
