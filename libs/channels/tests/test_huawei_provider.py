"""Push Kit and its token server as the sandbox plays them. Expected classes are typed from Huawei's documentation."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import ValidationError

from clarion.types.v1.address_pb2 import ANDROID_PUSH_SERVICE_HUAWEI, Address, AndroidDevice
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message, ProviderUnavailable
from clarion_channels.providers.huawei import Factory, HuaweiProvider
from clarion_channels.providers.huawei.receipts import HEADER, parse, verify
from clarion_channels.receipt import News, normalise_id
from clarion_kit.vocabulary import Receipt
from clarion_sandbox.faults import FaultRule, FaultRules

from .h2_peer import Peer, PeerStream, make_ca, serve
from .push_messages import Reports, push_message
from .sandbox_door import Practice, practice

pytestmark = pytest.mark.asyncio(loop_scope="module")

Connect = Callable[..., Awaitable[HuaweiProvider]]
_titles = count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Practice]:
    async with practice(tmp_path_factory.mktemp("huawei")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def connect(door: Practice) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def start(**changes: object) -> HuaweiProvider:
            provider = await Factory.connect(json.dumps(document(door) | changes).encode(), NoReceipts())
            stack.push_async_callback(provider.close)
            return provider

        yield start
    door.sandbox.faults.replace(FaultRules(faults=[]))


class NoReceipts:
    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError("Huawei's receipts do not come through the provider")


def document(door: Practice) -> dict[str, object]:
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


def fresh() -> PushContent:
    """Content that no other test sends."""
    return PushContent(title=f"Order {next(_titles)}", body="is on its way")


def to(*tokens: str, push: PushContent | None = None) -> list[Message]:
    push = push or fresh()
    end = datetime.now(UTC) + timedelta(hours=1)
    return [
        push_message(
            Address(android=AndroidDevice(token=token, service=ANDROID_PUSH_SERVICE_HUAWEI)), push, expire_at=end
        )
        for token in tokens
    ]


def magic(code: str, failures: int = 0) -> str:
    return f"dead{code}{failures:02}-{next(_titles):08}".ljust(40, "x")


def good(number: int = 0) -> str:
    return f"device-{number}-{next(_titles):08}".ljust(40, "x")


async def send(provider: HuaweiProvider, messages: list[Message]) -> Reports:
    reports = Reports()
    await provider.send(messages, reports)
    assert len(reports.results) == len(messages)
    return reports


def entries(door: Practice, *tokens: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in door.sandbox.ledger.read(0, 10_000).splitlines()]
    return [line for line in lines if line["provider"] == "huawei" and line["destination"] in tokens]


async def test_messages_of_one_content_go_in_one_request_each_with_an_id_of_its_own(
    door: Practice, connect: Connect
) -> None:
    provider = await connect()
    tokens = [good(number) for number in range(1000)]
    messages = to(*tokens)
    reports = await send(provider, messages)
    assert reports.counts() == {Outcome.ACCEPTED: 1000}
    taken = {str(entry["destination"]): entry for entry in entries(door, *tokens)}
    ids = {message.address.android.token: reports.results[message.delivery_id] for message in messages}
    assert {token: result.provider_message_id for token, result in ids.items()} == {
        token: entry["message_id"] for token, entry in taken.items()
    }
    assert len({str(entry["message_id"]).partition(":")[0] for entry in taken.values()}) == 1
    assert {entry["our_id"] for entry in taken.values()} == {str(messages[0].delivery_id)}


async def test_messages_of_different_content_go_in_requests_of_their_own(door: Practice, connect: Connect) -> None:
    provider = await connect()
    tokens = [good(number) for number in range(3)]
    messages = [message for token in tokens for message in to(token)]
    assert (await send(provider, messages)).counts() == {Outcome.ACCEPTED: 3}
    ids = {str(entry["message_id"]).partition(":")[0] for entry in entries(door, *tokens)}
    assert len(ids) == 3


async def test_second_generation_of_the_api_is_asked_where_a_project_is_given(door: Practice, connect: Connect) -> None:
    provider = await connect(project_id=door.account("huawei")["project_id"])
    assert (await send(provider, to(good()))).counts() == {Outcome.ACCEPTED: 1}
    await provider.probe()


# Codes of single tokens: the others of the batch are taken.
@pytest.mark.parametrize(
    ("code", "outcome", "cause"),
    [
        ("2000", Outcome.DEAD, "illegal_token"),
        ("2003", Outcome.DEAD, "tokenFormatError"),
        ("2001", Outcome.CRED, "noRight"),
        ("2002", Outcome.CRED, "noPushTypeRight"),
    ],
)
async def test_token_that_is_refused_leaves_the_rest_of_its_batch_accepted(
    connect: Connect, code: str, outcome: Outcome, cause: str
) -> None:
    provider = await connect()
    bad, *others = to(magic(code), *(good(number) for number in range(5)))
    reports = await send(provider, [bad, *others])
    refused = reports.results[bad.delivery_id]
    assert (refused.outcome, refused.code) == (outcome, f"200:80100000:{cause}")
    assert reports.counts() == {outcome: 1, Outcome.ACCEPTED: 5}


# Codes of whole requests.
@pytest.mark.parametrize(
    ("code", "outcome", "expected"),
    [
        ("4000", Outcome.BAD, "400:80100001"),
        ("4001", Outcome.BAD, "400:80100003"),
        ("4002", Outcome.BAD, "400:80100004"),
        ("4003", Outcome.BAD, "400:80100013"),
        ("4004", Outcome.BAD, "400:80100016"),
        ("4005", Outcome.BAD, "400:80100017"),
        ("4010", Outcome.CRED, "401:80200001"),
        ("4011", Outcome.CRED, "401:80200003"),
        ("4006", Outcome.CRED, "400:80300002"),
        ("4007", Outcome.DEAD, "400:80300007"),
        ("2004", Outcome.DEAD, "200:80300007"),
        ("4008", Outcome.BAD, "400:80300008"),
        ("4009", Outcome.BAD, "400:80300010"),
        ("400a", Outcome.CRED, "400:80300011"),
        ("5001", Outcome.RETRY, "500:80600003"),
        ("5000", Outcome.RETRY, "500:81000001"),
        ("4040", Outcome.CRED, "404"),
        ("5020", Outcome.RETRY, "502"),
        ("5030", Outcome.THROTTLE, "503"),
    ],
)
async def test_refused_request_gives_all_its_messages_one_class(
    connect: Connect, code: str, outcome: Outcome, expected: str
) -> None:
    provider = await connect()
    reports = await send(provider, to(magic(code), good()))
    assert {(result.outcome, result.code) for result in reports.results.values()} == {(outcome, expected)}


@pytest.mark.parametrize("code", ["4010", "4011"])
async def test_access_token_that_is_refused_once_is_replaced_and_the_request_sent_again(
    door: Practice, connect: Connect, code: str
) -> None:
    provider = await connect()
    token = magic(code, failures=1)
    assert (await send(provider, to(token))).counts() == {Outcome.ACCEPTED: 1}
    assert [entry["accepted"] for entry in entries(door, token)] == [False, True]


async def test_flaky_request_is_accepted_when_sent_again(connect: Connect) -> None:
    provider = await connect()
    token = magic("5030", failures=1)
    assert (await send(provider, to(token))).only().outcome is Outcome.THROTTLE
    assert (await send(provider, to(token))).only().outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(("code", "is_taken"), [("0000", False), ("0001", False), ("0002", True), ("0003", True)])
async def test_answer_that_does_not_come_is_unknown_for_the_whole_batch(
    door: Practice, connect: Connect, code: str, is_taken: bool
) -> None:
    provider = await connect(timeout_seconds=0.5)
    await send(provider, to(good()))
    tokens = [magic(code), good(), good(1)]
    reports = await send(provider, to(*tokens))
    assert reports.counts() == {Outcome.UNKNOWN: 3}
    assert [entry["accepted"] for entry in entries(door, *tokens)] == [is_taken] * 3


async def test_cancelled_call_reports_what_was_written_as_unknown(connect: Connect, tmp_path: Path) -> None:
    def give_tokens_only(stream: PeerStream) -> None:
        if stream.headers[":path"] == "/token":
            stream.respond(200, b'{"access_token": "t", "expires_in": 3600}')

    ca = make_ca(tmp_path)
    async with serve(Peer(on_request=give_tokens_only), ca.server_context()) as peer:
        url = f"https://localhost:{peer.port}"
        provider = await connect(base_url=url, token_url=f"{url}/token", ca_file=str(ca.ca_file))
        reports = Reports()
        sending = asyncio.create_task(provider.send(to(good(), good()), reports))
        await peer.wait_for_requests(2)
        sending.cancel()
        await asyncio.wait([sending])
    assert reports.counts() == {Outcome.UNKNOWN: 2}


async def test_service_that_cannot_be_reached_is_retry(connect: Connect, unused_tcp_port: int) -> None:
    provider = await connect(base_url=f"https://127.0.0.1:{unused_tcp_port}")
    result = (await send(provider, to(good()))).only()
    assert (result.outcome, result.code) == (Outcome.RETRY, "local:connect")


async def test_wrong_secret_stops_the_lane_and_is_not_tried_per_message(door: Practice, connect: Connect) -> None:
    provider = await connect(client_secret="secret-canary-of-a-test")
    before = refused_tokens(door)
    reports = await send(provider, [message for _ in range(5) for message in to(good())])
    assert reports.counts() == {Outcome.CRED: 5}
    assert {result.code for result in reports.results.values()} == {"local:token_refused"}
    assert not any("canary" in result.detail for result in reports.results.values())
    assert refused_tokens(door) == before + 1


def refused_tokens(door: Practice) -> int:
    lines = door.sandbox.ledger.read(0, 10_000).splitlines()
    return sum(json.loads(line)["provider"] == "huawei_token" for line in lines)


@pytest.mark.parametrize("answer", ["5030", "4290", "hang"])
async def test_token_server_that_fails_is_retry(door: Practice, connect: Connect, answer: str) -> None:
    provider = await connect(timeout_seconds=0.5)
    door.sandbox.faults.replace(FaultRules(faults=[FaultRule(provider="huawei_token", answer=answer)]))
    result = (await send(provider, to(good()))).only()
    assert (result.outcome, result.code) == (Outcome.RETRY, "local:token_unavailable")


async def test_message_without_a_second_left_is_not_sent(door: Practice, connect: Connect) -> None:
    provider = await connect()
    token = good()
    device = Address(android=AndroidDevice(token=token, service=ANDROID_PUSH_SERVICE_HUAWEI))
    result = (await send(provider, [push_message(device, expire_at=datetime.now(UTC))])).only()
    assert (result.outcome, result.code) == (Outcome.RETRY, "local:expired")
    assert entries(door, token) == []


async def test_invalid_message_is_reported_and_the_others_are_sent(connect: Connect) -> None:
    provider = await connect()
    reports = await send(provider, [*to(good()), push_message(Address())])
    assert reports.counts() == {Outcome.ACCEPTED: 1, Outcome.BAD: 1}


async def test_probe_validates_without_sending_and_names_what_is_wrong(connect: Connect) -> None:
    await (await connect()).probe()
    with pytest.raises(ProviderUnavailable, match="404"):
        await (await connect(project_id="7")).probe()


async def test_probe_with_a_wrong_client_is_refused_by_the_token_server(connect: Connect) -> None:
    with pytest.raises(ProviderUnavailable, match="local:token_refused"):
        await (await connect(client_secret="wrong")).probe()


# Huawei's receipt codes; a report can be matched with its send by the id alone.
@pytest.mark.parametrize(
    ("code", "status", "receipt", "news"),
    [
        ("6000", "0", Receipt.DELIVERED, None),
        ("6020", "2", Receipt.UNDELIVERED, News.DEAD),
        ("6050", "5", Receipt.UNDELIVERED, News.DEAD),
        ("6060", "6", Receipt.UNDELIVERED, None),
        ("6100", "10", Receipt.UNDELIVERED, None),
        ("6150", "15", Receipt.UNDELIVERED, None),
        ("6270", "27", Receipt.UNDELIVERED, None),
        ("7020", "102", Receipt.UNDELIVERED, None),
        ("8010", "201", Receipt.UNDELIVERED, None),
    ],
)
@pytest.mark.parametrize("is_v2", [False, True], ids=["v1", "v2"])
async def test_receipt_is_signed_and_names_the_message(
    door: Practice,
    connect: Connect,
    code: str,
    status: str,
    receipt: Receipt,
    news: News | None,
    is_v2: bool,
) -> None:
    account = door.account("huawei")
    path = f"/huawei/{code}/{is_v2}"
    door.sandbox.callback_urls.put({"huawei": door.receiver.url + path})
    provider = await connect(
        project_id=account["project_id"] if is_v2 else "",
        callback_user=account["callback_user"],
        callback_key=account["callback_key"],
    )
    sent = (await send(provider, to(magic(code)))).only()
    (call,) = await door.receiver.to(path, 1)
    verify(call.headers[HEADER.lower()], account["callback_user"], account["callback_key"], datetime.now(UTC))
    (told,) = parse(call.body)
    assert told.ids == tuple(map(normalise_id, sent.receipt_ids)) != ()
    assert (told.code, told.receipt, told.news) == (status, receipt, news)


@pytest.mark.parametrize(
    "change",
    [
        {"client_secret": ""},
        {"client_id": "a/b"},
        {"base_url": "http://push.example.com"},
        {"token_url": "http://push.example.com/token"},
        {"category": "express"},
        {"colour": "red"},
    ],
    ids=["secret", "client id", "plain http", "token over plain http", "category", "unknown setting"],
)
async def test_faulty_settings_are_named_without_the_secret(door: Practice, change: dict[str, object]) -> None:
    faulty = document(door) | {"client_secret": "secret-canary"} | change
    with pytest.raises(ValidationError) as caught:
        await Factory.connect(json.dumps(faulty).encode(), NoReceipts())
    assert "secret-canary" not in str(caught.value)
