"""From a message to what the service worker and the push service read: pure rules, no I/O."""

import hashlib
import json
import re
from datetime import datetime

from clarion.types.v1.channel_pb2 import PRIORITY_BULK, PRIORITY_URGENT
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.port import Message
from clarion_channels.providers.es256 import b64url

MAX_TTL_SECONDS = 28 * 24 * 3600
"""The shortest cap among the large push services (FCM)."""

_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_TOPIC_BYTES = 24

Json = str | bool | dict[str, "Json"]


def build_plaintext(push: PushContent, delivery_id: str) -> bytes:
    """The arguments of `ServiceWorkerRegistration.showNotification`, as JSON: `{"title": …, "options": {…}}`."""
    data: dict[str, Json] = dict(push.data)
    data["clarion_delivery_id"] = delivery_id
    if push.link:
        data["clarion_link"] = push.link
    fields = {"body": push.body, "icon": push.web.icon_url, "image": push.image_url, "tag": push.web.tag}
    options: dict[str, Json] = {name: text for name, text in fields.items() if text}
    if push.web.require_interaction:
        options["requireInteraction"] = True
    options["data"] = data
    return json.dumps({"title": push.title, "options": options}, ensure_ascii=False, separators=(",", ":")).encode()


def request_headers(message: Message, now: datetime) -> dict[str, str]:
    """`TTL`, `Urgency`, `Topic` (RFC 8030 sections 5.2 to 5.4) and the content coding."""
    headers = {
        "ttl": str(min(max(int((message.expire_at - now).total_seconds()), 0), MAX_TTL_SECONDS)),
        "urgency": {PRIORITY_URGENT: "high", PRIORITY_BULK: "low"}.get(message.priority, "normal"),
        "content-encoding": "aes128gcm",
        "content-type": "application/octet-stream",
    }
    if message.collapse_key:
        headers["topic"] = topic(message.collapse_key)
    return headers


def topic(key: str) -> str:
    """The key itself where it is at most 32 base64url characters, else 32 characters of its SHA-256."""
    return key if _TOPIC.fullmatch(key) else b64url(hashlib.sha256(key.encode()).digest()[:_TOPIC_BYTES])
