"""What a notification must be like, whichever door it comes through: sends, broadcasts and what schedules fire.

Works on the messages of the contract, because copying each of 5,000 a second into a second form would cost as much as
accepting it.
"""

import re
from datetime import timedelta

from google.protobuf.struct_pb2 import Struct

from clarion.notification.v1.notification_service_pb2 import ChannelMode, ChannelPolicy, EscalateUntil, Notification
from clarion_channels.content_rules import check_attachments, check_content
from clarion_channels.template_data import holds_nul
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel, Priority
from clarion_ledger.scheduling import read_window

MAX_RECIPIENTS = 100
MAX_DATA_BYTES = 64 << 10
MIN_ESCALATION = timedelta(seconds=1)
MAX_ESCALATION = timedelta(days=7)
_LOCALE = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,6}", re.ASCII)
_CHANNELS = frozenset(channel.value for channel in Channel)
_MODES, _UNTILS = frozenset(ChannelMode.values()), frozenset(EscalateUntil.values())
_ESCALATE = ChannelMode.CHANNEL_MODE_ESCALATE
_PRIORITIES = frozenset({0, *(priority.value for priority in Priority)})


def check_notification(notification: Notification, faults: Faults) -> None:
    """Faults of what every notification says: whom, what, how. Not of its event id and its times, which are the door's."""
    _recipients(notification, faults)
    faults.name("category", notification.category)
    check_priority(notification.priority, faults)
    faults.text("collapse_key", notification.collapse_key, max_bytes=64, required=False)
    faults.text("digest_key", notification.digest_key, max_bytes=64, required=False)
    _body(notification, faults)
    check_attachments(notification, faults)
    policy = notification.channel_policy
    check_policy(policy, faults)
    if policy.mode == _ESCALATE and notification.digest_key:
        faults.add("channel_policy.mode", "an escalation takes no digest key")
    if notification.HasField("send_window"):
        read_window(faults, notification.send_window)


def check_priority(priority: int, faults: Faults) -> None:
    """0 is the default."""
    faults.require("priority", priority in _PRIORITIES, "unknown")


def check_template(name_field: str, name: str, data: Struct, locale: str, faults: Faults) -> None:
    """Faults of a template's name, of its data's size and texts, and of the form of its locale. A locale that no body has is none:
    others serve in its place."""
    faults.name(name_field, name)
    if faults.require("data", data.ByteSize() <= MAX_DATA_BYTES, f"over {MAX_DATA_BYTES} bytes"):
        faults.require("data", not holds_nul(data), "contains NUL")
    if faults.text("locale", locale, max_bytes=35, required=False) and locale:
        faults.require("locale", _LOCALE.fullmatch(locale) is not None, 'must be a BCP 47 tag, e.g. "pt-BR"')


def check_policy(policy: ChannelPolicy, faults: Faults) -> None:
    """Faults within "channel_policy."."""
    with faults.within("channel_policy."):
        faults.require("mode", policy.mode in _MODES, "unknown")
        faults.require("until", policy.until in _UNTILS, "unknown")
        if policy.HasField("escalate_after"):
            nanos = policy.escalate_after.ToNanoseconds()
            within = _nanoseconds(MIN_ESCALATION) <= nanos <= _nanoseconds(MAX_ESCALATION)
            faults.require("escalate_after", within, "1 second to 7 days")
        channels = frozenset(policy.channels)
        faults.require("channels", channels <= _CHANNELS, "unknown channel")
        faults.require("channels", len(channels) == len(policy.channels), "a channel is given twice")


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
                check_template("name", template.name, template.data, template.locale, faults)
        case "content":
            with faults.within("content."):
                check_content(notification.content, faults)
        case _:
            faults.add("body", "a template or content is required")


def _nanoseconds(span: timedelta) -> int:
    return span // timedelta(microseconds=1) * 1_000
