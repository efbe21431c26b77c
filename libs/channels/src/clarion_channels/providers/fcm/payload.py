"""From a message to the JSON of an FCM request: pure rules, no I/O.

Source: firebase.google.com/docs/reference/fcm/rest/v1/projects.messages.
"""

import json
from datetime import datetime

from clarion.types.v1.address_pb2 import ANDROID_PUSH_SERVICE_HUAWEI
from clarion.types.v1.channel_pb2 import PRIORITY_BULK
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.port import Message

MAX_PAYLOAD_BYTES = 4096
MAX_TTL_SECONDS = 28 * 24 * 3600

Json = str | dict[str, "Json"]


class InvalidMessage(Exception):
    """The message cannot become an FCM request. `code` is for machines; the text is free of personal data."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def build_body(message: Message, now: datetime) -> bytes:
    """The request's JSON; raises `InvalidMessage`."""
    if message.address.WhichOneof("kind") != "android" or message.content.WhichOneof("content") != "push":
        raise InvalidMessage("local:not_for_android", "address or content is not for Android")
    device, push = message.address.android, message.content.push
    if device.service == ANDROID_PUSH_SERVICE_HUAWEI:
        raise InvalidMessage("local:push_service", "the device is registered with another push service")
    payload = payload_of(push, str(message.delivery_id))
    size = len(_encode(payload))
    if size > MAX_PAYLOAD_BYTES:
        raise InvalidMessage("local:payload_too_large", f"payload of {size} bytes, FCM takes {MAX_PAYLOAD_BYTES}")
    android: dict[str, Json] = {
        "priority": "NORMAL" if message.priority == PRIORITY_BULK else "HIGH",
        "ttl": f"{ttl_seconds(message.expire_at, now)}s",
    }
    if message.collapse_key:
        android["collapse_key"] = message.collapse_key
    shown = _android_notification(push)
    if shown:
        android["notification"] = shown
    return _encode({"message": {"token": device.token, **payload, "android": android}})


def payload_of(push: PushContent, delivery_id: str) -> dict[str, Json]:
    """What counts against FCM's 4,096 bytes: `notification` (unless the app draws it) and `data`."""
    data: dict[str, Json] = dict(push.data)
    data["clarion_delivery_id"] = delivery_id
    if push.link:
        data["clarion_link"] = push.link
    shown = {"title": push.title, "body": push.body, "image": push.image_url}
    if push.android.data_only:
        data.update({f"clarion_{name}": text for name, text in shown.items() if text})
        return {"data": data}
    notification: dict[str, Json] = {name: text for name, text in shown.items() if text}
    return {"notification": notification, "data": data} if notification else {"data": data}


def ttl_seconds(expire_at: datetime, now: datetime) -> int:
    """Whole seconds left, 0 to 28 days; 0 = now or never."""
    return min(max(int((expire_at - now).total_seconds()), 0), MAX_TTL_SECONDS)


def _android_notification(push: PushContent) -> dict[str, Json]:
    options = push.android
    if options.data_only:
        return {}
    fields = {
        "channel_id": options.channel_id,
        "icon": options.icon,
        "color": options.color,
        "sound": options.sound,
        "tag": options.tag,
    }
    return {name: text for name, text in fields.items() if text}


def _encode(document: dict[str, Json]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
