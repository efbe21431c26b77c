"""FCM HTTP v1: ``POST /v1/projects/<project>/messages:send``.

Source: Firebase Cloud Messaging, "HTTP v1 API" and "FCM error codes".
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable

from clarion_sandbox import content
from clarion_sandbox.answers import AnswerTable, Row
from clarion_sandbox.fates import Fates
from clarion_sandbox.ledger import Ledger

from .fcm_schema import ShapeError, Violation, parse_send_request
from .google_token import AccessTokens
from .http import Headers, Outcome, Reply, Request, is_lost, json_reply, silence

NAME = "fcm"
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_MAX_BYTES = 4096
_MAX_TOPIC_BYTES = 2048
_MAX_TTL_SECONDS = 2_419_200
_REGISTRATION_TOKEN = re.compile(r"[A-Za-z0-9_:\-]{20,4096}")
_TOPIC = re.compile(r"[a-zA-Z0-9\-_.~%]{1,900}")
_ANALYTICS_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}")


class _Refused(Exception):
    """The request is refused with a row of the table, possibly with another message and a field violation."""

    def __init__(self, code: str, message: str | None = None, violation: Violation | None = None) -> None:
        super().__init__(message or code)
        self.code, self.message, self.violation = code, message, violation


class Fcm:
    """The handler."""

    def __init__(
        self,
        project: str,
        tokens: AccessTokens,
        table: AnswerTable,
        fates: Fates,
        ledger: Ledger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._project = project
        self._path = f"/v1/projects/{project}/messages:send"
        self._names = f"projects/{project}/messages/"
        self._tokens = tokens
        self._table = table
        self._fates = fates
        self._ledger = ledger
        self._clock = clock

    async def __call__(self, request: Request) -> Outcome:
        """Answer one send."""
        size = len(request.body)
        try:
            self._authorize(request)
            message, validate_only = _parse(request.body)
            target = _target(message)
            _check_limits(message, is_topic="token" not in message)
        except _Refused as refused:
            row = self._table.row(refused.code)
            self._ledger.refuse(NAME, answer=_label(row), size=size)
            return _refusal(row, refused.message, refused.violation)
        fate = self._fates.decide(NAME, target)
        latency = self._fates.latency(NAME, target)
        if latency:
            await asyncio.sleep(latency)
        if isinstance(fate, Row):
            self._ledger.refuse(NAME, answer=_label(fate), destination=target, size=size)
            return _refusal(fate)
        if fate is not None and not is_lost(fate):
            self._ledger.refuse(NAME, answer=fate, destination=target, size=size)
            return silence(fate)
        if validate_only:
            self._ledger.refuse(NAME, answer="200 validate_only", destination=target, size=size)
            return json_reply(200, {"name": f"{self._names}fake_message_id"})
        name = f"{self._names}0:{int(self._clock() * 1_000_000)}%{secrets.token_hex(8)}"
        self._ledger.accept(
            NAME,
            answer="200" if fate is None else fate,
            message_id=name,
            destination=target,
            digest=content.of_fcm(message),
            content=request.body,
            our_id=_analytics_label(message),
            attributes={"project": self._project},
        )
        return json_reply(200, {"name": name}) if fate is None else silence(fate)

    def _authorize(self, request: Request) -> None:
        scheme, _, token = (request.headers.get("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not self._tokens.valid(token):
            raise _Refused("4010")
        if request.path != self._path or request.method != "POST":
            raise _Refused("4041")


def _parse(body: bytes) -> tuple[dict[str, object], bool]:
    try:
        return parse_send_request(json.loads(body))
    except ShapeError as error:
        raise _Refused("4002", error.violation.description, error.violation) from error
    except ValueError as error:
        text = "Invalid JSON payload received."
        raise _Refused("4002", text, Violation("", text)) from error


def _target(message: dict[str, object]) -> str:
    targets = [name for name in ("token", "topic", "condition") if message.get(name)]
    if not targets:
        raise _Refused(
            "4001", "Recipient of the message is not set.", Violation("message.token", "Recipient is not set")
        )
    if len(targets) > 1:
        text = "Exactly one of token, topic or condition is required"
        raise _Refused("4002", text, Violation("message", text))
    target = str(message[targets[0]])
    if targets == ["token"] and _REGISTRATION_TOKEN.fullmatch(target) is None:
        raise _Refused("4000")
    if targets == ["topic"] and _TOPIC.fullmatch(target) is None:
        raise _Refused("4001", "Malformed topic name")
    return target if targets == ["token"] else f"{targets[0]}:{target}"


def _check_limits(message: dict[str, object], *, is_topic: bool) -> None:
    android = _part(message, "android")
    size = 0
    for data in (_part(message, "data"), _part(android, "data")):
        for key, value in data.items():
            if key == "from" or key == "message_type" or key.startswith(("google", "gcm")):
                raise _Refused("4001", f"Invalid data payload key: {key}")
            size += len(key.encode()) + len(str(value).encode())
    for notification in (_part(message, "notification"), _part(android, "notification")):
        size += sum(len(key) + len(value.encode()) for key, value in notification.items() if isinstance(value, str))
    if size > (_MAX_TOPIC_BYTES if is_topic else _MAX_BYTES):
        raise _Refused("4001")
    ttl = android.get("ttl")
    if isinstance(ttl, str) and not 0 <= float(ttl[:-1]) <= _MAX_TTL_SECONDS:
        raise _Refused("4001", "Invalid ttl: must be between 0 and 2419200 seconds")
    label = _analytics_label(message)
    if label and _ANALYTICS_LABEL.fullmatch(label) is None:
        raise _Refused("4001", "Invalid analytics label")


def _part(parent: dict[str, object], name: str) -> dict[str, object]:
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def _analytics_label(message: dict[str, object]) -> str:
    for options in (_part(_part(message, "android"), "fcm_options"), _part(message, "fcm_options")):
        label = options.get("analytics_label")
        if isinstance(label, str):
            return label
    return ""


def _label(row: Row) -> str:
    return f"{row.status} {row.text('fcm') or row.reason}"


def _refusal(row: Row, message: str | None = None, violation: Violation | None = None) -> Reply:
    text = message or row.text("message") or row.reason
    details: list[dict[str, object]] = []
    fcm_code, field = row.text("fcm"), row.text("field")
    if fcm_code is not None:
        details.append({"@type": _FCM_ERROR, "errorCode": fcm_code})
    if violation is None and field is not None:
        violation = Violation(field, text)
    if violation is not None:
        violations = [{"field": violation.field, "description": violation.description}]
        details.append({"@type": _BAD_REQUEST, "fieldViolations": violations})
    error: dict[str, object] = {"code": row.status, "message": text, "status": row.reason}
    if details:
        error["details"] = details
    retry_after = row.text("retry_after")
    headers: Headers = [] if retry_after is None else [("retry-after", retry_after)]
    return json_reply(row.status, {"error": error}, headers)
