"""One push content as each platform shows it, and what travels in its data whichever the provider."""

import json
from collections.abc import Mapping
from typing import TypeAlias

from clarion.types.v1.channel_pb2 import CHANNEL_ANDROID, CHANNEL_IOS, CHANNEL_WEB, Channel
from clarion.types.v1.content_pb2 import PushContent, PushOverride

Json: TypeAlias = "str | int | float | bool | list[Json] | Mapping[str, Json] | None"

DELIVERY_ID = "clarion_delivery_id"
EVENT_TOKEN = "clarion_event_token"
LINK = "clarion_link"
IMAGE_URL = "clarion_image_url"
ACTIONS = "clarion_actions"
"""Keys of the app's data that are ours; an app may use none that begins with "clarion"."""

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class InvalidMessage(Exception):
    """The message cannot become a request. `code` is for machines; the text is free of personal data."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def too_large(size: int, limit: int, provider: str) -> InvalidMessage:
    """The payload is over the provider's limit, both in bytes."""
    return InvalidMessage("local:payload_too_large", f"payload of {size} bytes, {provider} takes {limit}")


def shown_on(channel: "Channel.ValueType", push: PushContent) -> PushContent:
    """The content for one platform: what its override says in the place of the common fields. Itself without one."""
    override = _override(channel, push)
    if override is None:
        return push
    merged = PushContent()
    merged.CopyFrom(push)
    for field, text in override.ListFields():
        setattr(merged, field.name, text)
    return merged


def app_data(push: PushContent, delivery_id: str, event_token: str = "") -> dict[str, str]:
    """The app's own data, our id and the token of its events (none where they are empty), and the link; `push` as
    `shown_on` gave it."""
    data = dict(push.data)
    if delivery_id:
        data[DELIVERY_ID] = delivery_id
    if event_token:
        data[EVENT_TOKEN] = event_token
    if push.link:
        data[LINK] = push.link
    return data


def actions_of(push: PushContent) -> list[Json]:
    """The buttons as an app finds them: `{"id", "title"}`, and `"link"` where there is one."""
    return [
        {"id": action.id, "title": action.title, **({"link": action.link} if action.link else {})}
        for action in push.actions
    ]


def encode(document: Json) -> bytes:
    """JSON in UTF-8 without needless bytes. Raises `InvalidMessage` for numbers that JSON has not."""
    try:
        return _JSON.encode(document).encode()
    except ValueError as error:
        raise InvalidMessage("local:not_json", "the content holds what JSON cannot") from error


def _override(channel: "Channel.ValueType", push: PushContent) -> PushOverride | None:
    if channel == CHANNEL_IOS:
        return push.ios.override if push.ios.HasField("override") else None
    if channel == CHANNEL_ANDROID:
        return push.android.override if push.android.HasField("override") else None
    if channel == CHANNEL_WEB:
        return push.web.override if push.web.HasField("override") else None
    return None
