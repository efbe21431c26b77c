"""FCM and its token server against a real TLS HTTP/2 peer that plays both."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from clarion.types.v1.address_pb2 import Address, AndroidDevice
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message, ProviderUnavailable
from clarion_channels.providers.fcm import Factory, FcmProvider
from clarion_channels.providers.fcm.settings import FcmSettings
from clarion_channels.providers.fcm.token import AccessToken, TokenTransport, TokenUnavailable

from .h2_peer import Peer, PeerStream, TestCa, make_ca, serve
from .push_messages import Reports, push_message

Connect = Callable[..., Awaitable[FcmProvider]]


class Google:
    """Google's token server and FCM behind one peer."""

    def __init__(self) -> None:
        self.peer = Peer(on_request=self.serve)
        self.tokens: list[str] = []
        self.expires_in = 3600
        self.refuses_key = False
        self.answers = 0
        self.answer: Callable[[PeerStream], None] = self.accept

    def serve(self, stream: PeerStream) -> None:
        if stream.headers[":path"] != "/token":
            self.answer(stream)
        elif self.refuses_key:
            stream.respond(400, b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}')
        else:
            self.tokens.append(f"access-token-{len(self.tokens)}")
            body = {"access_token": self.tokens[-1], "expires_in": self.expires_in, "token_type": "Bearer"}
            stream.respond(200, json.dumps(body).encode())

    def accept(self, stream: PeerStream) -> None:
        if stream.headers["authorization"] != f"Bearer {self.tokens[-1]}":
            stream.respond(401, b'{"error": {"status": "UNAUTHENTICATED"}}')
            return
        self.answers += 1
        stream.respond(200, json.dumps({"name": f"projects/demo/messages/{self.answers}"}).encode())

    @property
    def sends(self) -> list[PeerStream]:
        return [stream for stream in self.peer.requests if stream.headers[":path"] != "/token"]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> TestCa:
    folder: Path = tmp_path_factory.mktemp("ca")
    return make_ca(folder)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def settings_of(key: rsa.RSAPrivateKey, ca: TestCa, port: int, **changes: object) -> dict[str, object]:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return {
        "service_account": {
            "type": "service_account",
            "project_id": "demo",
            "private_key_id": "key-1",
            "private_key": pem,
            "client_email": "push@demo.iam.gserviceaccount.com",
            "token_uri": f"https://localhost:{port}/token",
        },
        "base_url": f"https://localhost:{port}",
        "ca_file": str(ca.ca_file),
        "connections": 1,
        "timeout_seconds": 5,
        **changes,
    }


class NoReceipts:
    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError("FCM has no receipts")


@pytest.fixture
async def connect(ca: TestCa, key: rsa.RSAPrivateKey) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def start(google: Google, **changes: object) -> FcmProvider:
            await stack.enter_async_context(serve(google.peer, ca.server_context()))
            document = settings_of(key, ca, google.peer.port, **changes)
            provider = await Factory.connect(json.dumps(document).encode(), NoReceipts())
            stack.push_async_callback(provider.close)
            return provider

        yield start


def _seconds(count: int) -> timedelta:
    return timedelta(seconds=count)


def messages(count: int) -> list[Message]:
    return [push_message(Address(android=AndroidDevice(token=f"registration-{number}"))) for number in range(count)]


async def send(provider: FcmProvider, count: int) -> Reports:
    reports = Reports()
    await provider.send(messages(count), reports)
    assert len(reports.results) == count
    return reports


async def test_messages_are_sent_with_one_access_token(connect: Connect, key: rsa.RSAPrivateKey) -> None:
    google = Google()
    provider = await connect(google)
    reports = await send(provider, 50)
    assert reports.counts() == {Outcome.ACCEPTED: 50}
    assert {result.provider_message_id for result in reports.results.values()} == {
        f"projects/demo/messages/{number}" for number in range(1, 51)
    }
    assert len(google.tokens) == 1
    assert {stream.headers[":path"] for stream in google.sends} == {"/v1/projects/demo/messages:send"}
    grant = parse_qs(google.peer.requests[0].body.decode())
    assert grant["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    claims = jwt.decode(
        grant["assertion"][0], key.public_key(), algorithms=["RS256"], audience="https://oauth2.googleapis.com/token"
    )
    assert claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"


async def test_refused_access_token_is_replaced_once_for_all(connect: Connect) -> None:
    google = Google()
    provider = await connect(google)
    await send(provider, 1)
    google.tokens.append("revoked-the-first")
    reports = await send(provider, 20)
    assert reports.counts() == {Outcome.ACCEPTED: 20}
    assert len(google.tokens) == 3


async def test_access_token_that_stays_refused_stops_the_lane(connect: Connect) -> None:
    google = Google()
    google.answer = lambda stream: stream.respond(401, b'{"error": {"status": "UNAUTHENTICATED"}}')
    provider = await connect(google)
    result = (await send(provider, 1)).only()
    assert (result.outcome, result.code) == (Outcome.CRED, "401:UNAUTHENTICATED")
    assert len(google.sends) == 2
    assert (await send(provider, 5)).counts() == {Outcome.CRED: 5}
    assert len(google.tokens) == 2, "no token is fetched per refused message"


async def test_key_that_google_refuses_stops_the_lane_and_is_not_tried_per_message(connect: Connect) -> None:
    google = Google()
    google.refuses_key = True
    provider = await connect(google)
    reports = await send(provider, 20)
    assert reports.counts() == {Outcome.CRED: 20}
    assert "invalid_grant" in next(iter(reports.results.values())).detail
    assert (await send(provider, 5)).counts() == {Outcome.CRED: 5}
    assert len(google.peer.requests) == 1


async def test_token_server_that_is_away_is_retry(connect: Connect, key: rsa.RSAPrivateKey) -> None:
    google = Google()
    provider = await connect(google, timeout_seconds=0.5)
    google.peer.on_request = lambda stream: None
    result = (await send(provider, 1)).only()
    assert (result.outcome, result.code) == (Outcome.RETRY, "local:token_unavailable")


async def test_answer_that_never_comes_is_unknown(connect: Connect) -> None:
    google = Google()
    provider = await connect(google, timeout_seconds=0.5)
    await send(provider, 1)
    google.answer = lambda stream: None
    assert (await send(provider, 3)).counts() == {Outcome.UNKNOWN: 3}


async def test_invalid_message_is_reported_and_the_others_are_sent(connect: Connect) -> None:
    google = Google()
    provider = await connect(google)
    reports = Reports()
    await provider.send([*messages(1), push_message(Address())], reports)
    assert reports.counts() == {Outcome.ACCEPTED: 1, Outcome.BAD: 1}


async def test_probe_validates_without_sending(connect: Connect) -> None:
    google = Google()
    google.answer = lambda stream: stream.respond(400, b'{"error": {"status": "INVALID_ARGUMENT"}}')
    provider = await connect(google)
    await provider.probe()
    assert json.loads(google.sends[0].body)["validate_only"] is True


async def test_probe_names_what_is_wrong(connect: Connect) -> None:
    google = Google()
    google.answer = lambda stream: stream.respond(403, b'{"error": {"status": "PERMISSION_DENIED"}}')
    provider = await connect(google)
    with pytest.raises(ProviderUnavailable, match="403:PERMISSION_DENIED"):
        await provider.probe()


@pytest.mark.parametrize(
    "change",
    [
        {"service_account": {"project_id": "demo", "client_email": "a@b", "private_key": "secret-canary"}},
        {"base_url": "http://fcm.example.com"},
        {"base_url": "https://fcm.example.com/path"},
        {"colour": "red"},
    ],
    ids=["key", "plain http", "base URL with a path", "unknown setting"],
)
async def test_faulty_settings_are_named_without_the_secret(
    ca: TestCa, key: rsa.RSAPrivateKey, change: dict[str, object]
) -> None:
    document = json.dumps(settings_of(key, ca, 443, **change)).encode()
    with pytest.raises(ValidationError) as caught:
        await Factory.connect(document, NoReceipts())
    assert "secret-canary" not in str(caught.value)


async def test_token_is_refreshed_ahead_of_time_beside_the_sending(ca: TestCa, key: rsa.RSAPrivateKey) -> None:
    google = Google()
    async with serve(google.peer, ca.server_context()):
        settings = FcmSettings.model_validate(settings_of(key, ca, google.peer.port))
        now = [0.0]
        transport = TokenTransport(ca.ca_file, _seconds(2))
        token = AccessToken(settings.credentials(), transport, _seconds(2), lambda: now[0])
        first = await token.header()
        now[0] = 2900.0
        assert await token.header() == first
        now[0] = 3100.0
        assert await token.header() == first, "the old one still serves while the new one is fetched"
        await google.peer.wait_for_requests(2)
        await token.close()
        assert await token.header() == "Bearer access-token-1"


async def test_failed_refresh_is_not_repeated_at_once_and_the_old_token_serves_on(
    ca: TestCa, key: rsa.RSAPrivateKey
) -> None:
    google = Google()
    async with serve(google.peer, ca.server_context()):
        settings = FcmSettings.model_validate(settings_of(key, ca, google.peer.port))
        now = [0.0]
        token = AccessToken(
            settings.credentials(), TokenTransport(ca.ca_file, _seconds(2)), _seconds(2), lambda: now[0]
        )
        first = await token.header()
        google.refuses_key = True
        now[0] = 3100.0
        for _ in range(3):
            assert await token.header() == first
            await asyncio.sleep(0)
        await google.peer.wait_for_requests(2)
        await token.close()
        assert len(google.peer.requests) == 2


async def test_token_that_is_about_to_expire_is_not_used(ca: TestCa, key: rsa.RSAPrivateKey) -> None:
    google = Google()
    google.expires_in = 30
    async with serve(google.peer, ca.server_context()):
        settings = FcmSettings.model_validate(settings_of(key, ca, google.peer.port))
        token = AccessToken(settings.credentials(), TokenTransport(ca.ca_file, _seconds(2)), _seconds(2))
        with pytest.raises(TokenUnavailable):
            await token.header()
        await token.close()
