"""What Android devices get, by FCM and by Push Kit alike: words, data, and how they are shown.

Source: firebase.google.com/docs/reference/fcm/rest/v1/projects.messages.
"""

from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.push.content import ACTIONS, IMAGE_URL, InvalidMessage, Json, actions_of, app_data, encode

MAX_PAYLOAD_BYTES = 4096
"""Of FCM's `notification` and `data`."""

VISIBILITIES = frozenset({"private", "public", "secret"})


def data_of(push: PushContent, delivery_id: str, event_token: str = "") -> dict[str, str]:
    """The data; `push` as `shown_on` gave it. Buttons are a text of JSON, for data holds texts alone; with `data_only` the
    words and the picture are in it too."""
    data = app_data(push, delivery_id, event_token)
    if push.actions:
        data[ACTIONS] = encode(actions_of(push)).decode()
    if push.android.data_only:
        shown = {"clarion_title": push.title, "clarion_body": push.body, IMAGE_URL: push.image_url}
        data.update({name: text for name, text in shown.items() if text})
    return data


def payload_of(push: PushContent, delivery_id: str, event_token: str = "") -> dict[str, Json]:
    """What counts against FCM's limit: `notification` (unless the app draws it) and `data`. `push` as for `data_of`."""
    data: Json = data_of(push, delivery_id, event_token)
    shown = {"title": push.title, "body": push.body, "image": push.image_url}
    notification: Json = {name: text for name, text in shown.items() if text}
    if push.android.data_only or not notification:
        return {"data": data}
    return {"notification": notification, "data": data}


def notification_of(push: PushContent) -> dict[str, Json]:
    """FCM's `android.notification`: how it is shown; empty where the app draws it. Raises `InvalidMessage`."""
    options = push.android
    if options.data_only:
        return {}
    texts = {
        "channel_id": options.channel_id,
        "icon": options.icon,
        "color": options.color,
        "sound": options.sound,
        "tag": options.tag,
        "click_action": options.click_action,
        "visibility": visibility(push),
    }
    notification: dict[str, Json] = {name: text for name, text in texts.items() if text}
    if options.HasField("notification_count"):
        notification["notification_count"] = options.notification_count
    if options.sticky:
        notification["sticky"] = True
    return notification


def visibility(push: PushContent) -> str:
    """PRIVATE, PUBLIC or SECRET, "" where the content says nothing. Raises `InvalidMessage`."""
    asked = push.android.visibility
    if asked and asked not in VISIBILITIES:
        raise InvalidMessage("local:visibility", "visibility is private, public or secret")
    return asked.upper()
