"""Events that apps tell, on fakes: what is taken, what is refused, and what an answer means."""

import base64
import json
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_channels.receipt import ProviderReceipt
from clarion_kit.links import OpenLink, sign_event, sign_open
from clarion_kit.vocabulary import Channel, Receipt
from clarion_tracker.activity import AppEvent, Kind
from clarion_tracker.adapters import activity_table
from clarion_tracker.app_event_body import MAX_EVENTS, TooWrong, read
from clarion_tracker.app_events import MAX_BODY_BYTES, MAX_CALLS, AppEventDoor
from clarion_tracker.inbound import Result
from clarion_tracker.ports import Reply, Request

from .tracker_calls import Bytes
from .tracker_samples import FakeActivities, count, tracked

KEY = bytes(range(32))
LINK = OpenLink(1, UUID(int=5), 2, 3, "KR", Channel.IOS)
TOKEN = sign_event(KEY, LINK)
JSON = "application/json"


def event(kind: str = "opened", id_: str = "e1", token: str = TOKEN, **more: object) -> dict[str, object]:
    return {"token": token, "id": id_, "type": kind, **more}


class Site:
    def __init__(self, key: bytes | None = KEY) -> None:
        counter, self.metrics = tracked()
        self.events = FakeActivities()
        self.door = AppEventDoor(key, self.events, counter)

    async def post(self, body: bytes, *, content_type: str = JSON, method: str = "POST", **headers: str) -> Reply:
        told = {"content-type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.door.answer(Request(method, "/v1/events", headers=told, body=Bytes(body)))

    async def tell(self, *events: dict[str, object]) -> dict[str, object]:
        reply = await self.post(json.dumps({"events": events}).encode())
        assert reply.status == 200, reply.body
        answer: dict[str, object] = json.loads(reply.body)
        return answer

    def counted(self, result: str) -> float:
        return count(self.metrics, "app_event", result)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("received", Kind.RECEIVED),
        ("opened", Kind.PUSH_OPENED),
        ("clicked", Kind.PUSH_CLICKED),
        ("closed", Kind.CLOSED),
        ("read", Kind.READ),
    ],
)
async def test_event_is_stored_for_the_delivery_of_its_token(kind: str, stored: Kind) -> None:
    site = Site()

    assert await site.tell(event(kind)) == {"stored": 1, "repeated": 0, "refused": []}
    assert list(site.events.told.values()) == [AppEvent(LINK, stored, "e1")]


async def test_conversion_has_a_name_and_a_value() -> None:
    site = Site()

    await site.tell(
        event("converted", name="purchase", value="12.50", currency="EUR"),
        event("converted", "e2", name="sign-up"),
        event("converted", "e3", name="points", value=7),
    )

    assert list(site.events.told.values()) == [
        AppEvent(LINK, Kind.CONVERTED, "e1", "purchase", Decimal("12.50"), "EUR"),
        AppEvent(LINK, Kind.CONVERTED, "e2", "sign-up"),
        AppEvent(LINK, Kind.CONVERTED, "e3", "points", Decimal(7)),
    ]


async def test_event_that_comes_again_counts_once() -> None:
    site = Site()
    await site.tell(event(), event("opened", "e2"))

    assert await site.tell(event(), event("opened", "e3")) == {"stored": 1, "repeated": 1, "refused": []}
    assert (site.counted("stored"), site.counted("repeated")) == (3, 1)


async def test_token_that_is_not_ours_is_refused_and_the_rest_is_stored() -> None:
    site = Site()

    answer = await site.tell(event(token="x" * 64), event(), event(token=sign_open(KEY, LINK)), event(token=""))

    assert answer == {"stored": 1, "repeated": 0, "refused": [0, 2, 3]}
    assert site.counted("refused") == 3


@given(st.integers(0, 48 * 8 - 1))
async def test_no_flipped_bit_tells_anything(bit: int) -> None:
    signed = bytearray(base64.urlsafe_b64decode(TOKEN))
    signed[bit // 8] ^= 1 << bit % 8
    site = Site()

    answer = await site.tell(event(token=base64.urlsafe_b64encode(bytes(signed)).decode()))

    assert answer["refused"] == [0]
    assert site.events.told == {}


async def test_without_a_key_every_token_is_refused() -> None:
    assert (await Site(key=None).tell(event()))["refused"] == [0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"events": []}',
        b'{"events": {}}',
        b'{"events": [1]}',
        b'{"events": [{}]}',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"events": [' + b'{"a":' * 9_000,
        json.dumps({"events": [event()] * (MAX_EVENTS + 1)}).encode(),
        json.dumps({"events": [event("arrived")]}).encode(),
        json.dumps({"events": [event(id_="")]}).encode(),
        json.dumps({"events": [event(id_="a b")]}).encode(),
        json.dumps({"events": [event(id_="x" * 65)]}).encode(),
        json.dumps({"events": [event(token="t" * 200)]}).encode(),
        json.dumps({"events": [event("converted")]}).encode(),
        json.dumps({"events": [event("opened", name="purchase")]}).encode(),
        json.dumps({"events": [event("converted", name="a\0b")]}).encode(),
        json.dumps({"events": [event("converted", name="n" * 65)]}).encode(),
        json.dumps({"events": [event("converted", name="n", value="1e999")]}).encode(),
        json.dumps({"events": [event("converted", name="n", value="NaN")]}).encode(),
        json.dumps({"events": [event("converted", name="n", value="0.1234567")]}).encode(),
        json.dumps({"events": [event("converted", name="n", currency="euro")]}).encode(),
        b'{"events": [{"token": "t", "id": "e", "type": "converted", "name": "\\ud800"}]}',
    ],
)
async def test_what_no_app_may_say_is_refused_whole(body: bytes) -> None:
    site = Site()

    reply = await site.post(body)

    assert reply.status == 400
    assert len(reply.body) < 400
    assert site.counted("malformed") == 1


def test_fault_names_its_place_and_shows_nothing_of_it() -> None:
    body = json.dumps({"events": [event(), event(id_="secret secret")]}).encode()

    with pytest.raises(TooWrong, match=r"^events\.1\.id: ") as caught:
        read(body)
    assert "secret" not in str(caught.value)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_and_never_raise(body: bytes) -> None:
    with pytest.raises(TooWrong):
        read(body)


def test_fields_of_a_later_version_are_passed_over() -> None:
    [told] = read(json.dumps({"events": [event(at="2030-01-01T00:00:00Z", battery=7)], "sdk": "9"}).encode())
    assert told.id == "e1"


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain;charset=UTF-8", "TEXT/PLAIN"])
async def test_browsers_may_send_text_without_asking(content_type: str) -> None:
    reply = await Site().post(json.dumps({"events": [event()]}).encode(), content_type=content_type)

    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "*")


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [("", "identity"), ("application/x-www-form-urlencoded", "identity"), ("text/html", "identity"), (JSON, "gzip")],
)
async def test_other_types_and_compression_are_refused_unread(content_type: str, encoding: str) -> None:
    assert (await Site().post(b"{}", content_type=content_type, content_encoding=encoding)).status == 415


async def test_browser_that_asks_is_told_what_it_may_send() -> None:
    reply = await Site().post(b"", method="OPTIONS")

    assert reply.status == 204
    assert reply.headers["access-control-allow-methods"] == "POST"
    assert reply.headers["access-control-allow-headers"] == "content-type"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_events_are_only_posted(method: str) -> None:
    assert (await Site().post(b"", method=method)).status == 405


async def test_body_over_its_limit_is_refused() -> None:
    assert (await Site().post(b" " * (MAX_BODY_BYTES + 1))).status == 413


async def test_nothing_is_acknowledged_while_the_ledger_is_away() -> None:
    site = Site()
    site.events.away = True

    reply = await site.post(json.dumps({"events": [event()]}).encode())

    assert (reply.status, reply.headers["retry-after"]) == (503, "30")
    assert site.counted("unavailable") == 1


async def test_calls_beyond_what_is_answered_at_once_come_again_unread() -> None:
    site = Site()
    site.door._calls = MAX_CALLS

    assert (await site.post(b"not even read")).status == 503


def test_stored_receipts_are_read_back() -> None:
    body = json.dumps([[str(LINK.delivery_id), 3, "app:push_opened"]]).encode()

    assert activity_table.read(body) == (
        ProviderReceipt(receipt=Receipt.SEEN, code="app:push_opened", delivery_id=LINK.delivery_id),
    )


@pytest.mark.parametrize("body", [b"", b"{}x", b"[1]", b'[["x", 3, ""]]', b'[["", 99, ""]]', b"\xff"])
def test_receipts_that_cannot_be_read_end_as_malformed(body: bytes) -> None:
    assert activity_table.read(body) is Result.MALFORMED
