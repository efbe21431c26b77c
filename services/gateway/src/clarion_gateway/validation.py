"""What a notification must be like before it is stored: every fault named, nothing half taken.

Works on the message of the contract, because copying each of 5,000 a second into a second form would cost as much as
accepting it.
"""

from datetime import datetime, timedelta
from typing import Literal

from clarion.notification.v1.notification_service_pb2 import ChannelMode, Notification
from clarion.types.v1.content_pb2 import Content, PushContent
from clarion_gateway.moments import moment
from clarion_kit.errors import DomainError, ErrorReason, FieldFault
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel

MAX_RECIPIENTS = 100
MAX_AHEAD = timedelta(days=366)
MAX_DATA_BYTES = 64 << 10
RESERVED_DATA_KEYS = ("google", "gcm", "clarion")
_CHANNELS = frozenset(channel.value for channel in Channel)


def check(notification: Notification, now: datetime) -> None:
    """Raises INVALID_FIELD with every fault, or EXPIRY_IN_PAST."""
    faults = Faults()
    with faults.within("notification."):
        faults.text("event_id", notification.event_id, max_bytes=128)
        _recipients(notification, faults)
        faults.name("category", notification.category)
        faults.require("priority", 0 <= notification.priority <= 3, "unknown")
        faults.text("collapse_key", notification.collapse_key, max_bytes=64, required=False)
        faults.require("digest_key", not notification.digest_key, "digests are not built yet")
        _body(notification, faults)
        _policy(notification, faults)
        deliver_at = _given(notification, "deliver_at", faults)
        expire_at = _given(notification, "expire_at", faults)
        if deliver_at is not None:
            faults.require("deliver_at", deliver_at <= now + MAX_AHEAD, "more than 366 days ahead")
    faults.raise_if_any()
    if expire_at is not None and expire_at <= max(now, deliver_at or now):
        raise DomainError(
            ErrorReason.EXPIRY_IN_PAST,
            "expire_at must be later than now and deliver_at",
            fields=[FieldFault("notification.expire_at", "must be later than now and deliver_at")],
        )


def content_channels(content: Content) -> frozenset[Channel]:
    """Channels that a content has something for."""
    found: set[Channel] = set()
    if content.HasField("push"):
        found |= {Channel.IOS, Channel.ANDROID, Channel.WEB}
    if content.HasField("sms"):
        found.add(Channel.SMS)
    if content.HasField("mail"):
        found.add(Channel.EMAIL)
    return frozenset(found)


def _recipients(notification: Notification, faults: Faults) -> None:
    ids = notification.recipient_ids
    faults.require("recipient_ids", 1 <= len(ids) <= MAX_RECIPIENTS, f"1 to {MAX_RECIPIENTS} are required")
    for position, recipient_id in enumerate(ids[:MAX_RECIPIENTS]):
        faults.text(f"recipient_ids[{position}]", recipient_id, max_bytes=128)
    if len(ids) > 1:
        faults.require("recipient_ids", len(set(ids)) == len(ids), "an id is given twice")


def _body(notification: Notification, faults: Faults) -> None:
    match notification.WhichOneof("body"):
        case "template":
            template = notification.template
            with faults.within("template."):
                faults.name("name", template.name)
                faults.require("data", template.data.ByteSize() <= MAX_DATA_BYTES, f"over {MAX_DATA_BYTES} bytes")
                faults.text("locale", template.locale, max_bytes=35, required=False)
        case "content":
            with faults.within("content."):
                _content(notification.content, faults)
        case _:
            faults.add("body", "a template or content is required")


def _content(content: Content, faults: Faults) -> None:
    faults.require("push", bool(content_channels(content)), "content for at least one channel is required")
    if content.HasField("push"):
        with faults.within("push."):
            _push(content.push, faults)
    if content.HasField("sms") and faults.text("sms.text", content.sms.text, max_bytes=6_400, lines=True):
        faults.require("sms.text", len(content.sms.text) <= 1_600, "longer than 1,600 characters")
    if content.HasField("mail"):
        with faults.within("mail."):
            mail = content.mail
            faults.text("subject", mail.subject, max_bytes=998)
            faults.text("text", mail.text, max_bytes=256 << 10, required=False, lines=True)
            faults.text("html", mail.html, max_bytes=512 << 10, required=False, lines=True)
            faults.require("text", bool(mail.text or mail.html), "text or html is required")


def _push(push: PushContent, faults: Faults) -> None:
    silent = push.ios.content_available or (bool(push.data) and push.android.data_only)
    faults.require("title", bool(push.title or push.body) or silent, "title or body is required")
    faults.text("title", push.title, max_bytes=512, required=False)
    faults.text("body", push.body, max_bytes=3_072, required=False, lines=True)
    for name, url in (("image_url", push.image_url), ("web.icon_url", push.web.icon_url)):
        if url and faults.text(name, url, max_bytes=2_048):
            faults.require(name, url.startswith("https://"), "must be an https URL")
    faults.text("link", push.link, max_bytes=2_048, required=False)
    faults.require("data", len(push.data) <= 32, "more than 32 entries")
    for key, value in push.data.items():
        reserved = key == "from" or key.startswith(RESERVED_DATA_KEYS)
        faults.require("data", not reserved, f"the key {key[:32]!r} is reserved")
        faults.text("data", key, max_bytes=128)
        faults.text("data", value, max_bytes=3_072, required=False, lines=True)


def _policy(notification: Notification, faults: Faults) -> None:
    policy = notification.channel_policy
    with faults.within("channel_policy."):
        faults.require(
            "mode",
            policy.mode in (0, 1, 2),
            "not built yet" if policy.mode == ChannelMode.CHANNEL_MODE_ESCALATE else "unknown",
        )
        channels = policy.channels
        faults.require("channels", all(channel in _CHANNELS for channel in channels), "unknown channel")
        faults.require("channels", len(set(channels)) == len(channels), "a channel is given twice")


def _given(notification: Notification, name: Literal["deliver_at", "expire_at"], faults: Faults) -> datetime | None:
    return moment(faults, name, getattr(notification, name)) if notification.HasField(name) else None
