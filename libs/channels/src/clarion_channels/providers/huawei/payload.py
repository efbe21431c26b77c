"""From messages to the JSON of Push Kit requests, messages of one content in one request: pure rules, no I/O.

Source: HMS Core, "Sending Downlink Messages" (v1 and v2).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from clarion.types.v1.address_pb2 import ANDROID_PUSH_SERVICE_HUAWEI
from clarion.types.v1.channel_pb2 import CHANNEL_ANDROID, PRIORITY_BULK, PRIORITY_URGENT
from clarion.types.v1.content_pb2 import AndroidOptions, PushContent
from clarion_channels.port import Message
from clarion_channels.providers.huawei.settings import HuaweiSettings
from clarion_channels.push.android import data_of, visibility
from clarion_channels.push.content import InvalidMessage, Json, encode, shown_on, too_large

MAX_TOKENS = 1000
MAX_MESSAGE_BYTES = 4096
"""Of the message without its tokens."""
MAX_TTL_SECONDS = 15 * 24 * 3600

_KEEP_ALL = -1
_COLLAPSE_GROUPS = 100
_OPEN_PAGE, _OPEN_URL, _OPEN_APP = 1, 2, 3


@dataclass(frozen=True, slots=True)
class PushRequest:
    """One request: its body, and the messages it carries by their token (1 to 1,000, no token twice)."""

    body: bytes
    messages: dict[str, Message]


@dataclass(slots=True)
class Batches:
    """What a batch of messages became: requests; messages that fit into none, with the reason; and those too late."""

    requests: list[PushRequest] = field(default_factory=list)
    late: list[Message] = field(default_factory=list)
    invalid: list[tuple[Message, InvalidMessage]] = field(default_factory=list)


def build_requests(batch: Sequence[Message], settings: HuaweiSettings, now: datetime) -> Batches:
    """Group `batch` by what Huawei would show and how; each message is in one request, late or invalid."""
    built = Batches()
    alike: dict[tuple[object, ...], list[Message]] = {}
    for message in batch:
        try:
            _check_address(message)
        except InvalidMessage as fault:
            built.invalid.append((message, fault))
            continue
        if ttl_seconds(message.expire_at, now) < 1:
            built.late.append(message)
        else:
            alike.setdefault(_likeness(message, settings, now), []).append(message)
    for messages in alike.values():
        for chosen in _without_repeats(messages):
            try:
                body = build_body(list(chosen.values()), settings, now)
            except InvalidMessage as fault:
                built.invalid += [(message, fault) for message in chosen.values()]
            else:
                built.requests.append(PushRequest(body, chosen))
    return built


def build_body(messages: Sequence[Message], settings: HuaweiSettings, now: datetime) -> bytes:
    """The request's JSON for messages that are alike; raises `InvalidMessage`."""
    first = messages[0]
    push = shown_on(CHANNEL_ANDROID, first.content.push)
    message = _shown(push, settings)
    ours = (str(first.delivery_id), first.content.event_token) if settings.delivery_id_in_data else ("", "")
    data: dict[str, Json] = {**data_of(push, *ours)}
    if data:
        message["data"] = encode(data).decode()
    if not message:
        raise InvalidMessage("local:empty", "the content has neither text nor data")
    shown = message.get("notification") is not None
    message["android"] = _delivery(first, settings, now) | (
        _android_notification(push, first, settings) if shown else {}
    )
    size = len(encode(message))
    if size > MAX_MESSAGE_BYTES:
        raise too_large(size, MAX_MESSAGE_BYTES, "Huawei")
    return encode({"message": message | {"token": [one.address.android.token for one in messages]}})


def collapse_group(key: str) -> int:
    """Huawei's `collapse_key`: of the messages of one group, 1 to 100, an offline device gets only the newest.

    Without a key all are kept (-1). A key that is a number of that range is the group itself; any other key falls into
    one of the hundred, so that two keys may share a group.
    """
    if not key:
        return _KEEP_ALL
    if key.isascii() and key.isdigit() and 1 <= int(key[:4]) <= _COLLAPSE_GROUPS:
        return int(key[:4])
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % _COLLAPSE_GROUPS + 1


def ttl_seconds(expire_at: datetime, now: datetime) -> int:
    """Whole seconds left, at most 15 days; 0 or less = too late."""
    return min(int((expire_at - now).total_seconds()), MAX_TTL_SECONDS)


def _check_address(message: Message) -> None:
    if message.address.WhichOneof("kind") != "android" or message.content.WhichOneof("content") != "push":
        raise InvalidMessage("local:not_for_android", "address or content is not for Android")
    if message.address.android.service != ANDROID_PUSH_SERVICE_HUAWEI:
        raise InvalidMessage("local:push_service", "the device is registered with another push service")


def _likeness(message: Message, settings: HuaweiSettings, now: datetime) -> tuple[object, ...]:
    return (
        message.content.push.SerializeToString(deterministic=True),
        message.priority,
        collapse_group(message.collapse_key),
        ttl_seconds(message.expire_at, now),
        message.delivery_id if settings.delivery_id_in_data else None,
    )


def _without_repeats(messages: Sequence[Message]) -> list[dict[str, Message]]:
    """Cut into parts of at most 1,000 in which no token is twice: Huawei names those it refuses by token alone."""
    parts: list[dict[str, Message]] = [{}]
    open_from = 0
    for message in messages:
        token = message.address.android.token
        part = next((one for one in parts[open_from:] if len(one) < MAX_TOKENS and token not in one), None)
        if part is None:
            part = {}
            parts.append(part)
        part[token] = message
        while open_from < len(parts) - 1 and len(parts[open_from]) == MAX_TOKENS:
            open_from += 1
    return parts


def _shown(push: PushContent, settings: HuaweiSettings) -> dict[str, Json]:
    if push.android.data_only or not (push.title or push.body):
        return {}
    title, body = push.title, push.body
    if not title or not body:
        title, body = settings.fallback_title, title or body
    if not title:
        raise InvalidMessage("local:no_title", "Huawei shows nothing without a title and a body")
    notification: dict[str, Json] = {"title": title, "body": body}
    if push.image_url:
        notification["image"] = push.image_url
    return {"notification": notification}


def _delivery(message: Message, settings: HuaweiSettings, now: datetime) -> dict[str, Json]:
    is_high = settings.high_urgency and message.priority == PRIORITY_URGENT
    android: dict[str, Json] = {
        "collapse_key": collapse_group(message.collapse_key),
        "urgency": "HIGH" if is_high else "NORMAL",
        "ttl": f"{ttl_seconds(message.expire_at, now)}s",
        "bi_tag": str(message.delivery_id),
    }
    if settings.category:
        android["category"] = settings.category
    if settings.receipt_id:
        android["receipt_id"] = settings.receipt_id
    return android


def _android_notification(push: PushContent, message: Message, settings: HuaweiSettings) -> dict[str, Json]:
    options = push.android
    activity: dict[str, Json] = {"type": _OPEN_PAGE, "action": options.click_action}
    notification: dict[str, Json] = {
        "click_action": activity if options.click_action else _click_action(push.link),
        "importance": "LOW" if message.priority == PRIORITY_BULK else "NORMAL",
    }
    texts = {
        "channel_id": options.channel_id,
        "color": options.color,
        "tag": options.tag,
        "visibility": visibility(push),
    }
    notification.update({name: text for name, text in texts.items() if text})
    if options.icon:
        notification["icon"] = _raw(options.icon)
    if settings.badge_class and options.HasField("notification_count"):
        notification["badge"] = {"set_num": options.notification_count, "class": settings.badge_class}
    notification.update(_sound(options))
    return {"notification": notification}


def _sound(options: AndroidOptions) -> dict[str, Json]:
    if not options.sound:
        return {}
    return {"default_sound": True} if options.sound == "default" else {"sound": _raw(options.sound)}


def _raw(resource: str) -> str:
    """Icons and sounds lie in the app's res/raw and are named by that path."""
    return resource if resource.startswith("/raw/") else f"/raw/{resource}"


def _click_action(link: str) -> dict[str, Json]:
    """Open the app; the browser, for https; or the app's page for its own scheme, as an Android intent URI."""
    if not link:
        return {"type": _OPEN_APP}
    scheme = urlsplit(link).scheme.lower()
    if scheme == "https":
        return {"type": _OPEN_URL, "url": link}
    if not scheme or "#" in link:
        raise InvalidMessage("local:link", "Huawei opens https links and links of an app's scheme without a fragment")
    rest = link.partition(":")[2].removeprefix("//")
    # The flag clears what lies above the page: without it taps may stack copies of it.
    return {"type": _OPEN_PAGE, "intent": f"intent://{rest}#Intent;scheme={scheme};launchFlags=0x04000000;end"}
