"""What Push Kit checks in a message: shape, values, size. One fault gives one code of its table.

Source: HUAWEI Push Kit, "Sending Downlink Messages" (v1 and v2).
"""

import json
import re
from collections.abc import Callable, Mapping

_MAX_TOKENS = 1000
_MAX_BYTES = 4096
_MAX_TTL_SECONDS = 15 * 24 * 3600
_MAX_TAG_BYTES = 64
_TTL = re.compile(r"([0-9]{1,9})s?")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")

Check = Callable[[object], bool]


class Fault(Exception):
    """The request is refused: Huawei's code, and what is wrong."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


_MESSAGE: Mapping[str, Check] = {
    "data": _is_text,
    "notification": _is_object,
    "android": _is_object,
    "token": _is_list,
    "topic": _is_text,
    "condition": _is_text,
}
_NOTIFICATION: Mapping[str, Check] = dict.fromkeys(("title", "body", "image"), _is_text)
_ANDROID: Mapping[str, Check] = {
    "collapse_key": _is_number,
    "urgency": _is_text,
    "category": _is_text,
    "ttl": _is_text,
    "bi_tag": _is_text,
    "receipt_id": _is_text,
    "target_user_type": _is_number,
    "fast_app_target": _is_number,
    "data": _is_text,
    "notification": _is_object,
}
_ANDROID_NOTIFICATION: Mapping[str, Check] = {
    **dict.fromkeys(
        (
            "title",
            "body",
            "icon",
            "color",
            "sound",
            "tag",
            "channel_id",
            "image",
            "importance",
            "ticker",
            "when",
            "visibility",
            "notify_summary",
        ),
        _is_text,
    ),
    **dict.fromkeys(("default_sound", "auto_cancel", "foreground_show", "use_default_vibrate"), _is_bool),
    **dict.fromkeys(("notify_id", "style"), _is_number),
    "badge": _is_object,
    "click_action": _is_object,
}


def parse_send_request(body: bytes) -> tuple[dict[str, object], list[str], bool]:
    """The message without its tokens, the tokens, and whether it is only to be validated.

    Raises:
        Fault: the first thing that is wrong.
    """
    try:
        request = json.loads(body)
    except ValueError as error:
        raise Fault("80100003", "the body is no JSON") from error
    message = request.get("message") if isinstance(request, dict) else None
    if not isinstance(message, dict) or not request.keys() <= {"validate_only", "message"}:
        raise Fault("80100003", "the request holds message and validate_only")
    _check_fields(message, _MESSAGE, "message")
    tokens = _tokens(message)
    rest = {name: value for name, value in message.items() if name != "token"}
    if len(json.dumps(rest, ensure_ascii=False, separators=(",", ":")).encode()) > _MAX_BYTES:
        raise Fault("80300008", "the message is too large")
    android = _part(rest, "android")
    _check_fields(android, _ANDROID, "message.android")
    _check_android(android)
    _check_shown(rest, android)
    return rest, tokens, request.get("validate_only") is True


def _tokens(message: Mapping[str, object]) -> list[str]:
    if "topic" in message or "condition" in message:
        raise Fault("80100017", "this service takes tokens only")
    tokens = message.get("token")
    if not isinstance(tokens, list) or not 1 <= len(tokens) <= _MAX_TOKENS:
        raise Fault("80300010", "1 to 1000 tokens are required")
    texts = [token for token in tokens if isinstance(token, str) and token]
    if len(texts) < len(tokens):
        raise Fault("80100001", "a token is no text")
    return texts


def _check_android(android: Mapping[str, object]) -> None:
    group = android.get("collapse_key", -1)
    if not isinstance(group, int) or not -1 <= group <= 100:
        raise Fault("80100013", "collapse_key is -1 to 100")
    if android.get("urgency", "NORMAL") not in ("HIGH", "NORMAL"):
        raise Fault("80100001", "urgency is HIGH or NORMAL")
    life = _TTL.fullmatch(str(android.get("ttl", "86400s")))
    if life is None or int(life[1]) > _MAX_TTL_SECONDS:
        raise Fault("80100001", "ttl is at most 15 days in seconds")
    if int(life[1]) == 0:
        raise Fault("80100004", "the message has expired")
    if len(str(android.get("bi_tag", "")).encode()) > _MAX_TAG_BYTES:
        raise Fault("80100001", "bi_tag has at most 64 bytes")


def _check_shown(message: Mapping[str, object], android: Mapping[str, object]) -> None:
    if "notification" not in message and "notification" not in android:
        if not message.get("data"):
            raise Fault("80100003", "neither data nor a notification")
        return
    common, own = _part(message, "notification"), _part(android, "notification")
    _check_fields(common, _NOTIFICATION, "message.notification")
    _check_fields(own, _ANDROID_NOTIFICATION, "message.android.notification")
    if not all(own.get(name) or common.get(name) for name in ("title", "body")):
        raise Fault("80100001", "a notification has a title and a body")
    if own.get("importance", "NORMAL") not in ("LOW", "NORMAL", "HIGH"):
        raise Fault("80100001", "importance is LOW, NORMAL or HIGH")
    if _COLOUR.fullmatch(str(own.get("color", "#000000"))) is None:
        raise Fault("80100001", "color is #RRGGBB")
    if any(not str(own[name]).startswith("/raw/") for name in ("icon", "sound") if name in own):
        raise Fault("80100001", "icon and sound lie under /raw/")
    _check_click(own.get("click_action"))


def _check_click(action: object) -> None:
    if not isinstance(action, dict):
        raise Fault("80100001", "click_action is required")
    match action.get("type"):
        case 1 if action.get("intent") or action.get("action"):
            return
        case 2 if str(action.get("url", "")).startswith("https://"):
            return
        case 3:
            return
    raise Fault("80100001", "click_action is 1 with intent or action, 2 with an https url, or 3")


def _check_fields(part: Mapping[str, object], known: Mapping[str, Check], path: str) -> None:
    for name, value in part.items():
        check = known.get(name)
        if check is None:
            raise Fault("80100003", f"{path} has no field {name}")
        if not check(value):
            raise Fault("80100003", f"{path}.{name} has another type")


def _part(parent: Mapping[str, object], name: str) -> dict[str, object]:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}
