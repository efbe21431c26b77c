"""Web Push: VAPID, encryption, subscriptions made offline."""

import json
import time
from email.utils import parsedate_to_datetime

import http_ece  # type: ignore[import-untyped]
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pyreqwest.client import Client
from pyreqwest.response import Response

from clarion_sandbox.browser import Subscription, subscription
from clarion_sandbox.credentials import vapid_key_pair
from clarion_sandbox.encoding import b64url_decode
from clarion_sandbox.server import Sandbox

PLAINTEXT = json.dumps({"title": "Hello", "body": "World"}).encode()


def vapid_public_key(sandbox: Sandbox) -> str:
    return vapid_key_pair(sandbox.credentials.vapid_private_key_pem)[0]


def vapid(sandbox: Sandbox, overrides: dict[str, object] | None = None, *, pem: str | None = None) -> str:
    pem = pem or sandbox.credentials.vapid_private_key_pem
    claims: dict[str, object] = {
        "aud": sandbox.base_url,
        "exp": time.time() + 3600,
        "sub": "mailto:ops@example.org",
    }
    return f"vapid t={jwt.encode(claims | (overrides or {}), pem, 'ES256')}, k={vapid_key_pair(pem)[0]}"


def encrypt(plaintext: bytes, to: Subscription) -> bytes:
    sealed = http_ece.encrypt(
        plaintext,
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=b64url_decode(to.p256dh),
        auth_secret=b64url_decode(to.auth),
        version="aes128gcm",
    )
    return bytes(sealed)


async def push(
    http: Client, to: Subscription, body: bytes, headers: dict[str, str], without: str | None = None
) -> Response:
    fields = {"ttl": "60", "content-encoding": "aes128gcm"} | headers
    fields.pop(without or "", None)
    return await http.post(to.endpoint_path).body_bytes(body).headers(fields).build().send()


async def test_encrypted_push_is_created_and_read_by_the_browser(sandbox: Sandbox, http: Client) -> None:
    to = subscription(vapid_public_key(sandbox), "phone-1")
    response = await push(http, to, encrypt(PLAINTEXT, to), {"authorization": vapid(sandbox), "topic": "news"})
    entry = json.loads(sandbox.ledger.read(0, 1))
    kept = sandbox.ledger.arrival(1)
    assert (response.status, response.headers["location"]) == (201, entry["message_id"])
    assert kept is not None
    assert (kept.content, kept.attributes) == (PLAINTEXT, {"subject": "mailto:ops@example.org"})


def test_subscription_follows_from_seed_and_key_alone(sandbox: Sandbox) -> None:
    key = vapid_public_key(sandbox)
    assert subscription(key, "a") == subscription(key, "a")
    assert subscription(key, "a") != subscription(key, "b")


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://push.example.org"},
        {"exp": time.time() + 90_000},
        {"exp": time.time() - 10},
        {"sub": "ops@example.org"},
        {"sub": "mailto:Ops <ops@example.org>"},
    ],
)
async def test_faulty_vapid_claims_are_a_bad_jwt(sandbox: Sandbox, http: Client, claims: dict[str, object]) -> None:
    to = subscription(vapid_public_key(sandbox), "phone-1")
    response = await push(http, to, encrypt(PLAINTEXT, to), {"authorization": vapid(sandbox, claims)})
    assert (response.status, await response.json()) == (403, {"reason": "BadJwtToken"})


async def test_missing_vapid_is_unauthorized(sandbox: Sandbox, http: Client) -> None:
    to = subscription(vapid_public_key(sandbox), "phone-1")
    assert (await push(http, to, encrypt(PLAINTEXT, to), {})).status == 401


async def test_subscription_is_bound_to_its_key_for_life(sandbox: Sandbox, http: Client) -> None:
    to = subscription(vapid_public_key(sandbox), "phone-1")
    other = ec.generate_private_key(ec.SECP256R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    response = await push(http, to, encrypt(PLAINTEXT, to), {"authorization": vapid(sandbox, pem=pem)})
    assert (response.status, await response.json()) == (403, {"reason": "VapidPkHashMismatch"})


@pytest.mark.parametrize(
    ("headers", "without", "status", "errno"),
    [
        ({}, "ttl", 400, 111),
        ({"ttl": "soon"}, None, 400, 111),
        ({"topic": "x" * 33}, None, 400, 113),
        ({"topic": "a/b"}, None, 400, 113),
        ({"content-encoding": "aesgcm"}, None, 400, 101),
        ({"urgency": "extreme"}, None, 400, None),
    ],
)
async def test_faulty_header_is_refused(
    sandbox: Sandbox, http: Client, headers: dict[str, str], without: str | None, status: int, errno: int | None
) -> None:
    to = subscription(vapid_public_key(sandbox), "phone-1")
    fields = {"authorization": vapid(sandbox)} | headers
    response = await push(http, to, encrypt(PLAINTEXT, to), fields, without)
    assert (response.status, (await response.json()).get("errno")) == (status, errno)


async def test_body_for_another_browser_is_refused(sandbox: Sandbox, http: Client) -> None:
    to, other = (subscription(vapid_public_key(sandbox), seed) for seed in ("phone-1", "phone-2"))
    response = await push(http, to, encrypt(PLAINTEXT, other), {"authorization": vapid(sandbox)})
    assert (response.status, (await response.json())["errno"]) == (400, 110)


@pytest.mark.parametrize(("plaintext", "status"), [(3993, 201), (3994, 413)])
async def test_body_may_have_4096_bytes(sandbox: Sandbox, http: Client, plaintext: int, status: int) -> None:
    to = subscription(vapid_public_key(sandbox), "phone-1")
    body = encrypt(b"x" * plaintext, to)
    assert (await push(http, to, body, {"authorization": vapid(sandbox)})).status == status


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("2020", 202),
        ("3010", 301),
        ("3070", 307),
        ("4000", 400),
        ("4010", 401),
        ("4031", 403),
        ("4040", 404),
        ("4100", 410),
        ("4130", 413),
        ("5000", 500),
        ("5020", 502),
    ],
)
async def test_magic_subscription_chooses_the_answer(sandbox: Sandbox, http: Client, code: str, status: int) -> None:
    to = subscription(vapid_public_key(sandbox), f"dead{code}00-phone")
    response = await push(http, to, encrypt(PLAINTEXT, to), {"authorization": vapid(sandbox)})
    assert response.status == status


async def test_retry_after_comes_as_seconds_as_date_or_not_at_all(sandbox: Sandbox, http: Client) -> None:
    found: list[str] = []
    for code in ("4290", "4291", "4292"):
        to = subscription(vapid_public_key(sandbox), f"dead{code}00-phone")
        response = await push(http, to, encrypt(PLAINTEXT, to), {"authorization": vapid(sandbox)})
        found.append(response.headers.get("retry-after") or "")
    assert found[:2] == ["2", ""]
    assert parsedate_to_datetime(found[2]).timestamp() > time.time()
