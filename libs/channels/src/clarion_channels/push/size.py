"""Whether a push fits into what its provider takes: for those who must know before a provider is asked."""

from uuid import UUID

from clarion.types.v1.channel_pb2 import CHANNEL_ANDROID
from clarion.types.v1.content_pb2 import PushContent
from clarion_channels.clicks import NO_CLICKS, Clicks
from clarion_channels.push import android, ios, web
from clarion_channels.push.content import InvalidMessage, encode, shown_on

SURELY_FITS_BYTES = 500
"""Of serialised content: a byte of it becomes six of JSON at worst (a control character); 900 are left for keys and our own."""


def excess(kind: str, push: PushContent, delivery_id: UUID, event_token: str = "", clicks: Clicks = NO_CLICKS) -> str:
    """Why no request of this kind of provider can hold the content, in words; empty where it fits or nobody knows.

    Push Kit's limit includes settings of the account: what is over it without them is over it in any case.
    """
    if push.ByteSize() <= SURELY_FITS_BYTES:
        return ""
    try:
        size, limit = measured(kind, push, delivery_id, event_token, clicks)
    except InvalidMessage:
        return ""  # the provider says what is wrong with it
    return f"{size} bytes, {kind} takes {limit}" if size > limit else ""


def measured(
    kind: str, push: PushContent, delivery_id: UUID, event_token: str = "", clicks: Clicks = NO_CLICKS
) -> tuple[int, int]:
    """Bytes of the request and the most its provider takes; 0 and 0 for a kind that nobody knows. Raises InvalidMessage."""
    if kind == "apns":
        type_name = ios.push_type(push)
        return len(encode(ios.payload_of(push, type_name, delivery_id, event_token))), ios.limit(type_name)
    if kind == "fcm":
        shown = shown_on(CHANNEL_ANDROID, push)
        return len(encode(android.payload_of(shown, str(delivery_id), event_token))), android.MAX_PAYLOAD_BYTES
    if kind == "huawei":
        return len(encode(android.payload_of(shown_on(CHANNEL_ANDROID, push), ""))), android.MAX_PAYLOAD_BYTES
    if kind == "webpush":
        return len(web.build_plaintext(push, str(delivery_id), event_token, clicks)), web.MAX_PLAINTEXT_BYTES
    return 0, 0
