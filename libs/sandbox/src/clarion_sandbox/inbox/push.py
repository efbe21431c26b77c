"""Push messages as phones and browsers show them.

Facts, each only where it says something: ``silent`` (nothing is shown), ``replaces`` (a newer message of the same app,
device and value takes the place of this one), ``image`` (URL), ``link``, ``actions`` (titles of buttons); iOS: ``badge``,
``level``, ``thread``, ``sound``; Android: ``channel`` (notification channel), ``color``; browser: ``origin``, ``sticky``.

What replaces what: ``apns-collapse-id``; the ``tag`` of Android and of the Notifications API. FCM's ``collapse_key`` and
Web Push's Topic concern only messages not delivered yet.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from clarion_sandbox.ledger import Arrival

from .json_value import Json, first_text, parse, part, text
from .shown import Shown

_MAX_ACTIONS = 4


def of_apns(arrival: Arrival) -> Shown:
    """An APNs payload ("Generating a remote notification", developer.apple.com)."""
    document = parse(arrival.content)
    aps = part(document, "aps")
    alert = aps.get("alert")
    words: Mapping[str, Json] = alert if isinstance(alert, Mapping) else {"body": alert}
    title, body = (_localized(words, name) for name in ("title", "body"))
    badge = aps.get("badge")
    facts: dict[str, Json] = {
        "replaces": arrival.attributes.get("collapse_id", ""),
        "badge": badge if isinstance(badge, int) else None,
        "level": text(aps.get("interruption-level")),
        "thread": text(aps.get("thread-id")),
        "sound": "sound" in aps,
        "silent": not title and not body,
        "image": _field(document, "clarion_image_url"),
        "link": _field(document, "clarion_link"),
        "actions": _actions(document.get("clarion_actions") if isinstance(document, Mapping) else None),
    }
    topic = arrival.attributes.get("topic", "")
    return Shown(topic, title, _localized(words, "subtitle"), body, _told(facts))


def of_android(arrival: Arrival) -> Shown:
    """A message of FCM's HTTP v1 API or of Huawei's Push Kit."""
    document = parse(arrival.content)
    message = part(document, "message") or document
    android = part(message, "android")
    common, own = part(message, "notification"), part(android, "notification")
    data = _data(message)
    title = first_text(own.get("title"), common.get("title"))
    body = first_text(own.get("body"), common.get("body"))
    silent = not title and not body
    facts: dict[str, Json] = {
        "replaces": first_text(own.get("tag"), own.get("notify_id")),
        "channel": text(own.get("channel_id")),
        "color": text(own.get("color")),
        "silent": silent,
        "image": first_text(
            own.get("image"), common.get("image"), data.get("clarion_image"), data.get("clarion_image_url")
        ),
        "link": text(data.get("clarion_link")),
        "actions": _actions(data.get("clarion_actions")),
    }
    if silent:
        # The app draws a data message itself; its likely words tell people which message it is.
        title = first_text(data.get("clarion_title"), data.get("title"))
        body = first_text(data.get("clarion_body"), data.get("body"))
    app = first_text(android.get("restricted_package_name"), arrival.attributes.get("project"))
    return Shown(app, title, "", body, _told(facts))


def of_browser(arrival: Arrival) -> Shown:
    """A decrypted Web Push message: the arguments of ``showNotification``, flat, or under ``notification``."""
    document = parse(arrival.content)
    if not isinstance(document, Mapping):
        return of_text(arrival)
    outer = part(document, "notification") or document
    options = part(outer, "options") or outer
    data = part(options, "data")
    subject = arrival.attributes.get("subject", "").removeprefix("mailto:")
    link = first_text(data.get("clarion_link"), options.get("link"), options.get("url"))
    title, body = text(outer.get("title")), first_text(options.get("body"), outer.get("body"))
    facts: dict[str, Json] = {
        "replaces": text(options.get("tag")),
        "origin": _host(link) or _site(subject),
        "actions": _actions(options.get("actions")),
        "sticky": options.get("requireInteraction") is True,
        "silent": not title and not body,
        "image": text(options.get("image")),
        "link": link,
    }
    return Shown(subject, title, "", body, _told(facts))


def of_text(arrival: Arrival) -> Shown:
    """Content of no known form: its text."""
    subject = arrival.attributes.get("subject", "").removeprefix("mailto:")
    body = arrival.content[:4_000].decode("utf-8", "replace")
    return Shown(subject, "", "", body, _told({"origin": _site(subject), "silent": not body}))


def _localized(words: Mapping[str, Json], name: str) -> str:
    """The text, else the key by which the app finds it."""
    keys = {"title": "title-loc-key", "subtitle": "subtitle-loc-key", "body": "loc-key"}
    return first_text(words.get(name), words.get(keys[name]))


def _data(message: Json) -> Mapping[str, Json]:
    """FCM's ``data`` object, or Push Kit's string of JSON."""
    data = message.get("data") if isinstance(message, Mapping) else None
    if isinstance(data, str):
        data = parse(data.encode("utf-8", "replace"))
    return data if isinstance(data, Mapping) else {}


def _field(document: Json, name: str) -> str:
    return text(document.get(name)) if isinstance(document, Mapping) else ""


def _actions(value: Json) -> list[Json]:
    """The titles of a list of actions, or of the JSON text of one (FCM's data are texts)."""
    if isinstance(value, str):
        value = parse(value.encode("utf-8", "replace"))
    actions = value[:_MAX_ACTIONS] if isinstance(value, list) else []
    titles = [text(action.get("title"), 60) for action in actions if isinstance(action, Mapping)]
    return [title for title in titles if title]


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _site(subject: str) -> str:
    """The site of a VAPID contact: an https URL's host, a mail address's domain."""
    return _host(subject) or subject.rpartition("@")[2]


def _told(facts: Mapping[str, Json]) -> dict[str, Json]:
    """Without those that say nothing; a badge of 0 says something: it removes the badge."""
    return {name: value for name, value in facts.items() if value or (value == 0 and value is not False)}
