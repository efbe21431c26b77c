"""The control API: faults, ledger, messages."""

import json
import time
from typing import Any

import pytest
from pyreqwest.client import Client
from pyreqwest.response import Response

from clarion_sandbox import answers, magic
from clarion_sandbox.fates import Fates
from clarion_sandbox.faults import FaultRule, FaultRules, FaultScript, UnknownAnswer
from clarion_sandbox.server import Sandbox


async def call(http: Client, sandbox: Sandbox, method: str, path: str, document: object = None) -> Response:
    request = http.request(method, f"/sandbox/{path}").bearer_auth(sandbox.credentials.api_token)
    if document is not None:
        request = request.body_json(document)
    return await request.build().send()


def record(sandbox: Sandbox, count: int) -> None:
    for n in range(count):
        sandbox.ledger.accept(
            "apns", answer="200", message_id=f"m{n}", destination="d", digest="e" * 64, content=b'{"aps":{}}'
        )


async def test_api_needs_the_token(http: Client) -> None:
    for method, path in (("GET", "ledger"), ("GET", "summary"), ("PUT", "faults"), ("GET", "messages/1")):
        response = await http.request(method, f"/sandbox/{path}").bearer_auth("wrong").build().send()
        assert response.status == 401


async def test_ledger_pages_by_number(sandbox: Sandbox, http: Client) -> None:
    record(sandbox, 200)
    lines = (await (await call(http, sandbox, "GET", "ledger?after=130&limit=3")).text()).splitlines()
    assert [json.loads(line)["n"] for line in lines] == [131, 132, 133]
    assert await (await call(http, sandbox, "GET", "ledger?after=200")).text() == ""
    assert (await call(http, sandbox, "GET", "ledger?after=x")).status == 400


async def test_summary_counts_answers_and_repetitions(sandbox: Sandbox, http: Client) -> None:
    record(sandbox, 3)
    sandbox.ledger.refuse("apns", answer="410 Unregistered")
    summary = await (await call(http, sandbox, "GET", "summary")).json()
    apns = {"accepted": 3, "repeated": 2, "answers": {"200": 3, "410 Unregistered": 1}}
    assert summary == {"entries": 4, "providers": {"apns": apns}}


async def test_message_is_shown_whole(sandbox: Sandbox, http: Client) -> None:
    record(sandbox, 2)
    shown = await (await call(http, sandbox, "GET", "messages/2")).json()
    assert (shown["entry"]["message_id"], shown["content"]) == ("m1", {"json": {"aps": {}}})
    assert (await call(http, sandbox, "GET", "messages/3")).status == 404


async def test_script_can_be_put_read_and_deleted(sandbox: Sandbox, http: Client) -> None:
    script = {"faults": [{"provider": "fcm", "latency_ms": 5, "answer": "4290", "ratio": 0.5}]}
    assert (await call(http, sandbox, "PUT", "faults", script)).status == 204
    shown: Any = await (await call(http, sandbox, "GET", "faults")).json()
    assert shown["faults"][0]["answer"] == "4290"
    assert (await call(http, sandbox, "DELETE", "faults")).status == 204
    assert await (await call(http, sandbox, "GET", "faults")).json() == {"faults": [], "http2": []}


@pytest.mark.parametrize(
    "rule",
    [
        {"provider": "pigeon"},
        {"provider": "apns", "answer": "9990"},
        {"provider": "apns", "ratio": 2},
        {"provider": "apns", "outage_until": 1, "answer": "5000"},
        {"provider": "apns", "typo": 1},
    ],
)
async def test_faulty_script_is_refused(sandbox: Sandbox, http: Client, rule: dict[str, object]) -> None:
    assert (await call(http, sandbox, "PUT", "faults", {"faults": [rule]})).status == 400


async def test_script_strikes_requests_that_pass_the_checks(sandbox: Sandbox, http: Client) -> None:
    rule = FaultRule(provider="webpush", answer="5031")
    sandbox.faults.replace(FaultRules(faults=[rule]))
    response = await http.post("/wp/nobody").build().send()
    assert response.status == 404


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def script(clock: Clock, *rules: FaultRule) -> tuple[Fates, FaultScript]:
    tables = {provider: answers.load(provider) for provider in answers.PROVIDERS}
    faults = FaultScript(tables, clock)
    faults.replace(FaultRules(faults=list(rules)))
    return Fates(tables, faults), faults


def statuses(fates: Fates, provider: str, count: int, destination: str = "x") -> list[int]:
    fated = (fates.decide(provider, destination) for _ in range(count))
    return [fate.status if isinstance(fate, answers.Row) else 0 for fate in fated]


def test_outage_ends_at_its_time() -> None:
    clock = Clock()
    fates, _ = script(
        clock, FaultRule(provider="apns", outage_until=1010.0), FaultRule(provider="smtp", answer="outage")
    )
    assert statuses(fates, "apns", 1) == [503]
    assert statuses(fates, "smtp", 1) == [421]
    clock.now = 1010.0
    assert statuses(fates, "apns", 1) == [0]


def test_rule_strikes_as_often_as_it_says() -> None:
    fates, _ = script(Clock(), FaultRule(provider="fcm", answer="4291", times=2))
    assert statuses(fates, "fcm", 4) == [429, 429, 0, 0]


def test_ratio_strikes_the_same_requests_for_the_same_seed() -> None:
    rule = FaultRule(provider="apns", answer="5000", ratio=0.3, seed=7)
    first, second = (statuses(script(Clock(), rule)[0], "apns", 1000) for _ in range(2))
    assert first == second
    assert 250 < first.count(500) < 350


def test_match_limits_a_rule_to_a_prefix() -> None:
    fates, _ = script(Clock(), FaultRule(provider="smpp", answer="088", match="49", latency_ms=20))
    assert statuses(fates, "smpp", 1, "4917") == [0x58]
    assert statuses(fates, "smpp", 1, "3317") == [0]
    assert (fates.latency("smpp", "4917"), fates.latency("smpp", "3317")) == (0.02, 0.0)


def test_unknown_answer_leaves_the_script_as_it_was() -> None:
    _, faults = script(Clock(), FaultRule(provider="apns", answer="5000"))
    with pytest.raises(UnknownAnswer):
        faults.replace(FaultRules(faults=[FaultRule(provider="smpp", answer="5000")]))
    assert [rule.answer for rule in faults.rules.faults] == ["5000"]


@pytest.mark.parametrize("provider", answers.PROVIDERS)
def test_every_row_can_be_asked_for_by_its_code(provider: str) -> None:
    table = answers.load(provider)
    rows = list(table)
    assert len(rows) > 5
    assert [table.find(row.code) for row in rows] == rows


def test_ordinary_addresses_ask_for_nothing() -> None:
    assert [magic.of_token(token) for token in ("deadbeef" * 8, "a" * 64)] == [None, None]
    assert [magic.of_number(number) for number in ("491701234567", "9990011")] == [None, magic.Magic("001", 1)]
    assert [magic.of_mailbox(box) for box in ("ann@example.org", "bounce@example.org")] == [None, None]


async def test_latency_delays_the_answer(sandbox: Sandbox, http: Client) -> None:
    sandbox.faults.replace(FaultRules(faults=[FaultRule(provider="google_token", latency_ms=60)]))
    started = time.monotonic()
    await http.post("/token").form({"grant_type": "x"}).build().send()
    assert time.monotonic() - started >= 0.06
