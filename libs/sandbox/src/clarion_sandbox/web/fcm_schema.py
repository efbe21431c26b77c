"""The JSON shape of an FCM HTTP v1 send request, refused the way Google's JSON transcoder refuses it.

Source: Firebase Cloud Messaging, REST reference of ``projects.messages``. Both spellings of a field (``snake_case`` and
``lowerCamelCase``) are taken, as Google takes them; everything is turned into ``snake_case``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])[A-Z]")
_DURATION = re.compile(r"-?\d+(?:\.\d{1,9})?s")


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that does not fit: ``google.rpc.BadRequest.FieldViolation``."""

    field: str
    description: str


Kind = Callable[[object, str], "object"]


class ShapeError(Exception):
    """The document does not have the shape; carries the violation."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.description)
        self.violation = violation


def _scalar(wanted: type | tuple[type, ...], name: str) -> Kind:
    def check(value: object, path: str) -> object:
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise ShapeError(Violation(path, f"Invalid value at '{path}' ({name}), {value!r}"))
        return value

    return check


def _duration(value: object, path: str) -> object:
    if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
        raise ShapeError(Violation(path, f"Invalid value at '{path}' (type.googleapis.com/google.protobuf.Duration)"))
    return value


def _enum(*names: str) -> Kind:
    def check(value: object, path: str) -> object:
        if value not in names:
            raise ShapeError(Violation(path, f"Invalid value at '{path}' (TYPE_ENUM), {value!r}"))
        return value

    return check


def _string_map(value: object, path: str) -> object:
    if not isinstance(value, dict):
        raise ShapeError(Violation(path, f"Invalid value at '{path}' (map), {value!r}"))
    for key, item in value.items():
        if not isinstance(item, str):
            raise ShapeError(
                Violation(f"{path}[{len(path)}].value", f"Invalid value at '{path}[\"{key}\"]' (TYPE_STRING), {item!r}")
            )
    return value


def _list_of(kind: Kind) -> Kind:
    def check(value: object, path: str) -> object:
        if not isinstance(value, list):
            raise ShapeError(Violation(path, f"Invalid value at '{path}' (list), {value!r}"))
        return [kind(item, f"{path}[{index}]") for index, item in enumerate(value)]

    return check


def _message(fields: Mapping[str, Kind]) -> Kind:
    def check(value: object, path: str) -> object:
        if not isinstance(value, dict):
            raise ShapeError(Violation(path, f"Invalid value at '{path}' (message), {value!r}"))
        checked: dict[str, object] = {}
        for name, item in value.items():
            snake = name if name in fields else _CAMEL_HUMP.sub(lambda hump: f"_{hump[0].lower()}", name)
            kind = fields.get(snake)
            if kind is None:
                where = f" at '{path}'" if path else ""
                raise ShapeError(
                    Violation(path, f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.')
                )
            if item is not None:
                checked[snake] = kind(item, f"{path}.{snake}" if path else snake)
        return checked

    return check


_STRING = _scalar(str, "TYPE_STRING")
_BOOL = _scalar(bool, "TYPE_BOOL")
_INT = _scalar(int, "TYPE_INT32")
_NUMBER = _scalar((int, float), "TYPE_FLOAT")
_STRUCT = _scalar(dict, "google.protobuf.Struct")
_OPTIONS = _message({"analytics_label": _STRING})
_LIGHT = _message(
    {
        "color": _message({"red": _NUMBER, "green": _NUMBER, "blue": _NUMBER, "alpha": _NUMBER}),
        "light_on_duration": _duration,
        "light_off_duration": _duration,
    }
)
_ANDROID_NOTIFICATION = _message(
    {
        **dict.fromkeys(
            (
                "title",
                "body",
                "icon",
                "color",
                "sound",
                "tag",
                "click_action",
                "body_loc_key",
                "title_loc_key",
                "channel_id",
                "ticker",
                "image",
                "event_time",
            ),
            _STRING,
        ),
        **dict.fromkeys(("body_loc_args", "title_loc_args"), _list_of(_STRING)),
        **dict.fromkeys(
            (
                "sticky",
                "local_only",
                "default_sound",
                "default_vibrate_timings",
                "default_light_settings",
                "bypass_proxy_notification",
            ),
            _BOOL,
        ),
        "notification_priority": _enum(
            "PRIORITY_UNSPECIFIED",
            "PRIORITY_MIN",
            "PRIORITY_LOW",
            "PRIORITY_DEFAULT",
            "PRIORITY_HIGH",
            "PRIORITY_MAX",
        ),
        "vibrate_timings": _list_of(_duration),
        "visibility": _enum("VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"),
        "notification_count": _INT,
        "light_settings": _LIGHT,
        "proxy": _enum("PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
    }
)
_ANDROID = _message(
    {
        "collapse_key": _STRING,
        "priority": _enum("NORMAL", "HIGH", "normal", "high"),
        "ttl": _duration,
        "restricted_package_name": _STRING,
        "data": _string_map,
        "notification": _ANDROID_NOTIFICATION,
        "fcm_options": _OPTIONS,
        "direct_boot_ok": _BOOL,
        "bandwidth_constrained_ok": _BOOL,
        "restricted_satellite_ok": _BOOL,
    }
)
_WEBPUSH = _message(
    {
        "headers": _string_map,
        "data": _string_map,
        "notification": _STRUCT,
        "fcm_options": _message({"link": _STRING, "analytics_label": _STRING}),
    }
)
_APNS = _message(
    {
        "headers": _string_map,
        "payload": _STRUCT,
        "fcm_options": _message({"analytics_label": _STRING, "image": _STRING}),
        "live_activity_token": _STRING,
    }
)
_SEND_REQUEST = _message(
    {
        "validate_only": _BOOL,
        "message": _message(
            {
                "name": _STRING,
                "data": _string_map,
                "notification": _message({"title": _STRING, "body": _STRING, "image": _STRING}),
                "android": _ANDROID,
                "webpush": _WEBPUSH,
                "apns": _APNS,
                "fcm_options": _OPTIONS,
                "token": _STRING,
                "topic": _STRING,
                "condition": _STRING,
            }
        ),
    }
)


def parse_send_request(document: object) -> tuple[dict[str, object], bool]:
    """The message in ``snake_case`` and whether it is only to be validated.

    Raises:
        ShapeError: an unknown field or a value of the wrong type.
    """
    request = _SEND_REQUEST(document, "")
    if not isinstance(request, dict):
        raise ShapeError(Violation("", "Request must be an object"))
    message = request.get("message")
    if not isinstance(message, dict):
        raise ShapeError(Violation("message", "Message is required."))
    return message, request.get("validate_only") is True
