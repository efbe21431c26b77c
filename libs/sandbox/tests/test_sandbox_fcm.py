"""FCM HTTP v1 and Google's token server."""

import json
import time

import jwt
import pytest
from google.oauth2 import service_account
from pyreqwest.client import Client
from pyreqwest.response import Response

from clarion_sandbox.server import Sandbox
from clarion_sandbox.web.google_token import AccessTokens

DEVICE = "fIfYqSMyQ0:APA91bH" + "x" * 120
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


def assertion(sandbox: Sandbox, **overrides: object) -> str:
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": sandbox.credentials.fcm_client_email,
        "aud": "https://oauth2.googleapis.com/token",
        "scope": SCOPE,
        "iat": now,
        "exp": now + 3600,
    }
    headers = {"kid": sandbox.credentials.fcm_private_key_id}
    return jwt.encode(claims | overrides, sandbox.credentials.fcm_private_key_pem, "RS256", headers)


async def ask_token(http: Client, signed: str) -> Response:
    return await http.post("/token").form({"grant_type": GRANT, "assertion": signed}).build().send()


async def access_token(sandbox: Sandbox, http: Client) -> str:
    document = await (await ask_token(http, assertion(sandbox))).json()
    return str(document["access_token"])


async def send(http: Client, token: str, document: object, project: str = "clarion-sandbox") -> Response:
    request = http.post(f"/v1/projects/{project}/messages:send").bearer_auth(token)
    return await request.body_json(document).build().send()


def to_device(**message: object) -> dict[str, object]:
    return {"message": {"token": DEVICE, "notification": {"title": "Hello", "body": "World"}} | message}


async def test_good_message_gets_a_name_and_is_recorded(sandbox: Sandbox, http: Client) -> None:
    label = {"fcm_options": {"analytics_label": "delivery-7"}, "priority": "HIGH", "ttl": "60s"}
    response = await send(http, await access_token(sandbox, http), to_device(android=label, data={"k": "v"}))
    name = (await response.json())["name"]
    assert response.status == 200
    assert name.startswith("projects/clarion-sandbox/messages/0:")
    entry = json.loads(sandbox.ledger.read(0, 10))
    assert (entry["message_id"], entry["destination"], entry["our_id"]) == (name, DEVICE, "delivery-7")


async def test_assertion_of_google_auth_is_understood(sandbox: Sandbox, http: Client) -> None:
    fcm = sandbox.description()["fcm"]
    assert isinstance(fcm, dict)
    credentials = service_account.Credentials.from_service_account_info(fcm["service_account"], scopes=[SCOPE])  # type: ignore[no-untyped-call]
    signed = credentials._make_authorization_grant_assertion().decode()
    assert (await (await ask_token(http, signed)).json())["token_type"] == "Bearer"


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"aud": "https://127.0.0.1/token"}, "invalid_grant"),
        ({"iss": "somebody@else.invalid"}, "invalid_grant"),
        ({"exp": int(time.time()) + 9000}, "invalid_grant"),
        ({"iat": int(time.time()) - 9000, "exp": int(time.time()) - 5400}, "invalid_grant"),
        ({"scope": "https://www.googleapis.com/auth/drive"}, "invalid_scope"),
    ],
)
async def test_faulty_assertion_gets_no_token(
    sandbox: Sandbox, http: Client, overrides: dict[str, object], error: str
) -> None:
    response = await ask_token(http, assertion(sandbox, **overrides))
    assert (response.status, (await response.json())["error"]) == (400, error)


def test_access_token_expires() -> None:
    now = 1000.0
    tokens = AccessTokens(60, clock=lambda: now)
    token = tokens.issue()
    now = 1059.0
    assert tokens.valid(token)
    now = 1060.0
    assert not tokens.valid(token)


async def test_unknown_access_token_is_unauthenticated(http: Client) -> None:
    response = await send(http, "ya29.unknown", to_device())
    error = (await response.json())["error"]
    assert (response.status, error["status"], "details" in error) == (401, "UNAUTHENTICATED", False)


async def test_another_project_is_not_found_without_fcm_error(sandbox: Sandbox, http: Client) -> None:
    response = await send(http, await access_token(sandbox, http), to_device(), project="other")
    error = (await response.json())["error"]
    assert (response.status, error["status"], "details" in error) == (404, "NOT_FOUND", False)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"message": {"token": DEVICE, "titel": "x"}}, "message"),
        ({"message": {"token": DEVICE, "android": {"tll": "1s"}}}, "message.android"),
        ({"message": {"token": DEVICE, "android": {"ttl": 60}}}, "message.android.ttl"),
        ({"message": {"token": DEVICE, "android": {"priority": "URGENT"}}}, "message.android.priority"),
        ({"message": {"token": DEVICE, "topic": "news"}}, "message"),
        ({"validateOnly": "yes", "message": {"token": DEVICE}}, "validate_only"),
        ({}, "message"),
        ([], ""),
    ],
)
async def test_wrong_shape_is_a_bad_request_without_fcm_error(
    sandbox: Sandbox, http: Client, document: object, field: str
) -> None:
    response = await send(http, await access_token(sandbox, http), document)
    (detail,) = (await response.json())["error"]["details"]
    assert (response.status, detail["@type"]) == (400, BAD_REQUEST)
    assert detail["fieldViolations"][0]["field"] == field


async def test_data_values_must_be_strings(sandbox: Sandbox, http: Client) -> None:
    response = await send(http, await access_token(sandbox, http), to_device(data={"count": 7}))
    (detail,) = (await response.json())["error"]["details"]
    assert (response.status, detail["@type"]) == (400, BAD_REQUEST)


@pytest.mark.parametrize(
    "message",
    [
        {"data": {"from": "x"}},
        {"data": {"google.x": "x"}},
        {"data": {"gcm_x": "x"}},
        {"data": {"k": "x" * 4096}},
        {"android": {"ttl": "2419201s"}},
        {"token": "short"},
    ],
)
async def test_invalid_argument_carries_fcm_error(sandbox: Sandbox, http: Client, message: dict[str, object]) -> None:
    response = await send(http, await access_token(sandbox, http), to_device(**message))
    details = (await response.json())["error"]["details"]
    assert (response.status, details[0]) == (400, {"@type": FCM_ERROR, "errorCode": "INVALID_ARGUMENT"})


async def test_camel_case_is_taken_as_google_takes_it(sandbox: Sandbox, http: Client) -> None:
    message = to_device(android={"collapseKey": "a", "notification": {"channelId": "c"}})
    assert (await send(http, await access_token(sandbox, http), message)).status == 200


async def test_validate_only_is_not_recorded_as_a_message(sandbox: Sandbox, http: Client) -> None:
    response = await send(http, await access_token(sandbox, http), to_device() | {"validate_only": True})
    assert (await response.json())["name"].endswith("/fake_message_id")
    assert json.loads(sandbox.ledger.read(0, 1))["accepted"] is False


# Typed from Google's documentation: code, HTTP status, google.rpc code, FcmError code, Retry-After sent.
GOOGLE = [
    ("4000", 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", False),
    ("4002", 400, "INVALID_ARGUMENT", None, False),
    ("4010", 401, "UNAUTHENTICATED", None, False),
    ("4011", 401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", False),
    ("4030", 403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", False),
    ("4031", 403, "PERMISSION_DENIED", None, False),
    ("4040", 404, "NOT_FOUND", "UNREGISTERED", False),
    ("4041", 404, "NOT_FOUND", None, False),
    ("4290", 429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", True),
    ("4291", 429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", False),
    ("5000", 500, "INTERNAL", "INTERNAL", False),
    ("5001", 500, "UNKNOWN", "UNSPECIFIED_ERROR", False),
    ("5030", 503, "UNAVAILABLE", "UNAVAILABLE", True),
    ("5031", 503, "UNAVAILABLE", "UNAVAILABLE", False),
]


@pytest.mark.parametrize(("code", "status", "rpc", "fcm", "retry_after"), GOOGLE)
async def test_magic_token_chooses_the_answer(
    sandbox: Sandbox, http: Client, code: str, status: int, rpc: str, fcm: str | None, retry_after: bool
) -> None:
    message = to_device(token=f"dead{code}00".ljust(152, "x"))
    response = await send(http, await access_token(sandbox, http), message)
    error = (await response.json())["error"]
    codes = [d["errorCode"] for d in error.get("details", []) if d["@type"] == FCM_ERROR]
    assert (response.status, error["code"], error["status"], codes) == (status, status, rpc, [fcm] if fcm else [])
    assert ("retry-after" in response.headers) == retry_after
