"""APNs over HTTP/2: what it checks, what it answers."""

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import jwt
import pytest
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import ConnectError
from pyreqwest.response import Response

from clarion_sandbox import answers
from clarion_sandbox.server import Sandbox
from clarion_sandbox.settings import Settings

DEVICE = "a1" * 32
PAYLOAD = json.dumps({"aps": {"alert": {"title": "Hello", "body": "World"}}}).encode()


def provider_token(sandbox: Sandbox, *, age_seconds: float = 0, wrong: Mapping[str, str] | None = None) -> str:
    credentials = sandbox.credentials
    claims = {"iss": (wrong or {}).get("iss", credentials.apns_team_id), "iat": time.time() - age_seconds}
    headers = {"kid": (wrong or {}).get("kid", credentials.apns_key_id)}
    return jwt.encode(claims, credentials.apns_private_key_pem, "ES256", headers)


async def push(
    http: Client,
    token: str | None,
    *,
    device: str = DEVICE,
    payload: bytes = PAYLOAD,
    headers: Mapping[str, str | None] | None = None,
) -> Response:
    fields: dict[str, str | None] = {
        "authorization": None if token is None else f"bearer {token}",
        "apns-topic": "com.example.clarion",
        "apns-push-type": "alert",
    }
    fields |= headers or {}
    request = http.post(f"/3/device/{device}").body_bytes(payload)
    return await request.headers({k: v for k, v in fields.items() if v is not None}).build().send()


async def test_good_push_is_accepted_over_http2_and_echoes_its_id(sandbox: Sandbox, http: Client) -> None:
    apns_id = str(uuid.uuid4())
    response = await push(http, provider_token(sandbox), headers={"apns-id": apns_id, "apns-collapse-id": "score"})
    assert (response.status, response.version, await response.text()) == (200, "HTTP/2.0", "")
    assert response.headers["apns-id"] == apns_id
    entry = json.loads(sandbox.ledger.read(0, 10))
    assert (entry["destination"], entry["our_id"], entry["message_id"]) == (DEVICE, apns_id, apns_id)
    assert (entry["accepted"], entry["attempt"], entry["provider"]) == (True, 1, "apns")
    kept = sandbox.ledger.arrival(1)
    assert kept is not None
    assert (kept.destination, kept.attributes) == (DEVICE, {"topic": "com.example.clarion", "collapse_id": "score"})


async def test_push_without_id_gets_one(sandbox: Sandbox, http: Client) -> None:
    response = await push(http, provider_token(sandbox))
    given = response.headers["apns-id"]
    assert str(uuid.UUID(given)) == given


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ({"authorization": None}, 403, "MissingProviderToken"),
        ({"authorization": "bearer a.b.c"}, 403, "InvalidProviderToken"),
        ({"apns-topic": None}, 400, "MissingTopic"),
        ({"apns-topic": "com.other.app"}, 400, "TopicDisallowed"),
        ({"apns-push-type": "voip"}, 400, "BadTopic"),
        ({"apns-push-type": "shout"}, 400, "InvalidPushType"),
        ({"apns-push-type": "background"}, 400, "BadPriority"),
        ({"apns-priority": "7"}, 400, "BadPriority"),
        ({"apns-id": "42"}, 400, "BadMessageId"),
        ({"apns-expiration": "tomorrow"}, 400, "BadExpirationDate"),
        ({"apns-collapse-id": "x" * 65}, 400, "BadCollapseId"),
    ],
)
async def test_faulty_header_is_refused(
    sandbox: Sandbox, http: Client, headers: dict[str, str | None], status: int, reason: str
) -> None:
    response = await push(http, provider_token(sandbox), headers=headers)
    assert (response.status, await response.json()) == (status, {"reason": reason})


@pytest.mark.parametrize(
    ("headers", "payload", "status"),
    [
        ({"apns-push-type": "voip", "apns-topic": "com.example.clarion.voip"}, 5120, 200),
        ({"apns-push-type": "voip", "apns-topic": "com.example.clarion.voip"}, 5121, 413),
        ({}, 4096, 200),
        ({}, 4097, 413),
        ({"apns-push-type": "background", "apns-priority": "5"}, 100, 200),
    ],
)
async def test_payload_limit_depends_on_push_type(
    sandbox: Sandbox, http: Client, headers: dict[str, str | None], payload: int, status: int
) -> None:
    frame = b'{"aps":{"alert":"%s"}}'
    body = frame % (b"x" * (payload - len(frame) + 2))
    response = await push(http, provider_token(sandbox), payload=body, headers=headers)
    assert (len(body), response.status) == (payload, status)


@pytest.mark.parametrize("payload", [b"", b"not json", b"[]", b'{"alert":"x"}'])
async def test_payload_that_is_no_notification_is_refused(sandbox: Sandbox, http: Client, payload: bytes) -> None:
    response = await push(http, provider_token(sandbox), payload=payload)
    assert (response.status, await response.json()) == (400, {"reason": "PayloadEmpty"})


@pytest.mark.parametrize("device", ["xyz", "a1", "A" * 63])
async def test_token_that_is_not_hex_is_bad(sandbox: Sandbox, http: Client, device: str) -> None:
    response = await push(http, provider_token(sandbox), device=device)
    assert (response.status, await response.json()) == (400, {"reason": "BadDeviceToken"})


async def test_provider_token_expires_after_an_hour(sandbox: Sandbox, http: Client) -> None:
    fresh, stale = provider_token(sandbox, age_seconds=3500), provider_token(sandbox, age_seconds=3700)
    assert (await push(http, fresh)).status == 200
    assert await (await push(http, stale)).json() == {"reason": "ExpiredProviderToken"}


@pytest.mark.parametrize("wrong", [{"iss": "OTHERTEAM0"}, {"kid": "OTHERKEY00"}])
async def test_token_of_another_team_or_key_is_invalid(sandbox: Sandbox, http: Client, wrong: dict[str, str]) -> None:
    response = await push(http, provider_token(sandbox, wrong=wrong))
    assert await response.json() == {"reason": "InvalidProviderToken"}


async def test_hmac_token_signed_with_the_public_key_is_invalid(sandbox: Sandbox, http: Client) -> None:
    claims = {"iss": sandbox.credentials.apns_team_id, "iat": time.time()}
    forged = jwt.encode(claims, "k" * 32, "HS256", {"kid": sandbox.credentials.apns_key_id})
    assert await (await push(http, forged)).json() == {"reason": "InvalidProviderToken"}


# Typed from Apple's documentation, not read from the sandbox's own table.
APPLE = {
    400: "BadDeviceToken BadCollapseId BadExpirationDate BadMessageId BadPriority BadTopic DeviceTokenNotForTopic "
    "DuplicateHeaders IdleTimeout InvalidPushType MissingDeviceToken MissingTopic PayloadEmpty TopicDisallowed",
    403: "InvalidProviderToken ExpiredProviderToken MissingProviderToken UnrelatedKeyIdInToken "
    "BadEnvironmentKeyIdInToken BadCertificate BadCertificateEnvironment Forbidden",
    404: "BadPath",
    405: "MethodNotAllowed",
    410: "Unregistered ExpiredToken",
    413: "PayloadTooLarge",
    429: "TooManyRequests TooManyProviderTokenUpdates",
    500: "InternalServerError",
    503: "ServiceUnavailable Shutdown",
}


async def test_every_documented_answer_has_a_magic_token(sandbox: Sandbox, http: Client) -> None:
    token = provider_token(sandbox)
    for status, reasons in APPLE.items():
        for row, reason in enumerate(reasons.split()):
            response = await push(http, token, device=f"dead{status}{row:x}00".ljust(64, "0"))
            document = await response.json()
            assert (response.status, document["reason"]) == (status, reason)
            assert ("timestamp" in document) == (status == 410)


async def test_old_timestamp_row_lets_a_newer_registration_win(sandbox: Sandbox, http: Client) -> None:
    response = await push(http, provider_token(sandbox), device="dead410200".ljust(64, "0"))
    assert await response.json() == {"reason": "Unregistered", "timestamp": 1_000_000_000_000}


async def test_flaky_token_fails_n_times_then_works(sandbox: Sandbox, http: Client) -> None:
    token, device = provider_token(sandbox), "dead503002".ljust(64, "0")
    assert [(await push(http, token, device=device)).status for _ in range(4)] == [503, 503, 200, 200]


async def test_cut_token_cuts_the_connection_unrecorded(sandbox: Sandbox, http: Client) -> None:
    with pytest.raises(ConnectError):
        await push(http, provider_token(sandbox), device="dead000100".ljust(64, "0"))
    assert json.loads(sandbox.ledger.read(0, 1))["accepted"] is False


async def test_lost_answer_is_accepted_once_although_the_client_sees_nothing(sandbox: Sandbox, http: Client) -> None:
    token, device = provider_token(sandbox), "dead000301".ljust(64, "0")
    with pytest.raises(ConnectError):
        await push(http, token, device=device)
    assert (await push(http, token, device=device)).status == 200
    entries = [json.loads(line) for line in sandbox.ledger.read(0, 10).splitlines()]
    assert [(entry["accepted"], entry["answer"], entry["attempt"]) for entry in entries] == [
        (True, "lostcut", 1),
        (True, "200", 2),
    ]


async def test_sandbox_stops_while_a_request_hangs(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    async with AsyncExitStack() as client_side:
        settings = Settings(dir=tmp_path, tls_cert=certificate[0], tls_key=certificate[1])
        async with Sandbox.start(settings) as sandbox:
            builder = ClientBuilder().http2(True).add_root_certificate_pem(certificate[0].read_bytes())
            http = await client_side.enter_async_context(builder.base_url(sandbox.base_url).build())
            hanging = asyncio.create_task(push(http, provider_token(sandbox), device="dead000000".ljust(64, "0")))
            async with asyncio.timeout(5):
                while not sandbox.ledger.read(0, 1):  # noqa: ASYNC110  # the ledger is a file, it has no event
                    await asyncio.sleep(0)
        with pytest.raises(ConnectError):
            await asyncio.wait_for(hanging, 5)


def test_table_has_no_row_twice() -> None:
    labels = [row.label for row in answers.load("apns") if row.number("timestamp_ms") is None]
    assert len(labels) == len(set(labels))
