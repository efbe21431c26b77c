"""Web Push against a real TLS HTTP/2 peer that plays the push service and the browser."""

import asyncio
import json
import socket
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import ValidationError

from clarion.types.v1.address_pb2 import Address, WebSubscription
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message
from clarion_channels.providers.es256 import b64url
from clarion_channels.providers.webpush import Factory, WebPushProvider
from clarion_channels.providers.webpush.encryption import public_bytes

from .h2_peer import Peer, PeerStream, TestCa, make_ca, pem_of, serve
from .push_messages import Reports, push_message

VAPID_KEY = ec.generate_private_key(ec.SECP256R1())
FORMER_VAPID_KEY = ec.generate_private_key(ec.SECP256R1())
BROWSER_KEY = ec.generate_private_key(ec.SECP256R1())
AUTH_SECRET = b"sixteen bytes ok"

Connect = Callable[..., Awaitable[WebPushProvider]]


class NoReceipts:
    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError("Web Push has no receipts")


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    folder: Path = tmp_path_factory.mktemp("ca")
    return make_ca(folder)


@pytest.fixture
async def connect(ca: TestCa) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def start(*peers: Peer, **changes: object) -> WebPushProvider:
            for peer in peers:
                await stack.enter_async_context(serve(peer, ca.server_context()))
            document = {
                "vapid_private_key": pem_of(VAPID_KEY),
                "vapid_subject": "mailto:ops@example.com",
                "allowed_hosts": [f"localhost:{peer.port}" for peer in peers],
                "allow_private_addresses": True,
                "ca_file": str(ca.ca_file),
                "timeout_seconds": 5,
                **changes,
            }
            provider = await Factory.connect(json.dumps(document).encode(), NoReceipts())
            stack.push_async_callback(provider.close)
            return provider

        yield start


def accept(stream: PeerStream) -> None:
    stream.respond(201, headers={"location": f"https://localhost/m/{stream.stream_id}"})


def messages(peer: Peer, count: int, push: PushContent | None = None) -> list[Message]:
    subscription = WebSubscription(
        endpoint=f"https://localhost:{peer.port}/push/registration",
        p256dh=b64url(public_bytes(BROWSER_KEY)),
        auth=b64url(AUTH_SECRET),
    )
    return [push_message(Address(web=subscription), push, collapse_key="order-7") for _ in range(count)]


async def send(provider: WebPushProvider, batch: list[Message]) -> Reports:
    reports = Reports()
    await provider.send(batch, reports)
    assert len(reports.results) == len(batch)
    return reports


def decrypt(body: bytes) -> bytes:
    """The browser's side of RFC 8291, written with other tools than the sender's."""
    salt, sender_bytes, record = body[:16], body[21:86], body[86:]
    sender = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender_bytes)
    info = b"WebPush: info\0" + public_bytes(BROWSER_KEY) + sender_bytes
    shared = HKDF(hashes.SHA256(), 32, AUTH_SECRET, info).derive(BROWSER_KEY.exchange(ec.ECDH(), sender))
    key = HKDF(hashes.SHA256(), 16, salt, b"Content-Encoding: aes128gcm\0").derive(shared)
    nonce = HKDF(hashes.SHA256(), 12, salt, b"Content-Encoding: nonce\0").derive(shared)
    plaintext = AESGCM(key).decrypt(nonce, record, None)
    assert plaintext[-1:] == b"\x02"
    return plaintext[:-1]


async def test_browser_reads_what_was_sent_and_the_service_can_check_who_sent_it(connect: Connect) -> None:
    peer = Peer(on_request=accept)
    provider = await connect(peer)
    result = (await send(provider, messages(peer, 1))).only()
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "1")
    (request,) = peer.requests
    assert json.loads(decrypt(request.body))["title"] == "Order 7"
    assert request.headers[":path"] == "/push/registration"
    assert request.headers["content-encoding"] == "aes128gcm"
    assert request.headers["urgency"] == "normal"
    assert request.headers["topic"] == "order-7"
    assert 3500 < int(request.headers["ttl"]) <= 3600
    token, _, public_key = request.headers["authorization"].removeprefix("vapid t=").partition(", k=")
    assert urlsafe_b64decode(public_key + "=") == public_bytes(VAPID_KEY)
    claims = jwt.decode(token, VAPID_KEY.public_key(), algorithms=["ES256"], audience=f"https://localhost:{peer.port}")
    assert claims["sub"] == "mailto:ops@example.com"


async def test_subscriptions_of_one_service_share_connections_and_one_vapid_token(connect: Connect) -> None:
    peer = Peer(on_request=accept)
    provider = await connect(peer, connections=2)
    assert (await send(provider, messages(peer, 100))).counts() == {Outcome.ACCEPTED: 100}
    assert len(peer.connections) <= 2
    assert len({stream.headers["authorization"] for stream in peer.requests}) == 1


def accept_former_key(stream: PeerStream) -> None:
    """The service of a browser that subscribed with the former key."""
    if stream.headers["authorization"].endswith(f"k={b64url(public_bytes(FORMER_VAPID_KEY))}"):
        accept(stream)
    else:
        stream.respond(403)


def bound_to(message: Message, key: ec.EllipticCurvePrivateKey) -> Message:
    message.address.web.application_server_key = b64url(public_bytes(key))
    return message


async def test_subscription_of_a_former_key_is_reached_with_it(connect: Connect) -> None:
    peer = Peer(on_request=accept_former_key)
    provider = await connect(peer, former_vapid_private_keys=[pem_of(FORMER_VAPID_KEY)])
    [told] = messages(peer, 1)
    assert (await send(provider, [bound_to(told, FORMER_VAPID_KEY)])).only().outcome is Outcome.ACCEPTED
    assert len(peer.requests) == 1
    # One that does not say its key is tried with the current one first.
    assert (await send(provider, messages(peer, 1))).only().outcome is Outcome.ACCEPTED
    assert len(peer.requests) == 3


async def test_subscription_is_sent_to_with_no_key_but_its_own(connect: Connect) -> None:
    peer = Peer(on_request=accept_former_key)
    provider = await connect(peer, former_vapid_private_keys=[pem_of(FORMER_VAPID_KEY)])
    current, foreign = messages(peer, 2)
    refused = (await send(provider, [bound_to(current, VAPID_KEY)])).only()
    unknown = (await send(provider, [bound_to(foreign, BROWSER_KEY)])).only()
    assert (refused.outcome, unknown.outcome, unknown.code) == (Outcome.CRED, Outcome.BAD, "local:vapid_key")
    assert len(peer.requests) == 1


async def test_number_of_services_with_open_connections_is_bounded(connect: Connect) -> None:
    first, second = Peer(on_request=accept), Peer(on_request=accept)
    provider = await connect(first, second, max_origins=1, connections=1)
    for peer in (first, second, first):
        assert (await send(provider, messages(peer, 3))).counts() == {Outcome.ACCEPTED: 3}
    both = [*messages(first, 5), *messages(second, 5)]
    assert (await send(provider, both)).counts() == {Outcome.ACCEPTED: 10}


async def test_endpoint_that_is_not_allowed_is_never_called(connect: Connect) -> None:
    peer, other = Peer(on_request=accept), Peer(on_request=accept)
    provider = await connect(peer, other, allowed_hosts=["fcm.googleapis.com"])
    result = (await send(provider, messages(other, 1))).only()
    assert (result.outcome, result.code) == (Outcome.BAD, "local:endpoint")
    assert other.connections == []


async def test_allowed_host_that_leads_to_a_private_address_is_never_called(connect: Connect) -> None:
    peer = Peer(on_request=accept)
    provider = await connect(peer, allow_private_addresses=False)
    result = (await send(provider, messages(peer, 3))).counts()
    assert result == {Outcome.BAD: 3}
    assert not peer.connected.is_set()


async def test_address_that_was_checked_is_the_one_that_is_called(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer(on_request=accept)
    provider = await connect(peer, allowed_hosts=["*.push.example:1"], ca_file=None)
    asked: list[str] = []

    async def rebind(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebind)
    (message,) = messages(peer, 1)
    message.address.web.endpoint = "https://a.push.example:1/x"
    result = (await send(provider, [message])).only()
    assert (result.outcome, result.code) == (Outcome.RETRY, "local:connect"), "refused by 127.0.0.1, not by a resolver"
    assert asked == ["a.push.example"]


async def test_host_without_an_address_is_retry(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = await connect(allowed_hosts=["*.push.example"])

    async def unknown(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        raise socket.gaierror("no such host")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    batch = messages(Peer(), 3)
    for message in batch:
        message.address.web.endpoint = "https://gone.push.example/x"
    reports = await send(provider, batch)
    assert reports.counts() == {Outcome.RETRY: 3}
    assert {result.code for result in reports.results.values()} == {"local:resolve"}


async def test_unsubscribed_browser_is_dead_and_the_detail_hides_its_endpoint(connect: Connect) -> None:
    peer = Peer()
    peer.on_request = lambda stream: stream.respond(
        410, f"gone: https://localhost:{peer.port}/push/registration".encode()
    )
    provider = await connect(peer)
    result = (await send(provider, messages(peer, 1))).only()
    assert (result.outcome, result.code, result.detail) == (Outcome.DEAD, "410", "gone: [removed]")


async def test_answer_that_never_comes_is_unknown(connect: Connect) -> None:
    peer = Peer(on_request=accept)
    provider = await connect(peer, timeout_seconds=0.4)
    await send(provider, messages(peer, 1))
    peer.on_request = lambda stream: None
    assert (await send(provider, messages(peer, 3))).counts() == {Outcome.UNKNOWN: 3}


async def test_plaintext_of_3993_bytes_is_sent_and_one_more_is_refused(connect: Connect) -> None:
    peer = Peer(on_request=accept)
    provider = await connect(peer)
    (probe,) = messages(peer, 1, PushContent(body=""))
    await send(provider, [probe])
    # A body brings its own member: "body":"",
    room = 3993 - len(decrypt(peer.requests[0].body)) - len('"body":"",')
    reports = await send(provider, messages(peer, 1, PushContent(body="x" * room)))
    assert reports.only().outcome is Outcome.ACCEPTED
    assert len(peer.requests[1].body) == 4096
    result = (await send(provider, messages(peer, 1, PushContent(body="x" * (room + 1))))).only()
    assert (result.outcome, result.code) == (Outcome.BAD, "local:payload_too_large")


async def test_subscription_with_broken_keys_is_refused(connect: Connect) -> None:
    peer = Peer(on_request=accept)
    provider = await connect(peer)
    (message,) = messages(peer, 1)
    message.address.web.p256dh = "AAAA"
    assert (await send(provider, [message])).only().code == "local:keys"


@pytest.mark.parametrize(
    "change",
    [
        {"vapid_private_key": "secret-canary"},
        {"former_vapid_private_keys": ["secret-canary"]},
        {"vapid_subject": "ops@example.com"},
        {"vapid_subject": "mailto:Ops <ops@example.com>"},
        {"allowed_hosts": ["*"]},
        {"allowed_hosts": ["a.*.example"]},
        {"allowed_hosts": ["example.com:https"]},
        {"colour": "red"},
    ],
)
async def test_faulty_settings_are_named_without_the_secret(connect: Connect, change: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        await connect(**change)
    assert "secret-canary" not in str(caught.value)
