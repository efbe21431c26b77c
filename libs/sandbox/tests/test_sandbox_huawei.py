"""Huawei Push Kit and its token server."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

import pytest
from pyreqwest.client import Client
from pyreqwest.response import Response

from clarion_sandbox import content
from clarion_sandbox.faults import FaultRule, FaultRules
from clarion_sandbox.server import Sandbox
from clarion_sandbox.web.huawei_token import ClientTokens, TokenState

from .callback_sink import Taken, sink

DEVICE = "IQAAAACy0kYhAADm" + "x" * 100
OTHER = "IQAAAACy0kYhAADn" + "y" * 100
SHOWN = {"notification": {"title": "Hello", "body": "World"}}


def magic(code: str, failures: int = 0) -> str:
    return f"dead{code}{failures:02}".ljust(130, "x")


async def ask_token(sandbox: Sandbox, http: Client, **overrides: str) -> Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": sandbox.credentials.huawei_client_id,
        "client_secret": sandbox.credentials.huawei_client_secret,
    }
    return await http.post("/oauth2/v3/token").form(form | overrides).build().send()


async def access_token(sandbox: Sandbox, http: Client) -> str:
    return str((await (await ask_token(sandbox, http)).json())["access_token"])


async def post(sandbox: Sandbox, http: Client, document: object, token: str | None = None, path: str = "") -> Response:
    path = path or f"/v1/{sandbox.credentials.huawei_client_id}/messages:send"
    bearer = token or await access_token(sandbox, http)
    return await http.post(path).bearer_auth(bearer).body_json(document).build().send()


def to(*tokens: str, android: Mapping[str, object] | None = None, **message: object) -> dict[str, object]:
    options = {"notification": {"click_action": {"type": 3}}, **(android or {})}
    return {"message": {**SHOWN, "android": options, "token": list(tokens), **message}}


def entries(sandbox: Sandbox) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in sandbox.ledger.read(0, 10_000).splitlines()]
    return [line for line in lines if line["provider"] == "huawei"]


async def send(sandbox: Sandbox, http: Client, document: object) -> tuple[int, str]:
    response = await post(sandbox, http, document)
    return response.status, (await response.json())["code"]


async def test_batch_is_taken_and_recorded_by_token(sandbox: Sandbox, http: Client) -> None:
    response = await post(sandbox, http, to(DEVICE, OTHER, android={"bi_tag": "delivery-7"}))
    body = await response.json()
    assert (response.status, body["code"]) == (200, "80000000")
    first, second = entries(sandbox)
    assert [first["destination"], second["destination"]] == [DEVICE, OTHER]
    assert first["message_id"] == f"{body['requestId']}:{hashlib.sha256(DEVICE.encode()).hexdigest()[:16]}"
    assert (first["our_id"], first["digest"]) == ("delivery-7", content.of_visible("Hello", "World", None))


async def test_project_path_is_the_same_service(sandbox: Sandbox, http: Client) -> None:
    path = f"/v2/{sandbox.credentials.huawei_project_id}/messages:send"
    assert (await post(sandbox, http, to(DEVICE), path=path)).status == 200


async def test_path_of_another_app_is_not_found(sandbox: Sandbox, http: Client) -> None:
    assert (await post(sandbox, http, to(DEVICE), path="/v1/7/messages:send")).status == 404


@pytest.mark.parametrize(
    ("overrides", "error"),
    [({"client_secret": "x"}, 1101), ({"client_id": "1"}, 1101), ({"grant_type": "password"}, 1102)],
)
async def test_wrong_client_gets_no_token(
    sandbox: Sandbox, http: Client, overrides: dict[str, str], error: int
) -> None:
    response = await ask_token(sandbox, http, **overrides)
    assert (response.status, (await response.json())["error"]) == (400, error)


async def test_access_token_of_nobody_is_refused(sandbox: Sandbox, http: Client) -> None:
    response = await post(sandbox, http, to(DEVICE), token="unknown")
    assert (response.status, (await response.json())["code"]) == (401, "80200001")


def test_access_token_expires() -> None:
    now = 1000.0
    tokens = ClientTokens(60, clock=lambda: now)
    token = tokens.issue()
    assert (tokens.state(token), tokens.state("x")) == (TokenState.VALID, TokenState.UNKNOWN)
    now = 1060.0
    assert tokens.state(token) is TokenState.EXPIRED


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ([], "80100003"),
        ({"message": {"token": [DEVICE]}}, "80100003"),
        ({"message": {"token": [DEVICE], "data": {"k": "v"}}}, "80100003"),
        (to(DEVICE, titel="x"), "80100003"),
        (to(DEVICE, android={"tll": "1s"}), "80100003"),
        (to(DEVICE, notification={"title": "only"}), "80100001"),
        (to(DEVICE, android={"notification": {}}), "80100001"),
        (to(DEVICE, android={"notification": {"click_action": {"type": 1}}}), "80100001"),
        (to(DEVICE, android={"notification": {"click_action": {"type": 2, "url": "http://a"}}}), "80100001"),
        (to(DEVICE, android={"notification": {"click_action": {"type": 3}, "icon": "van"}}), "80100001"),
        (to(DEVICE, android={"urgency": "URGENT"}), "80100001"),
        (to(DEVICE, android={"ttl": "1296001s"}), "80100001"),
        (to(DEVICE, android={"bi_tag": "x" * 65}), "80100001"),
        (to(DEVICE, android={"ttl": "0s"}), "80100004"),
        (to(DEVICE, android={"collapse_key": 101}), "80100013"),
        (to(), "80300010"),
        (to(*(f"{DEVICE}{number}" for number in range(1001))), "80300010"),
        (to(DEVICE, data="x" * 4096), "80300008"),
    ],
)
async def test_faulty_message_is_refused_with_its_code(
    sandbox: Sandbox, http: Client, document: object, code: str
) -> None:
    assert (await send(sandbox, http, document))[1] == code
    assert [entry["accepted"] for entry in entries(sandbox)] == [False]


async def test_tokens_do_not_count_against_the_size(sandbox: Sandbox, http: Client) -> None:
    document = to(*(f"{DEVICE}{number}" for number in range(1000)), data="x" * 3800)
    assert await send(sandbox, http, document) == (200, "80000000")


async def test_illegal_tokens_are_listed_and_the_others_taken(sandbox: Sandbox, http: Client) -> None:
    body = await (await post(sandbox, http, to(DEVICE, magic("2000"), "short"))).json()
    assert body["code"] == "80100000"
    assert json.loads(body["msg"]) == {"success": 1, "failure": 2, "illegal_tokens": [magic("2000"), "short"]}
    assert [entry["destination"] for entry in entries(sandbox) if entry["accepted"]] == [DEVICE]


async def test_tokens_refused_for_other_causes_are_listed_by_cause(sandbox: Sandbox, http: Client) -> None:
    body = await (await post(sandbox, http, to(DEVICE, magic("2001"), magic("2000")))).json()
    listed = json.loads(body["msg"])["illegal_tokens"]
    assert listed == {"noRight": [magic("2001")], "tokenFormatError": [magic("2000")]}


async def test_batch_of_illegal_tokens_alone_is_refused(sandbox: Sandbox, http: Client) -> None:
    assert await send(sandbox, http, to("short", magic("2000"))) == (400, "80300007")


async def test_validate_only_is_not_recorded_as_a_message(sandbox: Sandbox, http: Client) -> None:
    assert await send(sandbox, http, to(DEVICE) | {"validate_only": True}) == (200, "80000000")
    assert [entry["accepted"] for entry in entries(sandbox)] == [False]


# Typed from Huawei's documentation: the sandbox's code, HTTP status, code of the body.
@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("4000", 400, "80100001"),
        ("4001", 400, "80100003"),
        ("4002", 400, "80100004"),
        ("4003", 400, "80100013"),
        ("4004", 400, "80100016"),
        ("4005", 400, "80100017"),
        ("4006", 400, "80300002"),
        ("4007", 400, "80300007"),
        ("4008", 400, "80300008"),
        ("4009", 400, "80300010"),
        ("400a", 400, "80300011"),
        ("4010", 401, "80200001"),
        ("4011", 401, "80200003"),
        ("5000", 500, "81000001"),
        ("5001", 500, "80600003"),
        ("2004", 200, "80300007"),
    ],
)
async def test_magic_token_chooses_the_answer_of_its_whole_batch(
    sandbox: Sandbox, http: Client, code: str, status: int, expected: str
) -> None:
    assert await send(sandbox, http, to(DEVICE, magic(code))) == (status, expected)
    assert [entry["accepted"] for entry in entries(sandbox)] == [False, False]


@pytest.mark.parametrize(("code", "status"), [("4040", 404), ("5020", 502), ("5030", 503)])
async def test_answer_of_a_proxy_is_no_json(sandbox: Sandbox, http: Client, code: str, status: int) -> None:
    response = await post(sandbox, http, to(magic(code)))
    assert (response.status, (await response.text())[:6]) == (status, "<html>")


async def test_flaky_token_turns_good(sandbox: Sandbox, http: Client) -> None:
    answers = [await send(sandbox, http, to(magic("5000", failures=1))) for _ in range(2)]
    assert answers == [(500, "81000001"), (200, "80000000")]


async def test_scripted_fault_strikes_the_token_server(sandbox: Sandbox, http: Client) -> None:
    sandbox.faults.replace(FaultRules(faults=[FaultRule(provider="huawei_token", answer="outage")]))
    assert (await ask_token(sandbox, http)).status == 503


def statuses(call: Taken) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(call.body)["statuses"]
    return found


async def test_receipts_are_merged_and_signed(sandbox: Sandbox, http: Client) -> None:
    async with sink() as receiver:
        await put_callbacks(sandbox, http, {"huawei": receiver.url})
        tokens = [f"{DEVICE}{number}" for number in range(150)]
        sent = await (await post(sandbox, http, to(*tokens, android={"bi_tag": "tag"}))).json()
        calls = await receiver.wait_for(2)
    assert sorted(len(statuses(call)) for call in calls) == [50, 100]
    told = [status for call in calls for status in statuses(call)]
    assert {status["token"] for status in told} == set(tokens)
    assert {(status["requestId"], status["biTag"], status["status"]) for status in told} == {
        (sent["requestId"], "tag", 0)
    }
    parts = dict(part.strip().partition("=")[::2] for part in calls[0].headers["x-huawei-callback-id"].split(";"))
    signed = parts["timestamp"] + parts["nonce"] + sandbox.credentials.huawei_callback_user
    key = sandbox.credentials.huawei_callback_key.encode()
    assert parts["value"] == base64.b64encode(hmac.new(key, signed.encode(), hashlib.sha256).digest()).decode()
    assert abs(int(parts["timestamp"]) / 1000 - time.time()) < 60


async def test_second_version_of_receipts_comes_from_the_project_path(sandbox: Sandbox, http: Client) -> None:
    async with sink() as receiver:
        sandbox.callback_urls.put({"huawei": receiver.url})
        path = f"/v2/{sandbox.credentials.huawei_project_id}/messages:send"
        await post(sandbox, http, to(magic("6150")), path=path)
        (call,) = await receiver.wait_for(1)
    (status,) = statuses(call)
    delivery = status["deliveryStatus"]
    assert isinstance(delivery, dict)
    assert (delivery["result"], "status" in status) == (15, False)


@pytest.mark.parametrize(
    ("code", "results"), [("6001", [0, 0]), ("6002", [0]), ("6004", [0, 15]), ("6005", [0]), ("7020", [102])]
)
async def test_magic_token_chooses_how_its_receipt_travels(
    sandbox: Sandbox, http: Client, code: str, results: list[int]
) -> None:
    async with sink() as receiver:
        sandbox.callback_urls.put({"huawei": receiver.url})
        await post(sandbox, http, to(magic(code)))
        calls = await receiver.wait_for(len(results))
    assert [statuses(call)[0]["status"] for call in calls] == results


async def test_receipt_that_is_to_overtake_the_answer_does(sandbox: Sandbox, http: Client) -> None:
    async with sink() as receiver:
        sandbox.callback_urls.put({"huawei": receiver.url})
        await post(sandbox, http, to(magic("6002")))
        assert len(receiver.calls) == 1


async def put_callbacks(sandbox: Sandbox, http: Client, urls: object) -> int:
    request = http.request("PUT", "/sandbox/callbacks").bearer_auth(sandbox.credentials.api_token)
    return (await request.body_json(urls).build().send()).status


async def test_callback_urls_are_put_read_and_ended(sandbox: Sandbox, http: Client) -> None:
    assert await put_callbacks(sandbox, http, {"huawei": "https://a.invalid/x", "other": "http://b.invalid"}) == 204
    assert await put_callbacks(sandbox, http, {"other": ""}) == 204
    request = http.get("/sandbox/callbacks").bearer_auth(sandbox.credentials.api_token)
    assert await (await request.build().send()).json() == {"huawei": "https://a.invalid/x"}


@pytest.mark.parametrize("urls", [[], {"huawei": 1}, {"huawei": "ftp://a.invalid"}])
async def test_faulty_callback_urls_are_refused(sandbox: Sandbox, http: Client, urls: object) -> None:
    assert await put_callbacks(sandbox, http, urls) == 400
