"""What the service worker of a browser gets: the arguments of `ServiceWorkerRegistration.showNotification`.

Source: notifications.spec.whatwg.org.
"""

from clarion.types.v1.channel_pb2 import CHANNEL_WEB
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.clicks import NO_CLICKS, Clicks
from clarion_channels.push.content import LINK, InvalidMessage, Json, app_data, encode, shown_on

MAX_PLAINTEXT_BYTES = 3993
"""What leaves 4,096 bytes of body (RFC 8291): 86 of header, 1 delimiter, 16 of tag."""

ACTION_LINKS = "clarion_action_links"
"""Key of `data`: where each button leads, by its id; the Notification API has no place for it."""


def build_plaintext(common: PushContent, delivery_id: str, event_token: str = "", clicks: Clicks = NO_CLICKS) -> bytes:
    """`{"title": …, "options": {…}}` in JSON; link 0 is the notification's, the buttons' follow. Raises `InvalidMessage`."""
    push = shown_on(CHANNEL_WEB, common)
    web = push.web
    if web.renotify and not web.tag:
        raise InvalidMessage("local:renotify", "browsers throw for renotify without a tag")
    texts = {
        "body": push.body,
        "icon": web.icon_url,
        "image": push.image_url,
        "badge": web.badge_url,
        "tag": web.tag,
    }
    options: dict[str, Json] = {name: text for name, text in texts.items() if text}
    switches = {"requireInteraction": web.require_interaction, "silent": web.silent, "renotify": web.renotify}
    options.update({name: True for name, on in switches.items() if on})
    data: dict[str, Json] = {**app_data(push, delivery_id, event_token)}
    if push.link:
        data[LINK] = clicks.url(0, push.link)
    if push.actions:
        options["actions"] = [
            {"action": action.id, "title": action.title, **({"icon": action.icon_url} if action.icon_url else {})}
            for action in push.actions
        ]
        links: Json = {
            action.id: clicks.url(number, action.link)
            for number, action in enumerate(push.actions, start=1)
            if action.link
        }
        if links:
            data[ACTION_LINKS] = links
    options["data"] = data
    return encode({"title": push.title, "options": options})
