"""What the push service reads of a message: pure rules, no I/O."""

import hashlib
import re
from datetime import datetime

from clarion.types.v1.channel_pb2 import PRIORITY_BULK, PRIORITY_URGENT
from clarion_channels.port import Message
from clarion_channels.providers.es256 import b64url

MAX_TTL_SECONDS = 28 * 24 * 3600
"""The shortest cap among the large push services (FCM)."""

_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_TOPIC_BYTES = 24


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
