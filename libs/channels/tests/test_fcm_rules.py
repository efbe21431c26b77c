import json
from datetime import UTC, datetime, timedelta

import pytest

from clarion.types.v1.address_pb2 import ANDROID_PUSH_SERVICE_HUAWEI, Address, AndroidDevice, PhoneNumber
from clarion.types.v1.channel_pb2 import PRIORITY_BULK, PRIORITY_NORMAL, PRIORITY_URGENT, Priority
from clarion.types.v1.content_pb2 import AndroidOptions, PushContent
from clarion_channels.errortable import ErrorTable, load
from clarion_channels.http import HttpAnswer
from clarion_channels.outcome import Outcome
from clarion_channels.port import Message
from clarion_channels.providers.fcm.answer import classify
from clarion_channels.providers.fcm.payload import build_body
from clarion_channels.push.content import InvalidMessage

from .push_messages import push_message

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DEVICE = Address(android=AndroidDevice(token="registration-token"))
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


def sent(message: Message) -> dict[str, object]:
    document = json.loads(build_body(message, NOW))
    assert set(document) == {"message"}
    inner = document["message"]
    assert isinstance(inner, dict)
    return inner


def test_message_carries_everything_the_content_says() -> None:
    message = push_message(
        DEVICE,
        PushContent(
            title="Order 7",
            body="is on its way",
            image_url="https://example.com/a.png",
            link="shop://orders/7",
            data={"order": "7"},
            android=AndroidOptions(
                channel_id="orders",
                icon="van",
                color="#112233",
                sound="default",
                tag="order-7",
                click_action="OPEN_ORDER",
                visibility="secret",
                notification_count=0,
                sticky=True,
            ),
        ),
        collapse_key="order-7",
        expire_at=NOW + timedelta(minutes=5),
    )
    assert sent(message) == {
        "token": "registration-token",
        "notification": {"title": "Order 7", "body": "is on its way", "image": "https://example.com/a.png"},
        "data": {"order": "7", "clarion_delivery_id": str(message.delivery_id), "clarion_link": "shop://orders/7"},
        "android": {
            "priority": "HIGH",
            "ttl": "300s",
            "collapse_key": "order-7",
            "notification": {
                "channel_id": "orders",
                "icon": "van",
                "color": "#112233",
                "sound": "default",
                "tag": "order-7",
                "click_action": "OPEN_ORDER",
                "visibility": "SECRET",
                "notification_count": 0,
                "sticky": True,
            },
        },
    }


def test_data_only_message_leaves_drawing_to_the_app() -> None:
    push = PushContent(title="T", body="B", image_url="https://a/b", android=AndroidOptions(data_only=True, tag="t"))
    message = push_message(DEVICE, push)
    document = sent(message)
    assert "notification" not in document
    assert document["data"] == {
        "clarion_delivery_id": str(message.delivery_id),
        "clarion_title": "T",
        "clarion_body": "B",
        "clarion_image_url": "https://a/b",
    }


@pytest.mark.parametrize(
    ("priority", "expected"), [(PRIORITY_URGENT, "HIGH"), (PRIORITY_NORMAL, "HIGH"), (PRIORITY_BULK, "NORMAL")]
)
def test_only_bulk_may_wait_for_the_device_to_wake(priority: Priority.ValueType, expected: str) -> None:
    android = sent(push_message(DEVICE, priority=priority))["android"]
    assert isinstance(android, dict)
    assert android["priority"] == expected


@pytest.mark.parametrize(
    ("left", "ttl"),
    [(timedelta(seconds=9.9), "9s"), (timedelta(seconds=-1), "0s"), (timedelta(days=90), "2419200s")],
)
def test_deadline_becomes_ttl_within_28_days(left: timedelta, ttl: str) -> None:
    android = sent(push_message(DEVICE, expire_at=NOW + left))["android"]
    assert isinstance(android, dict)
    assert android["ttl"] == ttl


def test_payload_of_4096_bytes_is_sent_and_one_more_is_refused() -> None:
    def with_body(length: int) -> bytes:
        return build_body(push_message(DEVICE, PushContent(body="x" * length)), NOW)

    empty = len(json.dumps({"notification": {"body": ""}, "data": {"clarion_delivery_id": "x" * 36}}))
    room = 4096 - (empty - json.dumps({"notification": {"body": ""}, "data": {"clarion_delivery_id": ""}}).count(" "))
    with_body(room)
    with pytest.raises(InvalidMessage) as caught:
        with_body(room + 1)
    assert caught.value.code == "local:payload_too_large"


@pytest.mark.parametrize(
    ("address", "code"),
    [
        (Address(sms=PhoneNumber(e164="+821012345678")), "local:not_for_android"),
        (Address(android=AndroidDevice(token="t", service=ANDROID_PUSH_SERVICE_HUAWEI)), "local:push_service"),
    ],
)
def test_address_of_another_service_is_refused(address: Address, code: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        build_body(push_message(address), NOW)
    assert caught.value.code == code


@pytest.fixture(scope="module")
def table() -> ErrorTable:
    return load("fcm")


def error(status: str, *details: dict[str, object], message: str = "") -> bytes:
    return json.dumps({"error": {"code": 0, "status": status, "message": message, "details": details}}).encode()


def fcm_error(code: str) -> dict[str, object]:
    return {"@type": FCM_ERROR, "errorCode": code}


VIOLATION: dict[str, object] = {"@type": BAD_REQUEST, "fieldViolations": [{"field": "message.android.ttl"}]}
NOT_VALID = "The registration token is not a valid FCM registration token"


# Typed from Google's documentation of error codes, not read from the table.
@pytest.mark.parametrize(
    ("status", "body", "outcome", "code"),
    [
        (
            400,
            error("INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), message=NOT_VALID),
            Outcome.DEAD,
            "400:INVALID_ARGUMENT.token",
        ),
        (
            400,
            error("INVALID_ARGUMENT", fcm_error("INVALID_ARGUMENT"), message="Message is too big"),
            Outcome.BAD,
            "400:INVALID_ARGUMENT",
        ),
        (400, error("INVALID_ARGUMENT", VIOLATION, message=NOT_VALID), Outcome.BAD, "400:FIELD_VIOLATION"),
        (404, error("NOT_FOUND", fcm_error("UNREGISTERED")), Outcome.DEAD, "404:UNREGISTERED"),
        (404, error("NOT_FOUND"), Outcome.CRED, "404:NOT_FOUND"),
        (403, error("PERMISSION_DENIED", fcm_error("SENDER_ID_MISMATCH")), Outcome.DEAD, "403:SENDER_ID_MISMATCH"),
        (403, error("PERMISSION_DENIED"), Outcome.CRED, "403:PERMISSION_DENIED"),
        (401, error("UNAUTHENTICATED"), Outcome.CRED, "401:UNAUTHENTICATED"),
        (
            401,
            error("UNAUTHENTICATED", fcm_error("THIRD_PARTY_AUTH_ERROR")),
            Outcome.CRED,
            "401:THIRD_PARTY_AUTH_ERROR",
        ),
        (429, error("RESOURCE_EXHAUSTED", fcm_error("QUOTA_EXCEEDED")), Outcome.THROTTLE, "429:QUOTA_EXCEEDED"),
        (429, error("RESOURCE_EXHAUSTED"), Outcome.THROTTLE, "429:RESOURCE_EXHAUSTED"),
        (500, error("INTERNAL", fcm_error("INTERNAL")), Outcome.RETRY, "500:INTERNAL"),
        (503, error("UNAVAILABLE", fcm_error("UNAVAILABLE")), Outcome.RETRY, "503:UNAVAILABLE"),
        (500, error("INTERNAL", fcm_error("UNSPECIFIED_ERROR")), Outcome.RETRY, "500:UNSPECIFIED_ERROR"),
        (400, b"", Outcome.BAD, "unlisted:400"),
        (401, b"", Outcome.CRED, "unlisted:401"),
        (403, b"<html>", Outcome.CRED, "unlisted:403"),
        (404, b"<html>", Outcome.CRED, "unlisted:404"),
        (404, error("NOT_FOUND", fcm_error("SOMETHING_NEW")), Outcome.CRED, "unlisted:404:SOMETHING_NEW"),
        (429, b"", Outcome.THROTTLE, "unlisted:429"),
        (502, b"<html>", Outcome.RETRY, "unlisted:502"),
        (302, b"", Outcome.BAD, "unlisted:302"),
    ],
)
def test_answer_has_its_class(table: ErrorTable, status: int, body: bytes, outcome: Outcome, code: str) -> None:
    result = classify(table, HttpAnswer(status, {}, body), "token", NOW)
    assert (result.outcome, result.code) == (outcome, code)


def test_accepted_answer_carries_the_message_name(table: ErrorTable) -> None:
    result = classify(table, HttpAnswer(200, {}, b'{"name": "projects/p/messages/0:1"}'), "token", NOW)
    assert (result.outcome, result.provider_message_id) == (Outcome.ACCEPTED, "projects/p/messages/0:1")


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>"])
def test_accepted_answer_without_a_name_is_accepted_all_the_same(table: ErrorTable, body: bytes) -> None:
    assert classify(table, HttpAnswer(200, {}, body), "token", NOW).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("status", "header", "outcome", "expected"),
    [
        (429, {"retry-after": "7"}, Outcome.THROTTLE, timedelta(seconds=7)),
        (429, {}, Outcome.THROTTLE, timedelta(seconds=60)),
        (503, {"retry-after": "Fri, 02 Jan 2026 00:02:00 GMT"}, Outcome.AFTER, timedelta(minutes=2)),
        (503, {}, Outcome.RETRY, None),
        (404, {"retry-after": "7"}, Outcome.CRED, timedelta(seconds=7)),
        (400, {"retry-after": "7"}, Outcome.BAD, None),
    ],
)
def test_retry_after_is_a_floor_for_what_is_tried_again(
    table: ErrorTable, status: int, header: dict[str, str], outcome: Outcome, expected: timedelta | None
) -> None:
    result = classify(table, HttpAnswer(status, header, b""), "token", NOW)
    assert (result.outcome, result.retry_after) == (outcome, expected)


def test_detail_never_repeats_the_registration_token(table: ErrorTable) -> None:
    body = error("INVALID_ARGUMENT", message="token registration-token is odd")
    assert classify(table, HttpAnswer(400, {}, body), "registration-token", NOW).detail == "token [removed] is odd"
