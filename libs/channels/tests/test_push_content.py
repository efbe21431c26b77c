"""One push content on every platform: overrides, buttons, Apple's dictionary, and its size told before anybody is asked."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.types.v1.address_pb2 import ANDROID_PUSH_SERVICE_HUAWEI, Address, AndroidDevice, ApnsDevice
from clarion.types.v1.channel_pb2 import CHANNEL_ANDROID, CHANNEL_IOS, CHANNEL_SMS, CHANNEL_WEB, Channel
from clarion.types.v1.content_pb2 import AndroidOptions, IosOptions, PushAction, PushContent, PushOverride, WebOptions
from clarion_channels.providers.apns.payload import build_request as apns_request
from clarion_channels.providers.fcm.payload import build_body as fcm_body
from clarion_channels.providers.huawei.payload import build_requests as huawei_requests
from clarion_channels.providers.huawei.settings import HuaweiSettings
from clarion_channels.push import ios, size
from clarion_channels.push.content import InvalidMessage, shown_on
from clarion_channels.push.web import MAX_PLAINTEXT_BYTES, build_plaintext

from .push_messages import push_message, struct

NOW = datetime(2026, 1, 2, tzinfo=UTC)
DELIVERY = UUID("019b7a6e-4c00-7000-8000-000000000001")
IOS = Address(ios=ApnsDevice(token="ab12" * 16))
ANDROID = Address(android=AndroidDevice(token="registration-token"))
HUAWEI = Address(android=AndroidDevice(token="device", service=ANDROID_PUSH_SERVICE_HUAWEI))

BUTTONS = [
    PushAction(id="track", title="Track", link="shop://track/7", icon_url="https://example.com/t.png"),
    PushAction(id="help", title="Help"),
]


def document(value: object) -> dict[str, object]:
    assert isinstance(value, bytes)
    read = json.loads(value)
    assert isinstance(read, dict)
    return read


def part(value: object, *path: str) -> object:
    for name in path:
        assert isinstance(value, dict)
        value = value[name]
    return value


def aps_of(push: PushContent) -> object:
    return ios.payload_of(push, ios.push_type(push), DELIVERY)["aps"]


def huawei(push: PushContent, **settings: object) -> dict[str, object]:
    account = HuaweiSettings.model_validate({"client_id": "100", "client_secret": "s", **settings})
    built = huawei_requests([push_message(HUAWEI, push, expire_at=NOW + timedelta(hours=1))], account, NOW)
    assert not built.invalid
    return document(built.requests[0].body)


def test_each_platform_shows_its_own_words_and_the_common_ones_where_it_has_none() -> None:
    push = PushContent(
        title="Order 7",
        body="is on its way",
        link="https://example.com/7",
        image_url="https://example.com/7.png",
        ios=IosOptions(override=PushOverride(title="iPhone")),
        android=AndroidOptions(override=PushOverride(body="Android", link="shop://7")),
        web=WebOptions(override=PushOverride(image_url="https://example.com/web.png")),
    )

    apple = document(apns_request(push_message(IOS, push), "a").payload)
    google = document(fcm_body(push_message(ANDROID, push), NOW))
    browser = document(build_plaintext(push, "id"))

    assert part(apple, "aps", "alert") == {"title": "iPhone", "body": "is on its way"}
    assert apple["clarion_link"] == "https://example.com/7"
    assert part(google, "message", "notification", "body") == "Android"
    assert part(google, "message", "data", "clarion_link") == "shop://7"
    assert part(huawei(push), "message", "notification", "body") == "Android"
    assert browser["title"] == "Order 7"
    assert part(browser, "options", "image") == "https://example.com/web.png"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
FIELDS = st.fixed_dictionaries({}, optional=dict.fromkeys(("title", "body", "image_url", "link"), TEXTS))


@given(FIELDS, FIELDS, st.sampled_from([(CHANNEL_IOS, "ios"), (CHANNEL_ANDROID, "android"), (CHANNEL_WEB, "web")]))
def test_override_replaces_what_it_says_and_nothing_else(
    common: dict[str, str], own: dict[str, str], platform: "tuple[Channel.ValueType, str]"
) -> None:
    channel, options = platform
    push = PushContent(**common, data={"k": "v"})  # type: ignore[arg-type]  # every field here is a text
    getattr(push, options).override.CopyFrom(PushOverride(**own))
    before = push.SerializeToString(deterministic=True)

    shown = shown_on(channel, push)

    assert {name: getattr(shown, name) for name in ("title", "body", "image_url", "link")} == {
        name: own.get(name) or common.get(name, "") for name in ("title", "body", "image_url", "link")
    }
    assert shown.data == {"k": "v"}
    assert push.SerializeToString(deterministic=True) == before
    assert shown_on(CHANNEL_SMS, push) is push


def test_buttons_travel_as_each_platform_reads_them() -> None:
    push = PushContent(title="Order 7", body="is on its way", actions=BUTTONS)
    told = [{"id": "track", "title": "Track", "link": "shop://track/7"}, {"id": "help", "title": "Help"}]

    apple = document(apns_request(push_message(IOS, push), "a").payload)
    google = part(document(fcm_body(push_message(ANDROID, push), NOW)), "message", "data", "clarion_actions")
    chinese = part(huawei(push), "message", "data")
    browser = part(document(build_plaintext(push, "id")), "options")

    assert apple["clarion_actions"] == told
    assert part(apple, "aps", "mutable-content") == 1
    assert isinstance(google, str)
    assert isinstance(chinese, str)
    assert json.loads(google) == json.loads(json.loads(chinese)["clarion_actions"]) == told
    assert part(browser, "actions") == [
        {"action": "track", "title": "Track", "icon": "https://example.com/t.png"},
        {"action": "help", "title": "Help"},
    ]
    assert part(browser, "data", "clarion_action_links") == {"track": "shop://track/7"}


def test_browser_gets_every_option() -> None:
    web = WebOptions(tag="t", badge_url="https://example.com/b.png", silent=True, renotify=True)
    options = part(document(build_plaintext(PushContent(title="x", web=web), "id")), "options")
    assert options == {
        "badge": "https://example.com/b.png",
        "tag": "t",
        "silent": True,
        "renotify": True,
        "data": {"clarion_delivery_id": "id"},
    }


def test_browsers_throw_for_renotify_without_a_tag() -> None:
    with pytest.raises(InvalidMessage) as caught:
        build_plaintext(PushContent(title="x", web=WebOptions(renotify=True)), "id")
    assert caught.value.code == "local:renotify"


def test_huawei_opens_the_activity_and_counts_on_the_icon() -> None:
    android = AndroidOptions(click_action="com.example.ORDER", visibility="public", notification_count=3)
    push = PushContent(title="Order 7", body="is on its way", link="shop://7", android=android)

    shown = part(huawei(push, badge_class="com.example.Main"), "message", "android", "notification")

    assert part(shown, "click_action") == {"type": 1, "action": "com.example.ORDER"}
    assert (part(shown, "visibility"), part(shown, "badge")) == ("PUBLIC", {"set_num": 3, "class": "com.example.Main"})
    assert "badge" not in json.dumps(huawei(push))


def test_unknown_visibility_is_refused() -> None:
    push = PushContent(title="x", android=AndroidOptions(visibility="loud"))
    with pytest.raises(InvalidMessage) as caught:
        fcm_body(push_message(ANDROID, push), NOW)
    assert caught.value.code == "local:visibility"


def test_apples_dictionary_takes_further_keys_with_whole_numbers() -> None:
    further = {
        "target-content-id": "window-1",
        "filter-criteria": "work",
        "n": 7,
        "share": 0.5,
        "list": [1, None, True],
    }
    push = PushContent(body="x", ios=IosOptions(aps=struct(further), relevance_score=0.75))

    aps = aps_of(push)

    assert aps == {"alert": {"body": "x"}, "relevance-score": 0.75, **further}
    assert "7.0" not in json.dumps(aps)


def test_live_activity_is_complete() -> None:
    state = {"event": "update", "content-state": {"minutes": 7}, "stale-date": 1_900_000_000}
    options = IosOptions(
        push_type="liveactivity", aps=struct(state), sound="chime.caf", relevance_score=1, subtitle="left out"
    )
    push = PushContent(title="Order 7", body="at the door", ios=options)

    aps = aps_of(push)

    assert aps == {
        "timestamp": (DELIVERY.int >> 80) // 1000,
        "event": "update",
        "content-state": {"minutes": 7},
        "stale-date": 1_900_000_000,
        "alert": {"title": "Order 7", "body": "at the door", "sound": "chime.caf"},
        "relevance-score": 1.0,
    }
    assert "7.0" not in json.dumps(aps), "Swift decodes no 7.0 as Int"


def test_apps_own_timestamp_of_a_live_activity_stays() -> None:
    aps = {"event": "end", "timestamp": 1_900_000_000}
    push = PushContent(ios=IosOptions(push_type="liveactivity", aps=struct(aps)))
    assert aps_of(push) == aps


@pytest.mark.parametrize("key", sorted(ios.OWN_APS_KEYS))
def test_key_that_a_field_sets_is_not_overwritten(key: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        aps_of(PushContent(body="x", ios=IosOptions(aps=struct({key: 1}))))
    assert caught.value.code == "local:aps"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_number_that_json_has_not_is_refused(number: float) -> None:
    with pytest.raises(InvalidMessage) as caught:
        aps_of(PushContent(body="x", ios=IosOptions(aps=struct({"n": number}))))
    assert caught.value.code == "local:not_json"


@given(
    st.integers(0, 5_200),
    st.sampled_from(["x", '"', "한", "\x01"]),
    st.booleans(),
    st.sampled_from(["", "voip", "liveactivity"]),
)
def test_excess_is_told_exactly_where_the_provider_would_refuse(
    length: int, character: str, data_only: bool, push_type: str
) -> None:
    push = PushContent(
        body=character * length,
        actions=BUTTONS,
        ios=IosOptions(push_type=push_type, aps=struct({"event": "end"})),
        android=AndroidOptions(data_only=data_only),
    )
    to_ios, to_android = push_message(IOS, push), push_message(ANDROID, push)

    assert bool(size.excess("apns", push, to_ios.delivery_id)) == refused(lambda: apns_request(to_ios, "a"))
    assert bool(size.excess("fcm", push, to_android.delivery_id)) == refused(lambda: fcm_body(to_android, NOW))
    over = len(build_plaintext(push, str(DELIVERY))) > MAX_PLAINTEXT_BYTES
    assert bool(size.excess("webpush", push, DELIVERY)) == over
    assert size.excess("pigeon", push, DELIVERY) == ""
    if size.excess("huawei", push, DELIVERY):
        with pytest.raises(AssertionError):
            huawei(push, fallback_title="Shop")


def refused(build: Callable[[], object]) -> bool:
    try:
        build()
    except InvalidMessage as fault:
        return fault.code == "local:payload_too_large"
    return False
