import json
from datetime import UTC, datetime

import pytest

from clarion.types.v1.address_pb2 import Address, ApnsDevice, PhoneNumber
from clarion.types.v1.channel_pb2 import PRIORITY_BULK, PRIORITY_NORMAL, PRIORITY_UNSPECIFIED, PRIORITY_URGENT, Priority
from clarion.types.v1.content_pb2 import IosOptions, PushContent
from clarion_channels.providers.apns.payload import ApnsRequest, build_request
from clarion_channels.push.content import InvalidMessage

from .push_messages import push_message, struct

TOKEN = "AB12" * 16
DEVICE = Address(ios=ApnsDevice(token=TOKEN))


def request_of(push: PushContent, address: Address = DEVICE) -> ApnsRequest:
    return build_request(push_message(address, push), "com.example.app")


def payload_of(push: PushContent) -> dict[str, object]:
    document = json.loads(request_of(push).payload)
    assert isinstance(document, dict)
    return document


def test_alert_carries_everything_the_content_says() -> None:
    message = push_message(
        DEVICE,
        PushContent(
            title="Order 7",
            body="is on its way, 배송",
            image_url="https://example.com/a.png",
            link="shop://orders/7",
            data={"order": "7"},
            ios=IosOptions(
                subtitle="Today",
                badge=0,
                sound="chime.caf",
                thread_id="orders",
                category="ORDER",
                interruption_level="time-sensitive",
                content_available=True,
            ),
        ),
    )
    assert json.loads(build_request(message, "com.example.app").payload) == {
        "order": "7",
        "clarion_delivery_id": str(message.delivery_id),
        "clarion_link": "shop://orders/7",
        "clarion_image_url": "https://example.com/a.png",
        "aps": {
            "alert": {"title": "Order 7", "subtitle": "Today", "body": "is on its way, 배송"},
            "badge": 0,
            "sound": "chime.caf",
            "thread-id": "orders",
            "category": "ORDER",
            "interruption-level": "time-sensitive",
            "mutable-content": 1,
            "content-available": 1,
        },
    }


def test_unset_options_leave_no_trace() -> None:
    assert payload_of(PushContent(body="hello"))["aps"] == {"alert": {"body": "hello"}}


def test_critical_alert_uses_the_sound_form_that_overrides_mute() -> None:
    push = PushContent(body="fire", ios=IosOptions(interruption_level="critical"))
    assert payload_of(push)["aps"] == {
        "alert": {"body": "fire"},
        "interruption-level": "critical",
        "sound": {"critical": 1, "name": "default", "volume": 1.0},
    }


def test_content_that_shows_nothing_becomes_a_background_push() -> None:
    request = request_of(PushContent(data={"sync": "1"}, ios=IosOptions(content_available=True)))
    assert (request.type_name, request.priority) == ("background", 5)
    assert json.loads(request.payload)["aps"] == {"content-available": 1}


@pytest.mark.parametrize(
    ("push_type", "topic"),
    [
        ("", "com.example.app"),
        ("alert", "com.example.app"),
        ("background", "com.example.app"),
        ("voip", "com.example.app.voip"),
        ("complication", "com.example.app.complication"),
        ("fileprovider", "com.example.app.pushkit.fileprovider"),
        ("location", "com.example.app.location-query"),
        ("liveactivity", "com.example.app.push-type.liveactivity"),
        ("pushtotalk", "com.example.app.voip-ptt"),
        ("widgets", "com.example.app.push-type.widgets"),
        ("controls", "com.example.app.push-type.controls"),
        ("mdm", "com.example.app"),
    ],
)
def test_topic_is_the_bundle_id_with_the_suffix_of_the_push_type(push_type: str, topic: str) -> None:
    aps = {"event": "end"} if push_type == "liveactivity" else {}
    request = request_of(PushContent(body="x", ios=IosOptions(push_type=push_type, aps=struct(aps))))
    assert (request.apns_topic, request.type_name) == (topic, push_type or "alert")


def test_bundle_id_of_the_device_wins_over_the_default() -> None:
    device = Address(ios=ApnsDevice(token=TOKEN, bundle_id="com.example.other"))
    assert request_of(PushContent(body="x"), device).apns_topic == "com.example.other"


def test_widget_push_asks_for_a_reload() -> None:
    assert payload_of(PushContent(ios=IosOptions(push_type="widgets")))["aps"] == {"content-changed": True}


def test_mdm_push_is_the_data_alone() -> None:
    assert payload_of(PushContent(data={"mdm": "magic"}, ios=IosOptions(push_type="mdm"))) == {"mdm": "magic"}


@pytest.mark.parametrize(
    ("priority", "expected"),
    [(PRIORITY_URGENT, 10), (PRIORITY_NORMAL, 10), (PRIORITY_UNSPECIFIED, 10), (PRIORITY_BULK, 5)],
)
def test_only_bulk_is_power_aware(priority: Priority.ValueType, expected: int) -> None:
    assert build_request(push_message(DEVICE, priority=priority), "a").priority == expected


@pytest.mark.parametrize(
    ("push_type", "expected"),
    [("alert", 5), ("background", 5), ("liveactivity", 5), ("voip", 10), ("pushtotalk", 10)],
)
def test_bulk_is_power_aware_but_for_calls(push_type: str, expected: int) -> None:
    push = PushContent(ios=IosOptions(push_type=push_type, aps=struct({"event": "end"})))
    assert build_request(push_message(DEVICE, push, priority=PRIORITY_BULK), "a").priority == expected


def test_background_push_is_never_immediate() -> None:
    push = PushContent(ios=IosOptions(push_type="background"))
    assert build_request(push_message(DEVICE, push, priority=PRIORITY_URGENT), "a").priority == 5


def test_request_carries_our_id_the_deadline_and_the_lower_case_token() -> None:
    message = push_message(DEVICE, expire_at=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
    request = build_request(message, "a")
    assert request.notification_id == str(message.delivery_id)
    assert request.expiration == 1893553445
    assert request.device_token == TOKEN.lower()


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("", None),
        ("score:42", "score:42"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "lTfF_fEgSC99WNJentWD9SwCtOME6oFNsWM61WWu1-k"),
        ("with space", "uLjyWl_HEcrqHP6_4CNZ484rmo-c4C0Y_csbpH_wlfE"),
        ("점수", "J2UWIYwc0SdSYl4cdZsNsqQiXb-1KgtmISOeOQ6C_C8"),
    ],
)
def test_collapse_id_fits_into_64_bytes_of_a_header(key: str, expected: str | None) -> None:
    assert build_request(push_message(DEVICE, collapse_key=key), "a").collapse_key == expected


@pytest.mark.parametrize(("push_type", "limit"), [("alert", 4096), ("voip", 5120)])
def test_payload_is_measured_before_it_is_sent(push_type: str, limit: int) -> None:
    def with_body(length: int) -> PushContent:
        return PushContent(body="x" * length, ios=IosOptions(push_type=push_type))

    room = limit - len(request_of(with_body(1)).payload) + 1
    assert len(request_of(with_body(room)).payload) == limit
    with pytest.raises(InvalidMessage) as caught:
        request_of(with_body(room + 1))
    assert caught.value.code == "local:payload_too_large"


@pytest.mark.parametrize(
    ("push", "address", "code"),
    [
        (PushContent(body="x"), Address(sms=PhoneNumber(e164="+821012345678")), "local:not_for_ios"),
        (PushContent(body="x"), Address(ios=ApnsDevice(token="../3/device/" + "a" * 40)), "local:device_token"),
        (PushContent(body="x"), Address(ios=ApnsDevice(token="ab")), "local:device_token"),
        (PushContent(body="x", data={"aps": "1"}), DEVICE, "local:reserved_data_key"),
        (PushContent(body="x", ios=IosOptions(push_type="carrier-pigeon")), DEVICE, "local:push_type"),
        (PushContent(body="x", ios=IosOptions(push_type="liveactivity")), DEVICE, "local:live_activity"),
        (PushContent(body="x", ios=IosOptions(interruption_level="loud")), DEVICE, "local:interruption_level"),
    ],
)
def test_what_apns_would_refuse_is_refused_before_it_is_sent(push: PushContent, address: Address, code: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        request_of(push, address)
    assert caught.value.code == code
