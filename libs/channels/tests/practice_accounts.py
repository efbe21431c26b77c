"""For each kind of provider: its account in the sandbox, the same with credentials that are refused, and whom it reaches."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from uuid import uuid4

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from clarion.internal.content.v1.rendered_pb2 import Rendered, RenderedMail
from clarion.types.v1.address_pb2 import (
    ANDROID_PUSH_SERVICE_HUAWEI,
    Address,
    AndroidDevice,
    ApnsDevice,
    MailAddress,
    PhoneNumber,
    WebSubscription,
)
from clarion.types.v1.content_pb2 import MailContent, PushContent, SmsContent
from clarion_kit.vocabulary import Channel
from clarion_sandbox.browser import subscription

from .sandbox_door import Practice

_numbers = count(1)

Document = dict[str, object]


@dataclass(frozen=True)
class Kind:
    """A kind of provider. `reach` gives an address that answers with a code of the sandbox's table, or takes the message
    ("": always). `refused` changes a document so that the provider refuses its credentials."""

    name: str
    channel: Channel
    document: Callable[[Practice], Document]
    refused: Callable[[Document], Document]
    reach: Callable[[Practice, str], Address]
    content: Callable[[], Rendered]

    def settings(self, door: Practice, **changes: object) -> bytes:
        """The account's credential document."""
        return json.dumps(self.document(door) | changes).encode()

    def refused_settings(self, door: Practice) -> bytes:
        return json.dumps(self.refused(self.document(door))).encode()


def magic_token(code: str, failures: int = 0) -> str:
    """A device token of 64 hexadecimal digits that no other test has."""
    start = f"dead{code}{failures:02}" if code else "600d"
    return start + f"{next(_numbers):08x}".rjust(64 - len(start), "0")


def magic_number(code: str, failures: int = 0) -> str:
    number = next(_numbers) % 100_000
    return f"+82{number:05}999{code}{failures}" if code else f"+8210{10_000_000 + number}"


def magic_mailbox(code: str) -> str:
    local = f"bounce+{code}+{next(_numbers)}" if code else f"reader{next(_numbers)}"
    return f"{local}@example.org"


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _apns(door: Practice) -> Document:
    account = door.account("apns")
    port = door.sandbox.ports.https
    return {
        "auth": {
            "kind": "token",
            "key_p8": account["private_key"],
            "key_id": account["key_id"],
            "team_id": account["team_id"],
        },
        "bundle_id": account["topics"][0],
        "production_host": "localhost",
        "production_port": port,
        "development_host": "localhost",
        "development_port": port,
        "ca_file": str(door.ca_file),
        "max_connections": 1,
        "timeout_seconds": 5,
    }


def _apns_refused(document: Document) -> Document:
    auth = document["auth"]
    assert isinstance(auth, dict)
    return document | {"auth": auth | {"key_p8": _pem(ec.generate_private_key(ec.SECP256R1()))}}


def _fcm(door: Practice) -> Document:
    account = door.account("fcm")
    return {
        "service_account": account["service_account"],
        "base_url": account["url"],
        "ca_file": str(door.ca_file),
        "connections": 1,
        "timeout_seconds": 5,
    }


def _fcm_refused(document: Document) -> Document:
    account = document["service_account"]
    assert isinstance(account, dict)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return document | {"service_account": account | {"private_key": _pem(key)}}


def _huawei(door: Practice) -> Document:
    account = door.account("huawei")
    return {
        "client_id": account["client_id"],
        "client_secret": account["client_secret"],
        "base_url": account["url"],
        "token_url": account["token_url"],
        "ca_file": str(door.ca_file),
        "connections": 1,
        "timeout_seconds": 5,
    }


def _webpush(door: Practice) -> Document:
    account = door.account("webpush")
    return {
        "vapid_private_key": account["vapid_private_key"],
        "vapid_subject": account["subject"],
        "allowed_hosts": [f"localhost:{door.sandbox.ports.https}"],
        "allow_private_addresses": True,
        "ca_file": str(door.ca_file),
        "connections": 1,
        "timeout_seconds": 5,
    }


def _browser(door: Practice, code: str) -> Address:
    account = door.account("webpush")
    seed = f"dead{code}00-{next(_numbers)}" if code else f"browser-{next(_numbers)}"
    found = subscription(account["vapid_public_key"], seed)
    return Address(
        web=WebSubscription(endpoint=account["url"] + found.endpoint_path, p256dh=found.p256dh, auth=found.auth)
    )


def _smpp(door: Practice) -> Document:
    account = door.account("smpp")
    return {
        "host": "localhost",
        "port": door.sandbox.ports.smpp,
        "system_id": account["system_id"],
        "password": account["password"],
        "source": "Clarion",
        "binds": 1,
        "timeout": 5,
        "reconnect_base": 0.01,
        "reconnect_cap": 0.1,
    }


def _twilio(door: Practice) -> Document:
    account = door.account("twilio")
    return {
        "account_sid": account["account_sid"],
        "auth_token": account["auth_token"],
        "sender": "Clarion",
        "base_url": account["url"],
        "ca_file": str(door.ca_file),
        "connections": 1,
        "timeout_seconds": 5,
    }


def _smtp(door: Practice) -> Document:
    account = door.account("smtp")
    return {
        "host": "localhost",
        "port": door.sandbox.ports.smtp,
        "username": account["username"],
        "password": account["password"],
        "from_address": "shop@example.com",
        "ca_file": str(door.ca_file),
        "pool_size": 2,
        "timeout": 5,
    }


def _ses(door: Practice) -> Document:
    account = door.account("ses")
    return {
        "region": account["region"],
        "access_key_id": account["access_key_id"],
        "secret_access_key": account["secret_access_key"],
        "from_address": "shop@example.com",
        "base_url": account["url"],
        "ca_file": str(door.ca_file),
        "connections": 1,
        "timeout_seconds": 5,
    }


def _sendgrid(door: Practice) -> Document:
    account = door.account("sendgrid")
    return {
        "api_key": account["api_key"],
        "from_address": "shop@example.com",
        "base_url": account["url"],
        "ca_file": str(door.ca_file),
        "connections": 1,
        "timeout_seconds": 5,
    }


def _changed(**wrong: object) -> Callable[[Document], Document]:
    return lambda document: document | wrong


def _push() -> Rendered:
    return Rendered(push=PushContent(title=f"Order {uuid4()}", body="is on its way"))


def _text() -> Rendered:
    return Rendered(sms=SmsContent(text="Your order is on its way"))


def _mail() -> Rendered:
    return Rendered(mail=RenderedMail(subject="Your order", literal=MailContent(text="is on its way")))


def _phone(door: Practice, code: str) -> Address:
    return Address(sms=PhoneNumber(e164=magic_number(code)))


def _mailbox(door: Practice, code: str) -> Address:
    return Address(email=MailAddress(address=magic_mailbox(code)))


def _huawei_device(door: Practice, code: str) -> Address:
    return Address(android=AndroidDevice(token=magic_token(code), service=ANDROID_PUSH_SERVICE_HUAWEI))


_another_vapid_key = _changed(vapid_private_key=_pem(ec.generate_private_key(ec.SECP256R1())))

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "apns",
            Channel.IOS,
            _apns,
            _apns_refused,
            lambda door, code: Address(ios=ApnsDevice(token=magic_token(code))),
            _push,
        ),
        Kind(
            "fcm",
            Channel.ANDROID,
            _fcm,
            _fcm_refused,
            lambda door, code: Address(android=AndroidDevice(token=magic_token(code))),
            _push,
        ),
        Kind("huawei", Channel.ANDROID, _huawei, _changed(client_secret="wrong"), _huawei_device, _push),
        Kind("webpush", Channel.WEB, _webpush, _another_vapid_key, _browser, _push),
        Kind("smpp", Channel.SMS, _smpp, _changed(password="wrong"), _phone, _text),
        Kind("twilio", Channel.SMS, _twilio, _changed(auth_token="wrong"), _phone, _text),
        Kind("smtp", Channel.EMAIL, _smtp, _changed(password="wrong"), _mailbox, _mail),
        Kind("ses", Channel.EMAIL, _ses, _changed(secret_access_key="wrong"), _mailbox, _mail),
        Kind("sendgrid", Channel.EMAIL, _sendgrid, _changed(api_key="SG.wrong"), _mailbox, _mail),
    )
}
