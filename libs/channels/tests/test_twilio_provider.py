"""A Twilio-style API as the sandbox plays it. Expected classes are typed from Twilio's documentation."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import ValidationError

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address, PhoneNumber
from clarion.types.v1.channel_pb2 import PRIORITY_NORMAL
from clarion.types.v1.content_pb2 import SmsContent
from clarion_channels.errortable import load
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message, ProviderUnavailable
from clarion_channels.providers.twilio import Factory, TwilioProvider
from clarion_channels.providers.twilio.receipts import SIGNATURE_HEADER, Forged, parse, read_form, verify
from clarion_channels.receipt import ProviderReceipt, normalise_id
from clarion_kit.vocabulary import Receipt

from .h2_peer import Peer, make_ca, serve
from .push_messages import Reports
from .sandbox_door import Practice, practice

pytestmark = pytest.mark.asyncio(loop_scope="module")

Connect = Callable[..., Awaitable[TwilioProvider]]
_numbers = count(1_000_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Practice]:
    async with practice(tmp_path_factory.mktemp("twilio")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def connect(door: Practice) -> AsyncIterator[Connect]:
    async with AsyncExitStack() as stack:

        async def start(**changes: object) -> TwilioProvider:
            provider = await Factory.connect(json.dumps(document(door) | changes).encode(), NoReceipts())
            stack.push_async_callback(provider.close)
            return provider

        yield start


class NoReceipts:
    async def store(self, provider: str, kind: str, body: bytes) -> None:
        raise AssertionError("Twilio's receipts do not come through the provider")


def document(door: Practice) -> dict[str, object]:
    account = door.account("twilio")
    return {
        "account_sid": account["account_sid"],
        "auth_token": account["auth_token"],
        "sender": "Clarion",
        "base_url": account["url"],
        "ca_file": str(door.ca_file),
        "connections": 1,
        "timeout_seconds": 5,
    }


def to(number: str, text: str = "Hi", expires_in: timedelta = timedelta(hours=1)) -> Message:
    return Message(
        delivery_id=uuid4(),
        address=Address(sms=PhoneNumber(e164=number)),
        content=Rendered(sms=SmsContent(text=text)),
        priority=PRIORITY_NORMAL,
        expire_at=datetime.now(UTC) + expires_in,
    )


def good() -> str:
    return f"+8210{next(_numbers)}1"


def magic(code: str, failures: int = 0) -> str:
    return f"+82{next(_numbers) % 100_000:05}999{code}{failures}"


async def send(provider: TwilioProvider, *messages: Message) -> Reports:
    reports = Reports()
    await provider.send(messages, reports)
    assert len(reports.results) == len(messages)
    return reports


def entries(door: Practice, number: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in door.sandbox.ledger.read(0, 10_000).splitlines()]
    return [line for line in lines if line["provider"] == "twilio" and line["destination"] == number]


async def test_message_is_sent_and_its_sid_kept(door: Practice, connect: Connect) -> None:
    provider = await connect()
    number = good()
    result = (await send(provider, to(number, "Grüße"))).only()
    (entry,) = entries(door, number)
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, entry["message_id"])
    assert str(entry["message_id"]).startswith("SM")


async def test_api_key_and_messaging_service_serve_as_well(door: Practice, connect: Connect) -> None:
    account = door.account("twilio")
    provider = await connect(
        api_key={"sid": account["key_sid"], "secret": account["key_secret"]},
        auth_token=None,
        sender="",
        messaging_service_sid=account["messaging_service_sid"],
    )
    assert (await send(provider, to(good()))).only().outcome is Outcome.ACCEPTED


# HTTP answers: the sandbox's code, the class, HTTP status and error code.
@pytest.mark.parametrize(
    ("code", "outcome", "expected"),
    [
        ("003", Outcome.CRED, "401:20003"),
        ("005", Outcome.CRED, "401:20005"),
        ("404", Outcome.CRED, "404:20404"),
        ("106", Outcome.CRED, "400:21606"),
        ("212", Outcome.CRED, "400:21212"),
        ("159", Outcome.CRED, "400:21659"),
        ("160", Outcome.CRED, "400:21660"),
        ("161", Outcome.CRED, "400:21661"),
        ("308", Outcome.CRED, "400:21408"),
        ("429", Outcome.THROTTLE, "429:20429"),
        ("014", Outcome.THROTTLE, "429:14107"),
        ("111", Outcome.THROTTLE, "400:21611"),
        ("211", Outcome.DEAD, "400:21211"),
        ("314", Outcome.DEAD, "400:21614"),
        ("265", Outcome.DEAD, "400:21265"),
        ("135", Outcome.DEAD, "400:21635"),
        ("110", Outcome.DEAD, "400:21610"),
        ("102", Outcome.BAD, "400:21602"),
        ("119", Outcome.BAD, "400:21619"),
        ("117", Outcome.BAD, "400:21617"),
        ("112", Outcome.BAD, "400:21612"),
        ("500", Outcome.RETRY, "unlisted:500:20500"),
        ("503", Outcome.RETRY, "unlisted:503:20503"),
        ("502", Outcome.RETRY, "unlisted:502"),
    ],
)
async def test_refusal_has_its_class(connect: Connect, code: str, outcome: Outcome, expected: str) -> None:
    provider = await connect()
    result = (await send(provider, to(magic(code)))).only()
    assert (result.outcome, result.code) == (outcome, expected)


async def test_retry_after_is_a_floor_where_twilio_sends_it(connect: Connect) -> None:
    provider = await connect()
    with_header, without = to(magic("428")), to(magic("429"))
    results = (await send(provider, with_header, without)).results
    assert results[with_header.delivery_id].retry_after == timedelta(seconds=2)
    assert results[without.delivery_id].retry_after is None


# Error codes of receipts: what became of a message that was accepted.
@pytest.mark.parametrize(
    ("code", "error", "outcome"),
    [
        ("702", "30002", Outcome.CRED),
        ("732", "30032", Outcome.CRED),
        ("734", "30034", Outcome.CRED),
        ("718", "30018", Outcome.CRED),
        ("724", "30024", Outcome.CRED),
        ("740", "30040", Outcome.CRED),
        ("722", "30022", Outcome.THROTTLE),
        ("723", "30023", Outcome.THROTTLE),
        ("705", "30005", Outcome.DEAD),
        ("706", "30006", Outcome.DEAD),
        ("719", "30019", Outcome.BAD),
        ("738", "30038", Outcome.BAD),
        ("704", "30004", Outcome.BAD),
        ("707", "30007", Outcome.BAD),
        ("850", "30450", Outcome.BAD),
        ("853", "30453", Outcome.BAD),
        ("701", "30001", Outcome.RETRY),
        ("703", "30003", Outcome.RETRY),
        ("708", "30008", Outcome.RETRY),
        ("717", "30017", Outcome.RETRY),
        ("810", "30410", Outcome.RETRY),
        ("710", "30010", Outcome.BAD),
        ("736", "30036", Outcome.BAD),
    ],
)
async def test_failure_after_acceptance_is_told_by_a_signed_receipt(
    door: Practice, connect: Connect, code: str, error: str, outcome: Outcome
) -> None:
    path = f"/v1/callbacks/twilio/{code}"
    provider = await connect(status_callback=door.receiver.url + path)
    sent = (await send(provider, to(magic(code)))).only()
    assert sent.outcome is Outcome.ACCEPTED
    first, last = await receipts(door, path, 2)
    assert (first.receipt, last.receipt, last.code) == (None, Receipt.UNDELIVERED, error)
    assert {first.ids, last.ids} == {tuple(map(normalise_id, sent.receipt_ids))}
    assert load("twilio").lookup(0, last.code).outcome is outcome


async def receipts(door: Practice, path: str, expected: int) -> list[ProviderReceipt]:
    found: list[ProviderReceipt] = []
    auth_token = door.account("twilio")["auth_token"]
    for call in await door.receiver.to(path, expected):
        fields = read_form(call.body)
        verify(door.receiver.url + path, fields, call.headers[SIGNATURE_HEADER.lower()], auth_token)
        with pytest.raises(Forged):
            verify(door.receiver.url + path + "0", fields, call.headers[SIGNATURE_HEADER.lower()], auth_token)
        found.append(parse(fields, load("twilio")))
    return found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("620", [None, Receipt.DELIVERED]),
        ("690", [None, Receipt.DELIVERED, Receipt.DELIVERED]),
        ("694", [Receipt.DELIVERED, None]),
    ],
)
async def test_receipts_come_in_any_order_and_more_than_once(
    door: Practice, connect: Connect, code: str, expected: list[Receipt | None]
) -> None:
    path = f"/v1/callbacks/twilio/manner-{code}"
    provider = await connect(status_callback=door.receiver.url + path)
    await send(provider, to(magic(code)))
    found = await receipts(door, path, len(expected))
    assert [receipt.receipt for receipt in found] == expected


@pytest.mark.parametrize(("code", "is_taken"), [("900", False), ("901", False), ("902", True), ("903", True)])
async def test_answer_that_does_not_come_is_unknown_and_nothing_is_sent_twice(
    door: Practice, connect: Connect, code: str, is_taken: bool
) -> None:
    provider = await connect(timeout_seconds=0.5)
    await send(provider, to(good()))
    number = magic(code)
    result = (await send(provider, to(number))).only()
    assert result.outcome is Outcome.UNKNOWN
    assert [entry["accepted"] for entry in entries(door, number)] == [is_taken]


async def test_cancelled_call_reports_what_was_written_as_unknown(connect: Connect, tmp_path: Path) -> None:
    ca = make_ca(tmp_path)
    async with serve(Peer(on_request=lambda stream: None), ca.server_context()) as peer:
        provider = await connect(base_url=f"https://localhost:{peer.port}", ca_file=str(ca.ca_file))
        reports = Reports()
        sending = asyncio.create_task(provider.send([to(good())], reports))
        await peer.wait_for_requests(1)
        sending.cancel()
        await asyncio.wait([sending])
    assert reports.only().outcome is Outcome.UNKNOWN


async def test_service_that_cannot_be_reached_is_retry(connect: Connect, unused_tcp_port: int) -> None:
    provider = await connect(base_url=f"https://127.0.0.1:{unused_tcp_port}")
    result = (await send(provider, to(good()))).only()
    assert (result.outcome, result.code) == (Outcome.RETRY, "local:connect")


async def test_invalid_and_late_messages_are_not_sent_and_the_others_are(door: Practice, connect: Connect) -> None:
    provider = await connect()
    late, bad, sent = to(good(), expires_in=timedelta(0)), to("12"), to(good())
    results = (await send(provider, late, bad, sent)).results
    assert results[late.delivery_id].code == "local:expired"
    assert [results[one.delivery_id].outcome for one in (late, bad, sent)] == [
        Outcome.RETRY,
        Outcome.BAD,
        Outcome.ACCEPTED,
    ]
    assert entries(door, late.address.sms.e164) == []


async def test_probe_sends_nothing_and_names_what_is_wrong(connect: Connect) -> None:
    await (await connect()).probe()
    with pytest.raises(ProviderUnavailable, match="20003"):
        await (await connect(auth_token="wrong")).probe()


async def test_wrong_credentials_stop_the_lane(connect: Connect) -> None:
    result = (await send(await connect(auth_token="wrong"), to(good()))).only()
    assert (result.outcome, result.code) == (Outcome.CRED, "401:20003")


@pytest.mark.parametrize(
    "change",
    [
        {"auth_token": None},
        {"sender": ""},
        {"messaging_service_sid": "MG" + "0" * 32},
        {"sender": "twelve chars"},
        {"account_sid": "AC1"},
        {"status_callback": "http://tracker.example.com/v1/callbacks/twilio/1"},
        {"base_url": "http://api.example.com"},
        {"colour": "red"},
        {
            "auth_token": None,
            "api_key": {"sid": "SK" + "0" * 32, "secret": "secret-canary"},
            "status_callback": "https://tracker.example.com/v1/callbacks/twilio/1",
        },
    ],
    ids=[
        "no credentials",
        "no sender",
        "two senders",
        "long sender",
        "account",
        "callback over plain http",
        "plain http",
        "unknown setting",
        "callback that cannot be verified",
    ],
)
async def test_faulty_settings_are_named_without_the_secret(door: Practice, change: dict[str, object]) -> None:
    faulty = document(door) | {"auth_token": "secret-canary"} | change
    with pytest.raises(ValidationError) as caught:
        await Factory.connect(json.dumps(faulty).encode(), NoReceipts())
    assert "secret-canary" not in str(caught.value)
