"""The door for callbacks: what is let in, and that nothing else is, with signatures made as the providers make them."""

import string
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from clarion_kit.sealing import KeyWrapper
from clarion_ledger.db import pool
from clarion_ledger.keys import KeyRing
from clarion_tracker.adapters import huawei, sendgrid, ses, twilio
from clarion_tracker.adapters.inbound_table import InboundTable
from clarion_tracker.callbacks import Call, Callbacks, Source
from clarion_tracker.ports import Reply, Request

from .tracker_calls import (
    APP,
    CERTIFICATE_URL,
    CONFIRM_URL,
    HUAWEI_LANE,
    NOW,
    OTHER_APP,
    OTHER_TWILIO_LANE,
    OTHER_TWILIO_TOKEN,
    SENDGRID_LANE,
    SES_LANE,
    TWILIO_LANE,
    Bytes,
    Sns,
    huawei_account,
    huawei_call,
    sendgrid_account,
    sendgrid_call,
    ses_account,
    twilio_account,
    twilio_call,
)
from .tracker_samples import FakeAccounts, FakeArrivals, FixedClock, count, tracked

STATUS = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+821012345678"}
MINUTE = timedelta(minutes=1)


class Door:
    """The door with an account of each provider."""

    def __init__(self) -> None:
        counter, self.metrics = tracked()
        self.sns = Sns()
        self.accounts = FakeAccounts(
            twilio_account(),
            twilio_account(OTHER_TWILIO_LANE, OTHER_TWILIO_TOKEN, OTHER_APP),
            huawei_account(),
            sendgrid_account(),
            ses_account(),
        )
        self.arrivals = FakeArrivals()
        sources: dict[str, Source] = {
            "twilio": twilio.Source(),
            "huawei": huawei.Source(),
            "sendgrid": sendgrid.Source(),
            "ses": ses.Source(self.sns.fetch),
        }
        self._callbacks = Callbacks(sources, self.accounts, self.arrivals, counter, FixedClock(NOW))

    async def call(self, request: Request) -> Reply:
        _, _, _, kind, lane = request.path.split("/")
        return await self._callbacks.answer(request, kind, lane)


@pytest.fixture
def door() -> Door:
    return Door()


def genuine(door: Door, kind: str) -> Request:
    match kind:
        case "twilio":
            return twilio_call(STATUS)
        case "huawei":
            return huawei_call([{"token": "t", "requestId": "r", "status": 0, "timestamp": 1}])
        case "sendgrid":
            return sendgrid_call([{"event": "delivered", "sg_event_id": "e"}])
        case _:
            return door.sns.call()


LANES = {"twilio": TWILIO_LANE, "huawei": HUAWEI_LANE, "sendgrid": SENDGRID_LANE, "ses": SES_LANE}
KINDS = pytest.mark.parametrize("kind", list(LANES))
STORED_AS = {
    "twilio": "twilio.callback",
    "huawei": "huawei.receipts",
    "sendgrid": "sendgrid.events",
    "ses": "ses.sns",
}


@KINDS
async def test_genuine_call_is_stored_as_it_came_and_then_answered(door: Door, kind: str) -> None:
    call = genuine(door, kind)

    reply = await door.call(call)

    assert isinstance(call.body, Bytes)
    assert reply.status in (200, 204)
    assert door.arrivals.stored == [(APP, LANES[kind], STORED_AS[kind], call.body.content)]


@KINDS
async def test_call_that_comes_again_is_answered_and_stored_once(door: Door, kind: str) -> None:
    call = genuine(door, kind)

    statuses = [(await door.call(call)).status for _ in range(3)]

    assert set(statuses) <= {200, 204}
    assert len(door.arrivals.stored) == 1


@KINDS
async def test_nothing_is_lost_while_it_cannot_be_stored(door: Door, kind: str) -> None:
    door.arrivals.away = True
    away = await door.call(genuine(door, kind))
    door.arrivals.away = False
    door.accounts.away = True
    unknown = await door.call(genuine(door, kind))
    door.accounts.away = False

    again = await door.call(genuine(door, kind))

    assert (away.status, unknown.status) == (503, 503)
    assert "retry-after" in away.headers
    assert again.status in (200, 204)
    assert len(door.arrivals.stored) == 1


def _without_signature(call: Request) -> Request:
    kept = {name: value for name, value in call.headers.items() if name == "content-type"}
    return replace(call, headers=kept)


def _other_body(call: Request) -> Request:
    assert isinstance(call.body, Bytes)
    return replace(
        call, body=Bytes(call.body.content.replace(b"delivered", b"undelivered").replace(b"m1", b"m2") + b" ")
    )


def _unknown_account(call: Request) -> Request:
    return replace(call, path=call.path.rpartition("/")[0] + "/999")


def _account_of_another_kind(call: Request) -> Request:
    lane = SES_LANE if "twilio" in call.path else TWILIO_LANE
    return replace(call, path=f"{call.path.rpartition('/')[0]}/{lane}")


def _no_number(call: Request) -> Request:
    return replace(call, path=call.path.rpartition("/")[0] + "/1e3")


def _number_too_big(call: Request) -> Request:
    return replace(call, path=call.path.rpartition("/")[0] + "/9999999999")


FORGERIES: list[Callable[[Request], Request]] = [
    _without_signature,
    _other_body,
    _unknown_account,
    _account_of_another_kind,
    _no_number,
    _number_too_big,
]


@KINDS
@pytest.mark.parametrize("forge", FORGERIES)
async def test_forged_call_is_refused_with_one_text(door: Door, kind: str, forge: Callable[[Request], Request]) -> None:
    forged = forge(genuine(door, kind))
    # Huawei signs no bodies and SNS no headers.
    unsigned = {"huawei": _other_body, "ses": _without_signature}
    if unsigned.get(kind) is forge:
        forged = _unknown_account(forged)

    reply = await door.call(forged)

    assert (reply.status, reply.body, dict(reply.headers)) == (403, b"refused\n", {})
    assert door.arrivals.stored == []
    assert count(door.metrics, "callback", "refused") == 1


@KINDS
@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda call: replace(call, method="GET"), 405),
        (lambda call: replace(call, headers={**call.headers, "content-type": "text/html"}), 415),
        (lambda call: replace(call, headers={**call.headers, "content-encoding": "gzip"}), 415),
        (lambda call: replace(call, body=Bytes(bytes((1 << 20) + 1))), 413),
        (lambda call: replace(call, path="/v1/callbacks/vonage/1"), 404),
    ],
)
async def test_call_of_a_wrong_form_is_refused(
    door: Door, kind: str, change: Callable[[Request], Request], status: int
) -> None:
    assert (await door.call(change(genuine(door, kind)))).status == status
    assert door.arrivals.stored == []


@pytest.mark.parametrize("kind", ["twilio", "huawei", "ses"])
async def test_only_batches_may_be_longer_than_64_kib(door: Door, kind: str) -> None:
    assert (await door.call(replace(genuine(door, kind), body=Bytes(bytes((64 << 10) + 1))))).status == 413


async def test_batch_of_sendgrid_may_have_a_mebibyte(door: Door) -> None:
    events = [{"event": "delivered", "sg_event_id": f"{n:0200}"} for n in range(3_800)]

    assert (await door.call(sendgrid_call(events))).status == 204


@pytest.mark.parametrize("age", [-6 * MINUTE, 6 * MINUTE])
async def test_call_that_was_signed_at_another_time_is_refused(door: Door, age: timedelta) -> None:
    day = timedelta(days=2) if age > timedelta(0) else -timedelta(days=2)

    assert (await door.call(huawei_call([], at=NOW - age))).status == 403
    assert (await door.call(sendgrid_call([], at=NOW - age))).status == 403
    assert (await door.call(door.sns.call(at=NOW - day))).status == 403


def _with_other_spare_bits(header: str) -> str:
    """The last letter of 32 bytes in base64 holds two bits that mean nothing."""
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
    return f"{header[:-2]}{letters[letters.index(header[-2]) ^ 1]}="


@pytest.mark.parametrize(
    "written",
    [
        lambda header: header,
        lambda header: header.replace("; ", " ;  "),
        lambda header: "; ".join(reversed(header.split("; "))),
        lambda header: f"more=1; {header}",
        lambda header: f"nonce=other; {header}",
        _with_other_spare_bits,
    ],
)
async def test_header_of_huawei_serves_one_body_however_it_is_written(
    door: Door, written: Callable[[str], str]
) -> None:
    first = huawei_call([{"token": "t", "requestId": "r", "status": 0}])
    name = "x-huawei-callback-id"
    stolen = replace(
        first,
        headers={**first.headers, name: written(first.headers[name])},
        body=Bytes(b'{"statuses":[{"token":"t","requestId":"r","status":2}]}'),
    )

    assert (await door.call(first)).status == (await door.call(stolen)).status == 200
    assert len(door.arrivals.stored) == 1


async def test_call_for_another_account_of_twilio_is_refused(door: Door) -> None:
    assert (await door.call(twilio_call(STATUS, to=OTHER_TWILIO_LANE))).status == 403
    assert (await door.call(twilio_call(STATUS, lane=OTHER_TWILIO_LANE))).status == 403


async def test_twilio_signs_the_query_too(door: Door) -> None:
    call = twilio_call(STATUS, query="a=b")

    assert (await door.call(call)).status == 204
    assert (await door.call(replace(call, query="a=c"))).status == 403


async def test_fields_of_twilio_in_another_order_are_the_same_call(door: Door) -> None:
    call = twilio_call(STATUS)
    assert isinstance(call.body, Bytes)
    turned = Bytes(b"&".join(reversed(call.body.content.split(b"&"))))

    assert (await door.call(call)).status == (await door.call(replace(call, body=turned))).status == 204
    assert len(door.arrivals.stored) == 1


async def test_vector_of_twilio_verifies() -> None:
    """The published one (providers.md §6.1)."""
    fields = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+12349013030",
        "Digits": "1234",
        "From": "+12349013030",
        "To": "+18005551212",
    }
    call = twilio_call(fields)
    verifier = twilio.Verifier("https://mycompany.com/myapp.php", "12345")
    signed = {"x-twilio-signature": "0/KCTR6DLpKmkAf8muzZqo1nDgQ="}
    assert isinstance(call.body, Bytes)

    assert (await verifier.check(Call("foo=1&bar=2", signed, call.body.content), NOW)).kept


async def test_account_without_callback_credentials_takes_none(door: Door) -> None:
    kind, account = huawei_account()
    unsigned = replace(account, revision=2, settings=b'{"client_id": "1", "client_secret": "s"}')
    door.accounts.by_id[HUAWEI_LANE] = (kind, unsigned)

    assert (await door.call(genuine(door, "huawei"))).status == 403


async def test_new_credentials_of_an_account_count_at_once(door: Door) -> None:
    assert (await door.call(twilio_call(STATUS))).status == 204
    kind, account = twilio_account(token="n" * 32)
    door.accounts.by_id[TWILIO_LANE] = (kind, replace(account, revision=2))

    assert (await door.call(twilio_call(STATUS | {"MessageSid": "SM2"}))).status == 403
    assert (await door.call(twilio_call(STATUS | {"MessageSid": "SM2"}, token="n" * 32))).status == 204


async def test_certificate_of_sns_is_fetched_once(door: Door) -> None:
    for n in range(3):
        assert (await door.call(door.sns.call(message_id=f"m{n}"))).status == 200

    assert door.sns.fetched == [CERTIFICATE_URL]


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem",
        "https://evil.example/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-1.pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-1.pem",
        "https://sns.eu-west-1.amazonaws.com/bucket/mine.pem",
        "https://s3.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
    ],
)
async def test_certificate_from_elsewhere_is_not_even_fetched(door: Door, url: str) -> None:
    assert (await door.call(door.sns.call(certificate_url=url))).status == 403
    assert door.sns.fetched == []


async def test_message_of_another_topic_fetches_nothing(door: Door) -> None:
    assert (await door.call(door.sns.call(topic="arn:aws:sns:eu-west-1:999999999999:mail"))).status == 403
    assert door.sns.fetched == []


async def test_certificate_that_cannot_be_had_is_asked_for_later(door: Door) -> None:
    door.sns.away = True
    away = await door.call(door.sns.call())
    door.sns.away = False

    assert (away.status, (await door.call(door.sns.call())).status) == (503, 200)


async def test_subscription_of_the_accounts_topic_is_confirmed_and_not_stored(door: Door) -> None:
    reply = await door.call(door.sns.call(kind="SubscriptionConfirmation"))

    assert reply.status == 200
    assert door.sns.fetched == [CERTIFICATE_URL, CONFIRM_URL]
    assert door.arrivals.stored == []


@pytest.mark.parametrize(
    "call",
    [
        lambda sns: sns.call(kind="SubscriptionConfirmation", topic="arn:aws:sns:eu-west-1:999999999999:mail"),
        lambda sns: sns.call(kind="SubscriptionConfirmation", subscribe_url="https://10.0.0.1/"),
    ],
)
async def test_no_other_subscription_is_confirmed(door: Door, call: Callable[[Sns], Request]) -> None:
    assert (await door.call(call(door.sns))).status == 403
    assert CONFIRM_URL not in door.sns.fetched
    assert not any("10.0.0.1" in url for url in door.sns.fetched)


async def test_huawei_reads_what_it_wants_to_read(door: Door) -> None:
    reply = await door.call(genuine(door, "huawei"))

    assert (reply.content_type, reply.body) == ("application/json", b'{"code":"0","message":"success"}')


async def test_database_that_is_away_asks_the_provider_to_call_again(door: Door, kek: KeyWrapper) -> None:
    counter, metrics = tracked()
    async with pool("postgresql://nobody@127.0.0.1:1/none", size=1, application="test") as nowhere:
        table = InboundTable(nowhere, KeyRing(nowhere, kek), [])
        callbacks = Callbacks({"twilio": twilio.Source()}, door.accounts, table, counter, FixedClock(NOW))

        reply = await callbacks.answer(genuine(door, "twilio"), "twilio", str(TWILIO_LANE))

    assert (reply.status, reply.headers["retry-after"]) == (503, "30")
    assert count(metrics, "callback", "unavailable") == 1
