"""The Twilio-style SMS API."""

import base64
import json
from urllib.parse import parse_qs

import pytest
from pyreqwest.client import Client
from pyreqwest.response import Response

from clarion_sandbox import content
from clarion_sandbox.server import Sandbox
from clarion_sandbox.web.twilio import segments, signature

from .callback_sink import Taken, sink

NUMBER = "+821012345678"


async def send(
    sandbox: Sandbox, http: Client, user: str | None = None, password: str | None = None, **changes: str | None
) -> Response:
    credentials = sandbox.credentials
    form = {"To": NUMBER, "From": "+15005550006", "Body": "Hello"} | changes
    user, password = user or credentials.twilio_account_sid, password or credentials.twilio_auth_token
    path = f"/2010-04-01/Accounts/{credentials.twilio_account_sid}/Messages.json"
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = http.post(path).header("authorization", f"Basic {basic}")
    return await request.form({name: text for name, text in form.items() if text is not None}).build().send()


def magic(code: str, failures: int = 0) -> str:
    return f"+8210999{code}{failures}"


def entries(sandbox: Sandbox) -> list[dict[str, object]]:
    return [json.loads(line) for line in sandbox.ledger.read(0, 1000).splitlines()]


async def test_message_gets_a_sid_and_is_recorded(sandbox: Sandbox, http: Client) -> None:
    response = await send(sandbox, http)
    body = await response.json()
    assert (response.status, body["status"], body["num_segments"], body["error_code"]) == (201, "queued", "1", None)
    (entry,) = entries(sandbox)
    assert (entry["message_id"], entry["destination"]) == (body["sid"], NUMBER)
    assert entry["digest"] == content.of_text("Hello")


async def test_api_key_and_messaging_service_serve_as_well(sandbox: Sandbox, http: Client) -> None:
    credentials = sandbox.credentials
    response = await send(
        sandbox,
        http,
        credentials.twilio_key_sid,
        credentials.twilio_key_secret,
        From=None,
        MessagingServiceSid=credentials.twilio_messaging_service_sid,
    )
    assert (response.status, (await response.json())["status"]) == (201, "accepted")


async def test_wrong_credentials_are_refused(sandbox: Sandbox, http: Client) -> None:
    for user, password in (("AC0", None), (None, "wrong")):
        response = await send(sandbox, http, user, password)
        assert (response.status, (await response.json())["code"]) == (401, 20003)


async def test_path_of_another_account_is_not_found(sandbox: Sandbox, http: Client) -> None:
    credentials = sandbox.credentials
    basic = base64.b64encode(f"{credentials.twilio_account_sid}:{credentials.twilio_auth_token}".encode()).decode()
    request = http.post("/2010-04-01/Accounts/AC0/Messages.json").header("authorization", f"Basic {basic}")
    response = await request.form({"To": NUMBER}).build().send()
    assert (response.status, (await response.json())["code"]) == (404, 20404)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"To": None}, 21604),
        ({"To": "12345"}, 21265),
        ({"To": "821012345678"}, 21211),
        ({"From": None}, 21603),
        ({"From": "a name that is too long"}, 21212),
        ({"Body": None}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"StatusCallback": "tracker"}, 21609),
        ({"ValidityPeriod": "0"}, 20422),
        ({"ValidityPeriod": "36001"}, 20422),
        ({"Bodi": "x"}, 20422),
    ],
)
async def test_faulty_message_is_refused_with_its_code(
    sandbox: Sandbox, http: Client, changes: dict[str, str | None], code: int
) -> None:
    response = await send(sandbox, http, **changes)
    assert (response.status, (await response.json())["code"]) == (400, code)
    assert [entry["accepted"] for entry in entries(sandbox)] == [False]


# Typed from Twilio's documentation: the sandbox's code, HTTP status, error code.
@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("003", 401, 20003),
        ("005", 401, 20005),
        ("014", 429, 14107),
        ("106", 400, 21606),
        ("110", 400, 21610),
        ("111", 400, 21611),
        ("112", 400, 21612),
        ("135", 400, 21635),
        ("159", 400, 21659),
        ("160", 400, 21660),
        ("161", 400, 21661),
        ("211", 400, 21211),
        ("212", 400, 21212),
        ("308", 400, 21408),
        ("314", 400, 21614),
        ("404", 404, 20404),
        ("429", 429, 20429),
        ("500", 500, 20500),
    ],
)
async def test_magic_number_chooses_the_answer(
    sandbox: Sandbox, http: Client, code: str, status: int, error: int
) -> None:
    response = await send(sandbox, http, To=magic(code))
    body = await response.json()
    assert (response.status, body["code"], body["status"]) == (status, error, status)


async def test_retry_after_is_sent_where_the_number_asks_for_it(sandbox: Sandbox, http: Client) -> None:
    assert (await send(sandbox, http, To=magic("428"))).headers["retry-after"] == "2"
    assert "retry-after" not in (await send(sandbox, http, To=magic("429"))).headers


async def test_flaky_number_turns_good(sandbox: Sandbox, http: Client) -> None:
    answers = [(await send(sandbox, http, To=magic("500", failures=1))).status for _ in range(2)]
    assert answers == [500, 201]


def fields(call: Taken) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(call.body.decode(), strict_parsing=True).items()}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("620", [("sent", ""), ("delivered", "")]),
        ("703", [("sent", ""), ("undelivered", "30003")]),
        ("736", [("sent", ""), ("failed", "30036")]),
        ("853", [("sent", ""), ("undelivered", "30453")]),
        ("690", [("sent", ""), ("delivered", ""), ("delivered", "")]),
        ("694", [("delivered", ""), ("sent", "")]),
        ("696", [("sent", ""), ("delivered", "")]),
    ],
)
async def test_status_callbacks_are_signed_and_travel_as_the_number_asks(
    sandbox: Sandbox, http: Client, code: str, expected: list[tuple[str, str]]
) -> None:
    async with sink() as receiver:
        sent = await (await send(sandbox, http, To=magic(code), StatusCallback=receiver.url)).json()
        calls = await receiver.wait_for(len(expected))
    told = [fields(call) for call in calls]
    assert [(one["MessageStatus"], one.get("ErrorCode", "")) for one in told] == expected
    assert {one["MessageSid"] for one in told} == {sent["sid"]}
    for call in calls:
        expected_signature = signature(sandbox.credentials.twilio_auth_token, receiver.url, fields(call))
        assert call.headers["x-twilio-signature"] == expected_signature


async def test_callback_that_is_to_overtake_the_answer_does(sandbox: Sandbox, http: Client) -> None:
    async with sink() as receiver:
        await send(sandbox, http, To=magic("691"), StatusCallback=receiver.url)
        assert [fields(call)["MessageStatus"] for call in receiver.calls] == ["sent", "delivered"]


async def test_callback_that_is_not_taken_comes_again(sandbox: Sandbox, http: Client) -> None:
    async with sink(refusals=1) as receiver:
        await send(sandbox, http, StatusCallback=receiver.url)
        calls = await receiver.wait_for(3)
    assert [fields(call)["MessageStatus"] for call in calls] == ["sent", "sent", "delivered"]
    assert calls[0].headers["i-twilio-idempotency-token"] == calls[1].headers["i-twilio-idempotency-token"]


def test_signature_is_the_published_one() -> None:
    published = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+12349013030",
        "Digits": "1234",
        "From": "+12349013030",
        "To": "+18005551212",
    }
    assert (
        signature("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", published) == "0/KCTR6DLpKmkAf8muzZqo1nDgQ="
    )


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("你" * 70, 1),
        ("你" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
    ],
)
def test_segments_are_counted(text: str, count: int) -> None:
    assert segments(text) == count
