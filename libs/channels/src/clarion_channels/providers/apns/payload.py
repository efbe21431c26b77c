"""From a message to an APNs request: pure rules, no I/O.

Source: "Sending notification requests to APNs" at developer.apple.com.
"""

import hashlib
import re
from base64 import urlsafe_b64encode

from aioapns.common import NotificationRequest

from clarion.types.v1.channel_pb2 import PRIORITY_BULK
from clarion_channels.port import Message
from clarion_channels.push import ios
from clarion_channels.push.content import InvalidMessage, encode, too_large

MAX_COLLAPSE_ID_BYTES = 64

_TOKEN = re.compile(r"[0-9a-f]{32,200}")
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")


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
    type_name = ios.push_type(push)
    payload = encode(ios.payload_of(push, type_name, message.delivery_id, message.content.event_token))
    if len(payload) > ios.limit(type_name):
        raise too_large(len(payload), ios.limit(type_name), "APNs")
    return ApnsRequest(
        device_token=token,
        payload=payload,
        notification_id=str(message.provider_request_id),
        expiration=int(message.expire_at.timestamp()),
        priority=ios.priority(type_name, bulk=message.priority == PRIORITY_BULK),
        type_name=type_name,
        apns_topic=(device.bundle_id or default_bundle_id) + ios.TOPIC_SUFFIX[type_name],
        collapse_key=collapse_id(message.collapse_key),
    )


def collapse_id(key: str) -> str:
    """`apns-collapse-id`: the key itself where it fits into 64 bytes of a header, else its SHA-256."""
    if not key or (_HEADER_SAFE.fullmatch(key) and len(key) <= MAX_COLLAPSE_ID_BYTES):
        return key
    return urlsafe_b64encode(hashlib.sha256(key.encode()).digest()).rstrip(b"=").decode("ascii")
