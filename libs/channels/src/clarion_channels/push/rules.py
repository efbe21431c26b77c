"""What a push content must be like before it is taken: every fault named by its field."""

import math
import re

from clarion.types.v1.content_pb2 import AndroidOptions, IosOptions, PushContent, PushOverride, WebOptions
from clarion_channels.push.android import VISIBILITIES
from clarion_channels.push.content import InvalidMessage, encode
from clarion_channels.push.ios import INTERRUPTION_LEVELS, LIVE_ACTIVITY_EVENTS, OWN_APS_KEYS, TOPIC_SUFFIX, struct_json
from clarion_kit.validate import Faults

MAX_TITLE_BYTES = 512
MAX_BODY_BYTES = 3_072
MAX_URL_BYTES = 2_048
MAX_NAME_BYTES = 256
"""Of sounds, icons, tags and other names that the app knows."""
MAX_DATA_ENTRIES = 32
MAX_ACTIONS = 3
MAX_ACTION_BYTES = 64
MAX_APS_BYTES = 4_096
RESERVED_DATA_KEYS = ("google", "gcm", "clarion")

_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_LINK = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):\S+")
_FOREIGN_SCHEMES = frozenset({"http", "javascript", "vbscript", "data", "file", "blob", "about"})
"""What no app has as its own, or a browser would run."""
_SILENT = TOPIC_SUFFIX.keys() - {"alert"}
"""Push types that may do without words."""


def check_push(push: PushContent, faults: Faults) -> None:
    """Faults of a content that is sent as it is."""
    silent = push.ios.content_available or (bool(push.data) and push.android.data_only) or push.ios.push_type in _SILENT
    faults.require("title", bool(push.title or push.body) or silent, "title or body is required")
    _check_texts(push, faults)
    check_structure(push, faults)
    for key, value in push.data.items():
        faults.text("data", key, max_bytes=128)
        faults.text("data", value, max_bytes=MAX_BODY_BYTES, required=False, lines=True)
    for position, action in enumerate(push.actions[:MAX_ACTIONS]):
        with faults.within(f"actions[{position}]."):
            faults.text("title", action.title, max_bytes=MAX_ACTION_BYTES, required=False)
            _check_link("link", action.link, faults)
    if push.HasField("ios"):
        with faults.within("ios."):
            _check_ios_texts(push.ios, faults)
    if push.HasField("android"):
        with faults.within("android."):
            _check_android_texts(push.android, faults)
    if push.HasField("web"):
        with faults.within("web."):
            _check_web_texts(push.web, faults)


def check_structure(push: PushContent, faults: Faults) -> None:
    """Faults that a template has too: those of everything that is no text to be rendered."""
    faults.require("data", len(push.data) <= MAX_DATA_ENTRIES, f"more than {MAX_DATA_ENTRIES} entries")
    for key in push.data:
        reserved = key in ("from", "aps") or key.startswith(RESERVED_DATA_KEYS)
        faults.require("data", not reserved, f"the key {key[:32]!r} is reserved")
    faults.require("actions", len(push.actions) <= MAX_ACTIONS, f"more than {MAX_ACTIONS}")
    ids = [action.id for action in push.actions[:MAX_ACTIONS]]
    faults.require("actions", len(set(ids)) == len(ids), "an id is given twice")
    for position, action in enumerate(push.actions[:MAX_ACTIONS]):
        with faults.within(f"actions[{position}]."):
            faults.text("id", action.id, max_bytes=MAX_ACTION_BYTES)
            faults.require("title", bool(action.title), "required")
            _check_url("icon_url", action.icon_url, faults)
    if push.HasField("ios"):
        with faults.within("ios."):
            _check_ios(push, faults)
    if push.HasField("android"):
        visibility = push.android.visibility
        faults.require(
            "android.visibility", not visibility or visibility in VISIBILITIES, "private, public or secret is known"
        )
        count = push.android.notification_count
        faults.require("android.notification_count", count < 1 << 31, "at most 2,147,483,647")
    if push.HasField("web"):
        faults.require("web.renotify", not push.web.renotify or bool(push.web.tag), "needs a tag")


def _check_ios(push: PushContent, faults: Faults) -> None:
    ios = push.ios
    faults.require("push_type", not ios.push_type or ios.push_type in TOPIC_SUFFIX, "unknown")
    level = ios.interruption_level
    faults.require(
        "interruption_level", not level or level in INTERRUPTION_LEVELS, "passive, active, time-sensitive or critical"
    )
    if ios.HasField("relevance_score"):
        score = ios.relevance_score
        faults.require("relevance_score", math.isfinite(score) and 0 <= score <= 1, "0 to 1")
    if ios.push_type == "background":
        shown = push.title or push.body or ios.subtitle or ios.sound or ios.HasField("badge")
        faults.require("push_type", not shown, "a background push shows nothing: it takes no text, sound or badge")
    if ios.push_type == "liveactivity":
        _check_live_activity(ios, faults)
    for key in sorted(OWN_APS_KEYS & ios.aps.fields.keys()):
        faults.add(f"aps.{key}", "is set by a field of its own")
    if ios.HasField("aps"):
        _check_json("aps", ios, faults)


def _check_live_activity(ios: IosOptions, faults: Faults) -> None:
    fields = ios.aps.fields
    event = fields["event"].string_value if "event" in fields else ""
    faults.require("aps.event", event in LIVE_ACTIVITY_EVENTS, "a live activity needs start, update or end")
    needed = {"start": ("content-state", "attributes-type", "attributes"), "update": ("content-state",)}
    for key in needed.get(event, ()):
        faults.require(f"aps.{key}", key in fields, f"the event {event} needs it")
    if "timestamp" in fields:
        faults.require("aps.timestamp", fields["timestamp"].number_value > 0, "Unix seconds")


def _check_json(field: str, ios: IosOptions, faults: Faults) -> None:
    try:
        size = len(encode(struct_json(ios.aps)))
    except (InvalidMessage, RecursionError):
        faults.add(field, "holds what JSON cannot")
    else:
        faults.require(field, size <= MAX_APS_BYTES, f"over {MAX_APS_BYTES} bytes of JSON")


def _check_texts(texts: PushContent | PushOverride, faults: Faults) -> None:
    faults.text("title", texts.title, max_bytes=MAX_TITLE_BYTES, required=False)
    faults.text("body", texts.body, max_bytes=MAX_BODY_BYTES, required=False, lines=True)
    _check_url("image_url", texts.image_url, faults)
    _check_link("link", texts.link, faults)


def _check_ios_texts(ios: IosOptions, faults: Faults) -> None:
    faults.text("subtitle", ios.subtitle, max_bytes=MAX_TITLE_BYTES, required=False)
    for name, text in (("sound", ios.sound), ("thread_id", ios.thread_id), ("category", ios.category)):
        faults.text(name, text, max_bytes=MAX_NAME_BYTES, required=False)
    if ios.HasField("override"):
        with faults.within("override."):
            _check_texts(ios.override, faults)


def _check_android_texts(android: AndroidOptions, faults: Faults) -> None:
    for name, text in (
        ("channel_id", android.channel_id),
        ("icon", android.icon),
        ("sound", android.sound),
        ("tag", android.tag),
        ("click_action", android.click_action),
    ):
        faults.text(name, text, max_bytes=MAX_NAME_BYTES, required=False)
    faults.require("color", not android.color or _COLOUR.fullmatch(android.color) is not None, "must be #rrggbb")
    if android.HasField("override"):
        with faults.within("override."):
            _check_texts(android.override, faults)


def _check_web_texts(web: WebOptions, faults: Faults) -> None:
    faults.text("tag", web.tag, max_bytes=MAX_NAME_BYTES, required=False)
    _check_url("icon_url", web.icon_url, faults)
    _check_url("badge_url", web.badge_url, faults)
    if web.HasField("override"):
        with faults.within("override."):
            _check_texts(web.override, faults)


def _check_url(field: str, url: str, faults: Faults) -> None:
    if url and faults.text(field, url, max_bytes=MAX_URL_BYTES):
        faults.require(field, url.startswith("https://"), "must be an https URL")


def _check_link(field: str, link: str, faults: Faults) -> None:
    if link and faults.text(field, link, max_bytes=MAX_URL_BYTES):
        matched = _LINK.fullmatch(link)
        usable = matched is not None and matched[1].lower() not in _FOREIGN_SCHEMES
        faults.require(field, usable, "must be an https URL or begin with an app's own scheme")
