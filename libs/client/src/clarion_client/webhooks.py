"""For receivers of webhooks: is a post Clarion's, and fresh?

Standard Webhooks 1.0: github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from clarion_client._wire import JsonValue

TOLERANCE = timedelta(minutes=5)
_PREFIX = "whsec_"
_VERSION = "v1,"


class BadSignature(Exception):
    """The post is not Clarion's, was changed, or is too old: answer 400 and look at nothing in it."""


@dataclass(frozen=True, slots=True)
class Post:
    """A post that is Clarion's. `message_id` is the same for every try of it; each change in `document` has an id of its own
    (`document["data"]["changes"][n]["id"]`), which stays the same wherever it comes again: remember those."""

    message_id: str
    document: Mapping[str, JsonValue]


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secret: str,
    *,
    tolerance: timedelta = TOLERANCE,
    now: float | None = None,
) -> Post:
    """The post, if it was signed with `secret` ("whsec_…") within `tolerance` of now (Unix seconds; default: the clock).

    `body`: the bytes as they came, before any parsing. Names of `headers` in any case. Raises BadSignature, and ValueError
    for a secret that is none.
    """
    key = _key(secret)
    given = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not message_id or not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise BadSignature("a header is missing or malformed")
    expected = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    # Every signature is compared, so that the time tells nothing.
    matches = [hmac.compare_digest(expected, found) for found in _signatures(given.get("webhook-signature", ""))]
    if not any(matches):
        raise BadSignature("no signature fits")
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance.total_seconds():
        raise BadSignature("the timestamp is not of now")
    document = json.loads(body)
    return Post(message_id, document)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not key:
        raise ValueError("not a secret of a webhook")
    return key


def _signatures(header: str) -> list[bytes]:
    found = []
    for part in header.split(" ")[:16]:
        if part.startswith(_VERSION):
            try:
                found.append(base64.b64decode(part.removeprefix(_VERSION), validate=True))
            except (binascii.Error, ValueError):
                continue
    return found
