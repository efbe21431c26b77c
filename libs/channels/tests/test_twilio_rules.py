"""Rules of the Twilio provider without a network: forms, answers, receipts."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl
from uuid import uuid4

import pytest

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address, AndroidDevice, PhoneNumber
from clarion.types.v1.channel_pb2 import PRIORITY_NORMAL
from clarion.types.v1.content_pb2 import SmsContent
from clarion_channels.errortable import ErrorTable, load
from clarion_channels.http import HttpAnswer
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message
from clarion_channels.providers.twilio.answer import classify
from clarion_channels.providers.twilio.payload import InvalidMessage, build_form
from clarion_channels.providers.twilio.receipts import Forged, Malformed, parse, read_form, verify
from clarion_channels.providers.twilio.settings import TwilioSettings
from clarion_channels.receipt import News
from clarion_kit.vocabulary import Receipt

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TABLE = load("twilio")
NUMBER = "+821012345678"


def settings(**changes: object) -> TwilioSettings:
    document = {"account_sid": "AC" + "0" * 32, "auth_token": "secret", "sender": "+15005550006"}
    return TwilioSettings.model_validate({**document, **changes})


def message(text: str = "Hi", number: str = NUMBER, left: timedelta = timedelta(hours=1)) -> Message:
    return Message(
        uuid4(), Address(sms=PhoneNumber(e164=number)), Rendered(sms=SmsContent(text=text)), PRIORITY_NORMAL, NOW + left
    )


def form(given: Message, **changes: object) -> dict[str, str]:
    pairs = parse_qsl(build_form(given, settings(**changes), NOW).decode("ascii"), strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def refusal(given: Message, **changes: object) -> str:
    with pytest.raises(InvalidMessage) as caught:
        build_form(given, settings(**changes), NOW)
    return caught.value.code


def test_form_carries_number_text_sender_deadline_and_callback() -> None:
    callback = "https://tracker.example.com/v1/callbacks/twilio/7"
    assert form(message("a+b & ü€"), status_callback=callback) == {
        "To": NUMBER,
        "From": "+15005550006",
        "Body": "a+b & ü€",
        "ValidityPeriod": "3600",
        "StatusCallback": callback,
    }


def test_messaging_service_stands_instead_of_the_sender() -> None:
    service = "MG" + "0" * 32
    found = form(message(), sender="", messaging_service_sid=service)
    assert (found["MessagingServiceSid"], "From" in found) == (service, False)


@pytest.mark.parametrize(("seconds", "validity"), [(1, "1"), (1.9, "1"), (36_000, "36000"), (86_400, "36000")])
def test_deadline_becomes_a_validity_of_one_second_to_ten_hours(seconds: float, validity: str) -> None:
    assert form(message(left=timedelta(seconds=seconds)))["ValidityPeriod"] == validity


def test_typographic_characters_are_replaced_only_where_that_saves_segments() -> None:
    assert form(message("\u201cHi\u201d"))["Body"] == '"Hi"'
    assert form(message("\u201cHi\u201d"), transliterate=False)["Body"] == "\u201cHi\u201d"
    assert form(message("\u201cHi\u201d \u4f60"))["Body"] == "\u201cHi\u201d \u4f60"


def test_text_of_1600_characters_is_sent_and_one_more_is_refused() -> None:
    assert len(form(message("x" * 1600), max_segments=255)["Body"]) == 1600
    assert refusal(message("x" * 1601), max_segments=255) == "local:text_too_long"


@pytest.mark.parametrize(
    ("text", "fits"), [("x" * 306, True), ("x" * 307, False), ("你" * 134, True), ("你" * 135, False)]
)
def test_segments_are_counted_as_phones_count_them(text: str, fits: bool) -> None:
    if fits:
        assert form(message(text), max_segments=2)["Body"] == text
    else:
        assert refusal(message(text), max_segments=2) == "local:too_many_segments"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (message(""), "local:no_text"),
        (message(number="821012345678"), "local:number"),
        (message(number="+82101234567890123"), "local:number"),
        (
            Message(uuid4(), Address(android=AndroidDevice(token="t")), Rendered(), PRIORITY_NORMAL, NOW),
            "local:not_for_phones",
        ),
    ],
)
def test_message_that_cannot_be_sent_is_refused(given: Message, code: str) -> None:
    assert refusal(given) == code


@pytest.fixture(scope="module")
def table() -> ErrorTable:
    return load("twilio")


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize(("body", "sid"), [(b'{"sid":"SM1"}', "SM1"), (b"<html>", ""), (b'{"sid":"a b"}', "")])
def test_created_message_is_accepted_with_or_without_a_sid(
    table: ErrorTable, status: int, body: bytes, sid: str
) -> None:
    result = classify(table, HttpAnswer(status, {}, body), NUMBER, NOW)
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, sid)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, b'{"code":29999}', Outcome.BAD),
        (400, b"<html>", Outcome.BAD),
        (401, b"", Outcome.CRED),
        (403, b'{"code":20403}', Outcome.CRED),
        (404, b"", Outcome.CRED),
        (429, b"", Outcome.THROTTLE),
        (500, b'{"code":29999}', Outcome.RETRY),
        (302, b"", Outcome.BAD),
    ],
)
def test_unlisted_code_takes_the_class_of_its_status(
    table: ErrorTable, status: int, body: bytes, outcome: Outcome
) -> None:
    result = classify(table, HttpAnswer(status, {}, body), NUMBER, NOW)
    assert (result.outcome, result.code.startswith("unlisted:")) == (outcome, True)


@pytest.mark.parametrize(
    ("status", "body", "outcome", "retry_after"),
    [
        (503, b"", Outcome.AFTER, timedelta(seconds=7)),
        (429, b"", Outcome.THROTTLE, timedelta(seconds=7)),
        (400, b'{"code":21211}', Outcome.DEAD, None),
    ],
)
def test_retry_after_is_a_floor_for_what_is_tried_again(
    table: ErrorTable, status: int, body: bytes, outcome: Outcome, retry_after: timedelta | None
) -> None:
    result = classify(table, HttpAnswer(status, {"retry-after": "7"}, body), NUMBER, NOW)
    assert (result.outcome, result.retry_after) == (outcome, retry_after)


@pytest.mark.parametrize("shown", ["+821012345678", "821012345678"])
def test_detail_never_repeats_the_number(table: ErrorTable, shown: str) -> None:
    body = f'{{"code":21211,"message":"The number {shown} is not valid"}}'.encode()
    assert classify(table, HttpAnswer(400, {}, body), NUMBER, NOW).detail == "The number [removed] is not valid"


# The example of Twilio's documentation.
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FIELDS = [
    ("To", "+18005551212"),
    ("Digits", "1234"),
    ("CallSid", "CA1234567890ABCDE"),
    ("From", "+12349013030"),
    ("Caller", "+12349013030"),
]
SIGNATURE = "0/KCTR6DLpKmkAf8muzZqo1nDgQ="


def test_published_signature_is_good_whatever_the_order_of_the_fields() -> None:
    verify(URL, FIELDS, SIGNATURE, "12345")
    verify(URL, FIELDS[::-1], SIGNATURE, "12345")


@pytest.mark.parametrize(
    ("url", "fields", "signature", "auth_token"),
    [
        (URL + "&", FIELDS, SIGNATURE, "12345"),
        (URL, FIELDS[1:], SIGNATURE, "12345"),
        (URL, [*FIELDS, ("MessageStatus", "delivered")], SIGNATURE, "12345"),
        (URL, FIELDS, SIGNATURE, "12346"),
        (URL, FIELDS, "", "12345"),
        (URL, FIELDS, SIGNATURE[:-1], "12345"),
        (URL, FIELDS, "\u00e9", "12345"),
        (URL, FIELDS, SIGNATURE, ""),
    ],
    ids=["URL", "field missing", "field added", "token", "none", "torn", "not ASCII", "no token configured"],
)
def test_anything_else_than_what_was_signed_is_forged(
    url: str, fields: list[tuple[str, str]], signature: str, auth_token: str
) -> None:
    with pytest.raises(Forged):
        verify(url, fields, signature, auth_token)


@pytest.mark.parametrize(
    ("status", "receipt"),
    [
        ("queued", None),
        ("sent", None),
        ("partially_delivered", None),
        ("failed", Receipt.UNDELIVERED),
        ("undelivered", Receipt.UNDELIVERED),
        ("canceled", Receipt.UNDELIVERED),
        ("delivered", Receipt.DELIVERED),
        ("read", Receipt.SEEN),
    ],
)
def test_status_says_what_became_of_the_delivery(status: str, receipt: Receipt | None) -> None:
    found = parse(read_form(f"MessageSid=SM01&MessageStatus={status}&ErrorCode=30003".encode()), TABLE)
    assert (found.ids, found.receipt, found.code) == (("sm01",), receipt, "30003")
    assert found.empty is (receipt is None)


@pytest.mark.parametrize(
    ("status", "code", "news"),
    [
        ("undelivered", "30003", News.SOFT_BOUNCE),
        ("undelivered", "30005", News.DEAD),
        ("undelivered", "30006", News.DEAD),
        ("failed", "21610", News.STOPPED),
        ("failed", "30008", None),
        ("failed", "30007", None),
        ("failed", "0", None),
        ("failed", "99999", None),
        ("delivered", "0", News.ARRIVED),
        ("sent", "30005", None),
    ],
)
def test_code_says_what_it_is_for_the_number(status: str, code: str, news: News | None) -> None:
    found = parse(read_form(f"MessageSid=SM1&MessageStatus={status}&ErrorCode={code}".encode()), TABLE)
    assert found.news is news


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"MessageSid=SM1",
        b"MessageSid=SM1&MessageStatus=received",
        b"MessageStatus=sent",
        b"MessageSid=S%00M&MessageStatus=sent",
        b"MessageSid=SM1&MessageStatus=sent&ErrorCode=x",
        "MessageSid=é".encode(),
        b"MessageSid=%FF&MessageStatus=sent",
        b"&".join(b"a=1" for _ in range(101)),
    ],
)
def test_form_that_is_no_status_callback_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(read_form(body), TABLE)
