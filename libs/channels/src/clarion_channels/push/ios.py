"""The payload of an APNs request.

Sources: "Generating a remote notification", "Sending notification requests to APNs" and "Starting and updating Live
Activities with ActivityKit push notifications" at developer.apple.com.
"""

import math
from uuid import UUID

from google.protobuf.struct_pb2 import Struct, Value

from clarion.types.v1.channel_pb2 import CHANNEL_IOS
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.push.content import ACTIONS, IMAGE_URL, InvalidMessage, Json, actions_of, app_data, shown_on

MAX_PAYLOAD_BYTES = 4096
MAX_VOIP_PAYLOAD_BYTES = 5120
IMMEDIATE = 10
POWER_AWARE = 5

TOPIC_SUFFIX = {
    "alert": "",
    "background": "",
    "voip": ".voip",
    "complication": ".complication",
    "fileprovider": ".pushkit.fileprovider",
    "location": ".location-query",
    "liveactivity": ".push-type.liveactivity",
    "pushtotalk": ".voip-ptt",
    "widgets": ".push-type.widgets",
    "controls": ".push-type.controls",
    "mdm": "",
}
"""What follows the bundle id in `apns-topic`, by push type."""

INTERRUPTION_LEVELS = frozenset({"passive", "active", "time-sensitive", "critical"})
LIVE_ACTIVITY_EVENTS = frozenset({"start", "update", "end"})
OWN_APS_KEYS = frozenset(
    {
        "alert",
        "badge",
        "sound",
        "thread-id",
        "category",
        "interruption-level",
        "relevance-score",
        "mutable-content",
        "content-available",
        "content-changed",
    }
)
"""Keys of `aps` that fields of the content set."""

_CALLS = frozenset({"voip", "pushtotalk"})
"""Somebody is on the line: power-aware delivery would be too late."""
_EXACT_INTEGERS = 2**53


def push_type(push: PushContent) -> str:
    """`apns-push-type`: as asked for, else background for content that shows nothing, else alert. Raises `InvalidMessage`."""
    asked = push.ios.push_type
    if not asked:
        return "background" if push.ios.content_available and not push.title and not push.body else "alert"
    if asked not in TOPIC_SUFFIX:
        raise InvalidMessage("local:push_type", "unknown apns-push-type")
    return asked


def priority(type_name: str, *, bulk: bool) -> int:
    """`apns-priority`. A background push must not ask for more than 5."""
    if type_name == "background":
        return POWER_AWARE
    return POWER_AWARE if bulk and type_name not in _CALLS else IMMEDIATE


def limit(type_name: str) -> int:
    """The most bytes of a payload."""
    return MAX_VOIP_PAYLOAD_BYTES if type_name == "voip" else MAX_PAYLOAD_BYTES


def payload_of(common: PushContent, type_name: str, delivery_id: UUID, event_token: str = "") -> dict[str, Json]:
    """The JSON document: the app's own data, what Clarion adds, and Apple's `aps`. Raises `InvalidMessage`."""
    push = shown_on(CHANNEL_IOS, common)
    if "aps" in push.data:
        raise InvalidMessage("local:reserved_data_key", "the data key aps belongs to Apple")
    if type_name == "mdm":
        return dict(push.data)
    document: dict[str, Json] = {**app_data(push, str(delivery_id), event_token)}
    if push.image_url:
        document[IMAGE_URL] = push.image_url
    if push.actions:
        document[ACTIONS] = actions_of(push)
    document["aps"] = _aps(push, type_name, delivery_id)
    return document


def _aps(push: PushContent, type_name: str, delivery_id: UUID) -> dict[str, Json]:
    extra = struct_json(push.ios.aps)
    if not OWN_APS_KEYS.isdisjoint(extra):
        raise InvalidMessage("local:aps", "aps holds a key that another field sets")
    if type_name == "background":
        return {"content-available": 1, **extra}
    if type_name in {"widgets", "controls"}:
        return {"content-changed": True, **extra}
    if type_name == "liveactivity":
        return _live_activity(push, extra, delivery_id)
    aps = _alert(push)
    # A picture is fetched, and buttons of our own are made, by the app's service extension, which runs only for mutable
    # content.
    if push.ios.mutable_content or push.image_url or push.actions:
        aps["mutable-content"] = 1
    if push.ios.content_available:
        aps["content-available"] = 1
    return {**aps, **extra}


def _alert(push: PushContent) -> dict[str, Json]:
    ios = push.ios
    aps: dict[str, Json] = {}
    shown = _texts(push)
    if shown:
        aps["alert"] = shown
    if ios.HasField("badge"):
        aps["badge"] = ios.badge
    if ios.interruption_level:
        if ios.interruption_level not in INTERRUPTION_LEVELS:
            raise InvalidMessage("local:interruption_level", "unknown interruption level")
        aps["interruption-level"] = ios.interruption_level
    if ios.interruption_level == "critical":
        # Only this form sounds while the device is muted.
        aps["sound"] = {"critical": 1, "name": ios.sound or "default", "volume": 1.0}
    elif ios.sound:
        aps["sound"] = ios.sound
    if ios.thread_id:
        aps["thread-id"] = ios.thread_id
    if ios.category:
        aps["category"] = ios.category
    if ios.HasField("relevance_score"):
        aps["relevance-score"] = ios.relevance_score
    return aps


def _live_activity(push: PushContent, extra: dict[str, Json], delivery_id: UUID) -> dict[str, Json]:
    """`event` and `content-state` are the app's; the alert is for a watch and for those that are told of the change."""
    if extra.get("event") not in LIVE_ACTIVITY_EVENTS:
        raise InvalidMessage("local:live_activity", "a live activity needs aps.event: start, update or end")
    alert: dict[str, Json] = {name: text for name, text in _texts(push).items() if name != "subtitle"}
    if alert and push.ios.sound:
        alert["sound"] = push.ios.sound
    aps: dict[str, Json] = {"timestamp": _accepted_at(delivery_id), **extra}
    if alert:
        aps["alert"] = alert
    if push.ios.HasField("relevance_score"):
        aps["relevance-score"] = push.ios.relevance_score
    return aps


def _texts(push: PushContent) -> dict[str, Json]:
    texts = {"title": push.title, "subtitle": push.ios.subtitle, "body": push.body}
    return {name: text for name, text in texts.items() if text}


def _accepted_at(delivery_id: UUID) -> int:
    """Unix seconds in a UUIDv7: devices drop an update that is older than what they show, so it must not move with a
    second try."""
    return (delivery_id.int >> 80) // 1000


def struct_json(struct: Struct) -> dict[str, Json]:
    """The object, whole numbers as integers. Raises `InvalidMessage` for a number that JSON has not."""
    return {key: _value(value) for key, value in struct.fields.items()}


def _value(value: Value) -> Json:
    match value.WhichOneof("kind"):
        case "number_value":
            return _number(value.number_value)
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return struct_json(value.struct_value)
        case "list_value":
            return [_value(item) for item in value.list_value.values]
        case _:
            return None


def _number(number: float) -> int | float:
    """Apple decodes whole numbers as integers, and a Struct has only doubles."""
    if not math.isfinite(number):
        raise InvalidMessage("local:not_json", "aps holds a number that JSON has not")
    return int(number) if number.is_integer() and abs(number) <= _EXACT_INTEGERS else number
