"""From a message to the JSON of an FCM request: pure rules, no I/O.

Source: firebase.google.com/docs/reference/fcm/rest/v1/projects.messages.
"""

from datetime import datetime

from clarion.types.v1.address_pb2 import ANDROID_PUSH_SERVICE_HUAWEI
from clarion.types.v1.channel_pb2 import CHANNEL_ANDROID, PRIORITY_BULK
from clarion_channels.port import Message
from clarion_channels.push.android import MAX_PAYLOAD_BYTES, notification_of, payload_of
from clarion_channels.push.content import InvalidMessage, Json, encode, shown_on, too_large

MAX_TTL_SECONDS = 28 * 24 * 3600


def build_body(message: Message, now: datetime) -> bytes:
    """The request's JSON; raises `InvalidMessage`."""
    if message.address.WhichOneof("kind") != "android" or message.content.WhichOneof("content") != "push":
        raise InvalidMessage("local:not_for_android", "address or content is not for Android")
    device, push = message.address.android, shown_on(CHANNEL_ANDROID, message.content.push)
    if device.service == ANDROID_PUSH_SERVICE_HUAWEI:
        raise InvalidMessage("local:push_service", "the device is registered with another push service")
    payload = payload_of(push, str(message.delivery_id), message.content.event_token)
    android: dict[str, Json] = {
        "priority": "NORMAL" if message.priority == PRIORITY_BULK else "HIGH",
        "ttl": f"{ttl_seconds(message.expire_at, now)}s",
    }
    if message.collapse_key:
        android["collapse_key"] = message.collapse_key
    shown = notification_of(push)
    if shown:
        android["notification"] = shown
    body = encode({"message": {"token": device.token, **payload, "android": android}})
    if len(body) > MAX_PAYLOAD_BYTES:  # of which the payload is the greater part
        size = len(encode(payload))
        if size > MAX_PAYLOAD_BYTES:
            raise too_large(size, MAX_PAYLOAD_BYTES, "FCM")
    return body


def ttl_seconds(expire_at: datetime, now: datetime) -> int:
    """Whole seconds left, 0 to 28 days; 0 = now or never."""
    return min(max(int((expire_at - now).total_seconds()), 0), MAX_TTL_SECONDS)
