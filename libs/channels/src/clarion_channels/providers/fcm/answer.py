"""From FCM's HTTP answer to a `Result`: pure rules, no I/O."""

import re
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clarion_channels.errortable import ErrorTable
from clarion_channels.excerpt import excerpt
from clarion_channels.http import HttpAnswer
from clarion_channels.outcome import Outcome, Result

DEFAULT_THROTTLE = timedelta(seconds=60)
"""Google's advice for 429 without Retry-After."""

_OK = 200
_FCM_ERROR = "google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "google.rpc.BadRequest"
_TOKEN_AT_FAULT = re.compile(r"registration token is not (a )?valid", re.IGNORECASE)


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Detail(_Lenient):
    type: str = Field(default="", alias="@type")
    error_code: str = Field(default="", alias="errorCode")


class _Error(_Lenient):
    status: str = ""
    message: str = ""
    details: tuple[_Detail, ...] = ()


class _ErrorBody(_Lenient):
    error: _Error


class _Accepted(_Lenient):
    name: str = ""


def classify(table: ErrorTable, answer: HttpAnswer, token: str, now: datetime) -> Result:
    """The meaning of an answer; `token` is kept out of the detail."""
    if answer.status == _OK:
        return Result(Outcome.ACCEPTED, provider_message_id=_name(answer.body))
    error = _error(answer.body)
    reason = _reason(error)
    verdict = table.lookup(answer.status, reason)
    outcome, retry_after = verdict.outcome, answer.retry_after(now)
    if outcome is Outcome.THROTTLE:
        retry_after = retry_after or DEFAULT_THROTTLE
    elif outcome is Outcome.RETRY and retry_after is not None:
        outcome = Outcome.AFTER
    return Result(
        outcome,
        code=verdict.code(answer.status, reason),
        detail=excerpt(error.message or answer.body, token),
        retry_after=retry_after if outcome.retryable else None,
    )


def _name(body: bytes) -> str:
    try:
        return _Accepted.model_validate_json(body).name[:256]
    except ValidationError:
        return ""


def _error(body: bytes) -> _Error:
    try:
        return _ErrorBody.model_validate_json(body).error
    except ValidationError:
        return _Error()


def _reason(error: _Error) -> str:
    codes = [detail.error_code for detail in error.details if detail.type.endswith(_FCM_ERROR)]
    if codes:
        about_token = codes[0] == "INVALID_ARGUMENT" and _TOKEN_AT_FAULT.search(error.message)
        return "INVALID_ARGUMENT.token" if about_token else codes[0]
    if any(detail.type.endswith(_BAD_REQUEST) for detail in error.details):
        return "FIELD_VIOLATION"
    return error.status
