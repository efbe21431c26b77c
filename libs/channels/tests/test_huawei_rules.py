"""Rules of the Huawei provider without a network: requests, answers, receipts, access tokens."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from clarion.types.v1.address_pb2 import ANDROID_PUSH_SERVICE_FCM, ANDROID_PUSH_SERVICE_HUAWEI, Address, AndroidDevice
from clarion.types.v1.channel_pb2 import PRIORITY_BULK, PRIORITY_NORMAL, PRIORITY_URGENT, Priority
from clarion.types.v1.content_pb2 import AndroidOptions, PushContent
from clarion_channels.errortable import ErrorTable, load
from clarion_channels.http import HttpAnswer
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message
from clarion_channels.providers.huawei.answer import classify
from clarion_channels.providers.huawei.payload import Batches, build_requests, collapse_group
from clarion_channels.providers.huawei.receipts import Forged, Malformed, parse, verify
from clarion_channels.providers.huawei.settings import HuaweiSettings
from clarion_channels.providers.huawei.token import (
    AccessToken,
    Token,
    TokenRefused,
    TokenUnavailable,
)
from clarion_channels.receipt import News
from clarion_kit.vocabulary import Receipt

from .push_messages import push_message

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def settings(**changes: object) -> HuaweiSettings:
    return HuaweiSettings.model_validate({"client_id": "100", "client_secret": "s", **changes})


def to(
    token: str = "device",
    push: PushContent | None = None,
    *,
    priority: Priority.ValueType = PRIORITY_NORMAL,
    collapse_key: str = "",
    left: timedelta = timedelta(minutes=5),
) -> Message:
    address = Address(android=AndroidDevice(token=token, service=ANDROID_PUSH_SERVICE_HUAWEI))
    return push_message(address, push, priority=priority, collapse_key=collapse_key, expire_at=NOW + left)


def sent(message: Message, **changes: object) -> dict[str, object]:
    (request,) = build_requests([message], settings(**changes), NOW).requests
    document = json.loads(request.body)
    assert set(document) == {"message"}
    inner = document["message"]
    assert isinstance(inner, dict)
    return inner


def android(message: Message, **changes: object) -> dict[str, object]:
    part = sent(message, **changes)["android"]
    assert isinstance(part, dict)
    return part


def shown(push: PushContent, priority: Priority.ValueType = PRIORITY_NORMAL) -> dict[str, object]:
    part = android(to(push=push, priority=priority))["notification"]
    assert isinstance(part, dict)
    return part


def codes(built: Batches) -> list[str]:
    return [fault.code for _, fault in built.invalid]


def test_message_carries_everything_the_content_says() -> None:
    message = to(
        push=PushContent(
            title="Order 7",
            body="is on its way",
            image_url="https://example.com/a.png",
            link="shop://orders/7?from=push",
            data={"order": "7"},
            android=AndroidOptions(channel_id="orders", icon="van", color="#112233", sound="default", tag="order-7"),
        ),
        collapse_key="7",
    )
    assert sent(message, category="EXPRESS", receipt_id="RCP1") == {
        "token": ["device"],
        "data": '{"order":"7","clarion_link":"shop://orders/7?from=push"}',
        "notification": {"title": "Order 7", "body": "is on its way", "image": "https://example.com/a.png"},
        "android": {
            "collapse_key": 7,
            "urgency": "NORMAL",
            "category": "EXPRESS",
            "ttl": "300s",
            "bi_tag": str(message.delivery_id),
            "receipt_id": "RCP1",
            "notification": {
                "click_action": {
                    "type": 1,
                    "intent": "intent://orders/7?from=push#Intent;scheme=shop;launchFlags=0x04000000;end",
                },
                "importance": "NORMAL",
                "channel_id": "orders",
                "icon": "/raw/van",
                "color": "#112233",
                "default_sound": True,
                "tag": "order-7",
            },
        },
    }


def test_data_only_message_leaves_drawing_to_the_app() -> None:
    document = sent(to(push=PushContent(title="T", body="B", android=AndroidOptions(data_only=True, tag="t"))))
    assert "notification" not in document
    assert document["data"] == '{"clarion_title":"T","clarion_body":"B"}'
    assert "notification" not in android(to(push=PushContent(title="T", android=AndroidOptions(data_only=True))))


@pytest.mark.parametrize(
    ("link", "action"),
    [
        ("", {"type": 3}),
        ("https://example.com/a#b", {"type": 2, "url": "https://example.com/a#b"}),
    ],
)
def test_tap_always_leads_somewhere(link: str, action: dict[str, object]) -> None:
    assert shown(PushContent(title="T", body="B", link=link))["click_action"] == action


@pytest.mark.parametrize("link", ["no-scheme", "shop://a#Intent;scheme=tel;end"])
def test_link_that_cannot_be_an_intent_is_refused(link: str) -> None:
    assert codes(build_requests([to(push=PushContent(title="T", body="B", link=link))], settings(), NOW)) == [
        "local:link"
    ]


@pytest.mark.parametrize(
    ("priority", "is_permitted", "urgency", "importance"),
    [
        (PRIORITY_URGENT, True, "HIGH", "NORMAL"),
        (PRIORITY_URGENT, False, "NORMAL", "NORMAL"),
        (PRIORITY_NORMAL, True, "NORMAL", "NORMAL"),
        (PRIORITY_BULK, True, "NORMAL", "LOW"),
    ],
)
def test_only_urgent_asks_for_high_urgency_and_only_where_permitted(
    priority: Priority.ValueType, is_permitted: bool, urgency: str, importance: str
) -> None:
    assert android(to(priority=priority), high_urgency=is_permitted)["urgency"] == urgency
    assert shown(PushContent(title="T", body="B"), priority)["importance"] == importance


@pytest.mark.parametrize(("left", "ttl"), [(9.9, "9s"), (90 * 86_400, "1296000s"), (1, "1s")])
def test_deadline_becomes_ttl_within_15_days(left: float, ttl: str) -> None:
    assert android(to(left=left * SECOND))["ttl"] == ttl


def test_message_without_a_second_left_is_late() -> None:
    built = build_requests([to(left=0.9 * SECOND), to("b", left=-SECOND)], settings(), NOW)
    assert (len(built.late), built.requests, built.invalid) == (2, [], [])


@pytest.mark.parametrize(("key", "group"), [("", -1), ("1", 1), ("100", 100)])
def test_collapse_key_that_is_a_group_stays(key: str, group: int) -> None:
    assert collapse_group(key) == group


@pytest.mark.parametrize("key", ["0", "101", "-1", "order-7", "\u0661", "10000000000000000000000"])
def test_other_collapse_keys_fall_into_a_group(key: str) -> None:
    assert 1 <= collapse_group(key) <= 100
    assert collapse_group(key) == collapse_group(key)


@pytest.mark.parametrize(
    ("push", "title"),
    [(PushContent(body="text"), "Shop"), (PushContent(title="text"), "Shop"), (PushContent(title="a", body="b"), "a")],
)
def test_single_text_becomes_the_body_under_the_fallback_title(push: PushContent, title: str) -> None:
    notification = sent(to(push=push), fallback_title="Shop")["notification"]
    assert notification == {"title": title, "body": push.body or push.title}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (push_message(Address()), "local:not_for_android"),
        (push_message(Address(android=AndroidDevice(token="t"))), "local:push_service"),
        (
            push_message(Address(android=AndroidDevice(token="t", service=ANDROID_PUSH_SERVICE_FCM))),
            "local:push_service",
        ),
        (to(push=PushContent(body="no title")), "local:no_title"),
        (to(push=PushContent(android=AndroidOptions(data_only=True))), "local:empty"),
    ],
)
def test_message_that_huawei_cannot_show_is_refused(message: Message, code: str) -> None:
    assert codes(build_requests([message], settings(), NOW)) == [code]


def test_message_of_4096_bytes_is_sent_whatever_its_tokens_and_one_more_is_refused() -> None:
    def built(length: int) -> Batches:
        return build_requests([to("x" * 500, PushContent(title="T", body="x" * length))], settings(), NOW)

    (request,) = built(1).requests
    message = json.loads(request.body)["message"]
    del message["token"]
    room = 4096 - len(json.dumps(message, separators=(",", ":"))) + 1
    assert len(built(room).requests) == 1
    assert codes(built(room + 1)) == ["local:payload_too_large"]


def test_messages_that_look_alike_share_a_request() -> None:
    push = PushContent(title="T", body="B", data={"a": "1", "b": "2"})
    again = PushContent(title="T", body="B", data={"b": "2", "a": "1"})
    (request,) = build_requests([to("a", push), to("b", again)], settings(), NOW).requests
    assert json.loads(request.body)["message"]["token"] == ["a", "b"]
    assert list(request.messages) == ["a", "b"]


@pytest.mark.parametrize(
    "other",
    [
        to("b", PushContent(title="T", body="C")),
        to("b", PushContent(title="T", body="B"), priority=PRIORITY_BULK),
        to("b", PushContent(title="T", body="B"), collapse_key="1"),
        to("b", PushContent(title="T", body="B"), left=timedelta(minutes=6)),
    ],
    ids=["content", "priority", "collapse key", "deadline"],
)
def test_messages_that_differ_do_not_share_a_request(other: Message) -> None:
    built = build_requests([to("a", PushContent(title="T", body="B")), other], settings(), NOW)
    assert [list(request.messages) for request in built.requests] == [["a"], ["b"]]


def test_delivery_id_for_the_app_gives_each_message_a_request() -> None:
    messages = [to("a"), to("b")]
    built = build_requests(messages, settings(delivery_id_in_data=True), NOW)
    data = [json.loads(json.loads(request.body)["message"]["data"]) for request in built.requests]
    assert [UUID(one["clarion_delivery_id"]) for one in data] == [message.delivery_id for message in messages]


def test_request_has_at_most_1000_tokens_and_none_of_them_twice() -> None:
    batch = [to(f"device-{number}") for number in range(1001)] + [to("device-0"), to("device-0")]
    built = build_requests(batch, settings(), NOW)
    assert [len(request.messages) for request in built.requests] == [1000, 2, 1]
    carried = [message.delivery_id for request in built.requests for message in request.messages.values()]
    assert sorted(carried) == sorted(message.delivery_id for message in batch)


@pytest.fixture(scope="module")
def table() -> ErrorTable:
    return load("huawei")


def answer(code: str, message: str = "", status: int = 200) -> HttpAnswer:
    return HttpAnswer(status, {}, json.dumps({"code": code, "msg": message, "requestId": "r1"}).encode())


def outcomes(table: ErrorTable, given: HttpAnswer, *tokens: str) -> list[Outcome]:
    results = classify(table, given, tokens, NOW)
    return [results[token].outcome for token in tokens]


def test_message_ids_of_one_request_differ_and_are_no_tokens(table: ErrorTable) -> None:
    results = classify(table, answer("80000000"), ["token-a", "token-b"], NOW)
    ids = [result.provider_message_id for result in results.values()]
    assert ids == [f"r1:{hashlib.sha256(token).hexdigest()[:16]}" for token in (b"token-a", b"token-b")]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('{"success":1,"failure":1,"illegal_tokens":["a"]}', [Outcome.DEAD, Outcome.ACCEPTED]),
        ('{"success":1,"failure":1,"illegal_tokens":{"noRight":["a"]}}', [Outcome.CRED, Outcome.ACCEPTED]),
        ('{"success":0,"failure":2,"illegal_tokens":["a"]}', [Outcome.DEAD, Outcome.UNKNOWN]),
        ('{"success":1,"failure":1,"illegal_tokens":["somebody-else"]}', [Outcome.UNKNOWN, Outcome.UNKNOWN]),
        ('{"success":1,"failure":1}', [Outcome.UNKNOWN, Outcome.UNKNOWN]),
        ("Success", [Outcome.UNKNOWN, Outcome.UNKNOWN]),
    ],
    ids=["list", "by cause", "count and list disagree", "foreign token", "no list", "no JSON"],
)
def test_partly_accepted_batch_is_told_apart_by_token(table: ErrorTable, message: str, expected: list[Outcome]) -> None:
    assert outcomes(table, answer("80100000", message), "a", "b") == expected


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (HttpAnswer(200, {}, b"<html>"), Outcome.UNKNOWN),
        (HttpAnswer(200, {}, b"{}"), Outcome.UNKNOWN),
        (answer("80999999"), Outcome.RETRY),
        (answer("80000000", status=500), Outcome.RETRY),
        (answer("80999999", status=400), Outcome.BAD),
        (HttpAnswer(401, {}, b""), Outcome.CRED),
        (HttpAnswer(302, {}, b""), Outcome.BAD),
        (HttpAnswer(429, {}, b""), Outcome.THROTTLE),
    ],
)
def test_answer_that_is_in_no_table_is_never_accepted(table: ErrorTable, given: HttpAnswer, outcome: Outcome) -> None:
    (result,) = classify(table, given, ["a"], NOW).values()
    assert (result.outcome, result.code.startswith("unlisted:")) == (outcome, True)


def test_detail_never_repeats_a_token(table: ErrorTable) -> None:
    given = answer("80300002", "no right to device-token-1, device-token-2", 400)
    results = classify(table, given, ["device-token-1", "device-token-2"], NOW)
    assert {result.detail for result in results.values()} == {"no right to [removed], [removed]"}


def header(user: str = "clarion", key: str = "secret", at: datetime = NOW) -> str:
    timestamp, nonce = str(int(at.timestamp() * 1000)), "a07bfa17-6d82-4b53-a9a2-07cfef5ceef1"
    digest = hmac.new(key.encode(), (timestamp + nonce + user).encode(), hashlib.sha256).digest()
    return f"timestamp={timestamp}; nonce={nonce}; value={base64.b64encode(digest).decode()}"


def test_signed_call_is_huaweis() -> None:
    verify(header(), "clarion", "secret", NOW)
    verify(header().replace("; ", ";"), "clarion", "secret", NOW)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "timestamp=; nonce=; value=",
        header(key="other"),
        header(user="other"),
        header(at=NOW - timedelta(minutes=6)),
        header(at=NOW + timedelta(minutes=6)),
        header()[:-4] + "????",
        header() + "\u00e9",
    ],
)
def test_call_that_is_not_signed_now_with_our_key_is_forged(given: str) -> None:
    with pytest.raises(Forged):
        verify(given, "clarion", "secret", NOW)


def test_without_a_key_every_call_is_forged() -> None:
    with pytest.raises(Forged):
        verify(header(key=""), "clarion", "", NOW)


def test_receipts_of_both_versions_are_read() -> None:
    body = {
        "statuses": [
            {"biTag": "b", "appid": "1", "token": "t1", "status": 0, "timestamp": 1489993883189, "requestId": "r1"},
            {"token": "t2", "requestId": "r1", "pushType": 0, "deliveryStatus": {"result": 2, "timestamp": 0}},
            {"token": "t3", "requestId": "r1", "pushType": 1, "formStatus": {"formId": 1, "result": 0}},
        ]
    }
    delivered, dead = parse(json.dumps(body).encode())
    assert delivered.ids == (f"r1:{hashlib.sha256(b't1').hexdigest()[:16]}",)
    assert (delivered.receipt, delivered.news) == (Receipt.DELIVERED, None)
    assert delivered.at == datetime(2017, 3, 20, 7, 11, 23, 189_000, UTC)
    assert (dead.receipt, dead.news, dead.code) == (Receipt.UNDELIVERED, News.DEAD, "2")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"statuses":[{"token":"t"}]}',
        b'{"statuses":[{"token":"t","requestId":"r","status":"dead"}]}',
        b'{"statuses":[{"token":"t","requestId":"r","status":0,"timestamp":99999999999999999}]}',
        json.dumps({"statuses": [{"token": "t", "requestId": "r", "status": 0}] * 1001}).encode(),
    ],
)
def test_body_that_is_no_list_of_receipts_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(body)


def test_receipt_does_not_show_its_token() -> None:
    (receipt,) = parse(b'{"statuses":[{"token":"canary","requestId":"r","status":0}]}')
    assert "canary" not in repr(receipt)


class TokenServer:
    """Gives numbered tokens, or what it is told to raise; waits for `gate` where it is shut."""

    def __init__(self, lifetime_seconds: float = 3600) -> None:
        self.asked = 0
        self.lifetime_seconds = lifetime_seconds
        self.failure: TokenRefused | TokenUnavailable | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self) -> Token:
        self.asked += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return Token(f"t{self.asked}", self.lifetime_seconds)


def access_token(server: TokenServer, now: list[float]) -> AccessToken:
    return AccessToken(server.fetch, 5 * SECOND, lambda: now[0])


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_many_callers_cause_one_fetch() -> None:
    server = TokenServer()
    token = access_token(server, [0.0])
    assert set(await asyncio.gather(*(token.header() for _ in range(20)))) == {"Bearer t1"}
    assert server.asked == 1


async def test_token_is_renewed_before_its_end_while_the_old_one_serves() -> None:
    server, now = TokenServer(), [0.0]
    token = access_token(server, now)
    await token.header()
    now[0] = 2999.0
    assert await token.header() == "Bearer t1"
    assert server.asked == 1
    now[0] = 3001.0
    assert await token.header() == "Bearer t1"
    await settle()
    assert await token.header() == "Bearer t2"


async def test_short_lived_token_is_not_fetched_for_every_message() -> None:
    server, now = TokenServer(lifetime_seconds=60), [0.0]
    token = access_token(server, now)
    for _ in range(10):
        assert await token.header() == "Bearer t1"
        await settle()
    assert server.asked == 1


async def test_failed_renewal_leaves_the_old_token_and_is_not_repeated_at_once() -> None:
    server, now = TokenServer(), [0.0]
    token = access_token(server, now)
    await token.header()
    server.failure = TokenUnavailable("away")
    now[0] = 3001.0
    for _ in range(3):
        assert await token.header() == "Bearer t1"
        await settle()
    assert server.asked == 2
    now[0] = 3600.0
    with pytest.raises(TokenUnavailable):
        await token.header()


async def test_token_is_replaced_once_a_minute_at_most() -> None:
    server, now = TokenServer(), [0.0]
    token = access_token(server, now)
    first = await token.header()
    second = await token.replace(first)
    assert (first, second) == ("Bearer t1", "Bearer t2")
    assert await token.replace(first) == second, "replaced by another caller already"
    assert await token.replace(second) == second
    now[0] = 61.0
    assert await token.replace(second) == "Bearer t3"


async def test_caller_that_is_cancelled_does_not_take_the_fetch_with_it() -> None:
    server = TokenServer()
    server.gate.clear()
    token = access_token(server, [0.0])
    first, second = (asyncio.create_task(token.header()) for _ in range(2))
    await settle()
    first.cancel()
    await asyncio.wait([first])
    server.gate.set()
    assert await second == "Bearer t1"


async def test_closing_ends_a_fetch_that_hangs() -> None:
    server = TokenServer()
    server.gate.clear()
    token = access_token(server, [0.0])
    waiting = asyncio.create_task(token.header())
    await settle()
    await token.close()
    with pytest.raises(TokenUnavailable):
        await waiting
