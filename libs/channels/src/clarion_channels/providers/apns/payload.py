"""From a message to an APNs request: pure rules, no I/O.

Sources: "Generating a remote notification" and "Sending notification requests to APNs" at developer.apple.com.
"""

import hashlib
import json
import re
from base64 import urlsafe_b64encode

from aioapns.common import NotificationRequest

from clarion.types.v1.channel_pb2 import PRIORITY_BULK
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.port import Message

MAX_PAYLOAD_BYTES = 4096
MAX_VOIP_PAYLOAD_BYTES = 5120
MAX_COLLAPSE_ID_BYTES = 64
IMMEDIATE = 10
POWER_AWARE = 5

_TOPIC_SUFFIX = {
    "alert": "",
    "background": "",
    "voip": ".voip",
    "complication": ".complication",
    "fileprovider": ".pushkit.fileprovider",
    "location": ".location-query",
    "pushtotalk": ".voip-ptt",
    "widgets": ".push-type.widgets",
    "controls": ".push-type.controls",
    "mdm": "",
}
_INTERRUPTION_LEVELS = frozenset({"passive", "active", "time-sensitive", "critical"})
_TOKEN = re.compile(r"[0-9a-f]{32,200}")
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")

Json = str | int | float | dict[str, "Json"]


class InvalidMessage(Exception):
    """The message cannot become an APNs request. `code` is for machines; the text is free of personal data."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class ApnsRequest(NotificationRequest):
    """An aioapns request whose payload is already encoded and whose expiration is an absolute moment (Unix seconds)."""

    __slots__ = ("expiration", "payload", "type_name")

    def __init__(
        self,
        *,
        device_token: str,
        payload: bytes,
        notification_id: str,
        expiration: int,
        priority: int,
        type_name: str,
        apns_topic: str,
        collapse_key: str,
    ) -> None:
        super().__init__(
            device_token,
            {},
            notification_id,
            priority=priority,
            collapse_key=collapse_key or None,
            apns_topic=apns_topic,
        )
        self.payload = payload
        self.expiration = expiration
        self.type_name = type_name


def build_request(message: Message, default_bundle_id: str) -> ApnsRequest:
    """The request for one message; raises `InvalidMessage`."""
    if message.address.WhichOneof("kind") != "ios" or message.content.WhichOneof("content") != "push":
        raise InvalidMessage("local:not_for_ios", "address or content is not for iOS")
    device, push = message.address.ios, message.content.push
    token = device.token.lower()
    if not _TOKEN.fullmatch(token):
        raise InvalidMessage("local:device_token", "the device token is not 32 to 200 hexadecimal digits")
    type_name = push_type(push)
    payload = json.dumps(
        payload_of(push, type_name, str(message.delivery_id)), ensure_ascii=False, separators=(",", ":")
    ).encode()
    limit = MAX_VOIP_PAYLOAD_BYTES if type_name == "voip" else MAX_PAYLOAD_BYTES
    if len(payload) > limit:
        raise InvalidMessage("local:payload_too_large", f"payload of {len(payload)} bytes, APNs takes {limit}")
    power_aware = type_name == "background" or message.priority == PRIORITY_BULK
    return ApnsRequest(
        device_token=token,
        payload=payload,
        notification_id=str(message.provider_request_id),
        expiration=int(message.expire_at.timestamp()),
        priority=POWER_AWARE if power_aware else IMMEDIATE,
        type_name=type_name,
        apns_topic=(device.bundle_id or default_bundle_id) + _TOPIC_SUFFIX[type_name],
        collapse_key=collapse_id(message.collapse_key),
    )


def push_type(push: PushContent) -> str:
    """`apns-push-type`: as asked for, else background for content that shows nothing, else alert."""
    if not push.ios.push_type:
        silent = push.ios.content_available and not push.title and not push.body
        return "background" if silent else "alert"
    if push.ios.push_type == "liveactivity":
        raise InvalidMessage("local:push_type", "a live activity needs a content state, which push content has not")
    if push.ios.push_type not in _TOPIC_SUFFIX:
        raise InvalidMessage("local:push_type", "unknown apns-push-type")
    return push.ios.push_type


def payload_of(push: PushContent, type_name: str, delivery_id: str) -> dict[str, Json]:
    """The JSON document: the app's own data, what Clarion adds, and Apple's `aps`."""
    if "aps" in push.data:
        raise InvalidMessage("local:reserved_data_key", "the data key aps belongs to Apple")
    document: dict[str, Json] = dict(push.data)
    if type_name == "mdm":
        return document
    document["clarion_delivery_id"] = delivery_id
    if push.link:
        document["clarion_link"] = push.link
    if push.image_url:
        document["clarion_image_url"] = push.image_url
    document["aps"] = _aps(push, type_name)
    return document


def _aps(push: PushContent, type_name: str) -> dict[str, Json]:
    if type_name == "background":
        return {"content-available": 1}
    if type_name in {"widgets", "controls"}:
        return {"content-changed": True}
    ios = push.ios
    aps: dict[str, Json] = {}
    alert = {"title": push.title, "subtitle": ios.subtitle, "body": push.body}
    shown: dict[str, Json] = {key: text for key, text in alert.items() if text}
    if shown:
        aps["alert"] = shown
    if ios.HasField("badge"):
        aps["badge"] = ios.badge
    if ios.interruption_level:
        if ios.interruption_level not in _INTERRUPTION_LEVELS:
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
    # A picture is fetched by the app's service extension, which runs only for mutable content.
    if ios.mutable_content or push.image_url:
        aps["mutable-content"] = 1
    if ios.content_available:
        aps["content-available"] = 1
    return aps


def collapse_id(key: str) -> str:
    """`apns-collapse-id`: the key itself where it fits into 64 bytes of a header, else its SHA-256."""
    if not key or (_HEADER_SAFE.fullmatch(key) and len(key) <= MAX_COLLAPSE_ID_BYTES):
        return key
    return urlsafe_b64encode(hashlib.sha256(key.encode()).digest()).rstrip(b"=").decode("ascii")
