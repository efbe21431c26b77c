"""The HTTP/2 listener: the same doors, and the faults of its script, seen by a client of another implementation."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import RequestError
from pyreqwest.response import Response

from clarion_sandbox.faults import FaultRules
from clarion_sandbox.http2_faults import ConnectionFault, Http2Script, Manners, RequestFault
from clarion_sandbox.server import Sandbox

USUAL = Manners(1000, 1000)


@pytest.fixture
async def h2(sandbox: Sandbox, certificate: tuple[Path, Path]) -> AsyncIterator[Client]:
    builder = ClientBuilder().http2(True).add_root_certificate_pem(certificate[0].read_bytes())
    async with builder.base_url(sandbox.http2_url).timeout(timedelta(seconds=1)).build() as client:
        yield client


def script(sandbox: Sandbox, *faults: dict[str, object]) -> None:
    sandbox.faults.replace(FaultRules.model_validate({"http2": faults}))


async def token(client: Client) -> Response:
    """A request that every door check refuses at once."""
    return await client.post("/token").form({"grant_type": "x"}).build().send()


async def ledger(client: Client, sandbox: Sandbox) -> Response:
    return await client.get("/sandbox/ledger").bearer_auth(sandbox.credentials.api_token).build().send()


def causes(error: RequestError) -> str:
    return "; ".join(cause["message"] for cause in error.details["causes"] or [])


async def test_doors_answer_as_on_the_other_listener(sandbox: Sandbox, h2: Client, http: Client) -> None:
    there, here = await token(http), await token(h2)
    assert (here.status, await here.json(), here.version) == (there.status, await there.json(), "HTTP/2.0")


async def test_answer_longer_than_the_windows_arrives_whole(sandbox: Sandbox, h2: Client) -> None:
    for n in range(1500):
        sandbox.ledger.accept("apns", answer="200", message_id=f"m{n}", destination="d", digest="e" * 64, content=b"{}")
    request = h2.get("/sandbox/ledger?limit=1500").bearer_auth(sandbox.credentials.api_token)
    lines = (await (await request.build().send()).text()).splitlines()
    assert len(lines) == 1500
    assert json.loads(lines[-1])["message_id"] == "m1499"


async def test_faults_concern_the_paths_and_the_count_that_they_name(sandbox: Sandbox, h2: Client) -> None:
    script(sandbox, {"fault": "reset", "path": "/token", "after": 1, "times": 1})
    assert (await ledger(h2, sandbox)).status == 200
    with pytest.raises(RequestError) as caught:
        await token(h2)
    assert "internal" in causes(caught.value)
    assert (await token(h2)).status == 400


@pytest.mark.parametrize(("taken", "entries"), [(True, 1), (False, 0)])
async def test_fault_tells_whether_the_door_saw_the_request(
    sandbox: Sandbox, h2: Client, taken: bool, entries: int
) -> None:
    script(sandbox, {"fault": "reset", "code": "CANCEL", "taken": taken, "times": 1})
    with pytest.raises(RequestError):
        await token(h2)
    assert len(sandbox.ledger.read(0, 10).splitlines()) == entries


async def test_goaway_ends_the_connection_after_its_answers(sandbox: Sandbox, h2: Client) -> None:
    script(sandbox, {"fault": "goaway", "times": 1, "reason": "Shutdown"})
    assert [(await token(h2)).status for _ in range(3)] == [400, 400, 400]


async def test_cut_and_lost_requests_have_no_answer(sandbox: Sandbox, h2: Client) -> None:
    script(sandbox, {"fault": "cut", "times": 1}, {"fault": "lost", "times": 1})
    for _ in range(2):
        with pytest.raises(RequestError):
            await token(h2)
    assert (await token(h2)).status == 400


async def test_client_that_keeps_to_the_limit_sees_no_excess(sandbox: Sandbox, h2: Client) -> None:
    script(sandbox, {"fault": "streams", "limit": 2})
    assert (await token(h2)).status == 400
    answers = await asyncio.gather(*[token(h2) for _ in range(20)])
    assert {answer.status for answer in answers} == {400}


async def test_listener_stops_while_requests_hang(sandbox: Sandbox, h2: Client) -> None:
    script(sandbox, {"fault": "lost"})
    with pytest.raises(RequestError):
        await token(h2)


async def test_script_with_both_kinds_is_put_and_shown(sandbox: Sandbox, http: Client) -> None:
    document = {"faults": [{"provider": "apns", "jitter_ms": 5}], "http2": [{"fault": "deaf"}, {"fault": "goaway"}]}
    request = http.put("/sandbox/faults").bearer_auth(sandbox.credentials.api_token).body_json(document)
    assert (await request.build().send()).status == 204
    shown: Any = await (
        await http.get("/sandbox/faults").bearer_auth(sandbox.credentials.api_token).build().send()
    ).json()
    assert [rule["fault"] for rule in shown["http2"]] == ["deaf", "goaway"]
    assert shown["faults"][0]["jitter_ms"] == 5


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "explode"},
        {"fault": "reset", "code": "REFUSED_STREAM"},
        {"fault": "reset", "code": "NOT_A_CODE"},
        {"fault": "streams", "limit": -1},
        {"fault": "stall", "path": "/x"},
        {"fault": "goaway", "after": -1},
        {"fault": "cut", "ratio": 0},
    ],
)
def test_faulty_rule_is_refused(rule: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FaultRules.model_validate({"http2": [rule]})


def test_first_rule_of_a_kind_decides_how_a_connection_behaves() -> None:
    rules = Http2Script()
    rules.replace(
        [
            ConnectionFault(fault="streams", limit=5, times=1),
            ConnectionFault(fault="streams", limit=0),
            ConnectionFault(fault="one_stream", excess="refuse", times=1),
            ConnectionFault(fault="stall", after_bytes=9, times=1),
        ]
    )
    assert rules.on_connection(1000) == Manners(5, 1, closes_on_excess=False, stall_after_bytes=9)
    assert rules.on_connection(1000) == Manners(0, 0)
    rules.replace([])
    assert rules.on_connection(1000) == USUAL


def test_rule_is_void_after_its_time_and_strikes_the_share_that_it_says() -> None:
    now = 1000.0
    rules = Http2Script(lambda: now)
    rules.replace([RequestFault(fault="cut", until=1001.0, ratio=0.3, seed=7)])
    struck = [rules.on_request("/x", n) is not None for n in range(1000)]
    assert 250 < struck.count(True) < 350
    now = 1001.0
    assert rules.on_request("/x", 0) is None
