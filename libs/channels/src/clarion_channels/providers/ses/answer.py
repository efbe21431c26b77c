"""From SES's HTTP answer to a `Result`: pure rules, no I/O."""

import re
from datetime import datetime

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from clarion_channels.errortable import ErrorTable
from clarion_channels.excerpt import excerpt
from clarion_channels.http import HttpAnswer
from clarion_channels.outcome import Outcome, Result

ERROR_TYPE = "x-amzn-errortype"
"""Names the exception, sometimes followed by ":" and a URL."""

_OK = 200
_ADDRESS = re.compile(r"\S+@\S+")
_UNVERIFIED = re.compile(r"not verified", re.IGNORECASE)
_DAILY_QUOTA = re.compile(r"daily (message|sending) quota", re.IGNORECASE)


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Error(_Lenient):
    type: str = Field(default="", validation_alias="__type")
    message: str = Field(default="", validation_alias=AliasChoices("message", "Message"))


class _Accepted(_Lenient):
    message_id: str = Field(default="", alias="MessageId")


def classify(table: ErrorTable, answer: HttpAnswer, now: datetime) -> Result:
    """The meaning of an answer."""
    if answer.status == _OK:
        return Result(Outcome.ACCEPTED, code="200", provider_message_id=_message_id(answer.body))
    error = _error(answer.body)
    reason = _reason(answer, error)
    verdict = table.lookup(answer.status, reason)
    outcome, retry_after = verdict.outcome, answer.retry_after(now)
    if outcome is Outcome.RETRY and retry_after is not None:
        outcome = Outcome.AFTER
    return Result(
        outcome,
        code=verdict.code(answer.status, reason),
        detail=excerpt(_ADDRESS.sub("(address)", error.message or answer.body.decode("utf-8", "replace"))),
        retry_after=retry_after if outcome.retryable else None,
    )


def _message_id(body: bytes) -> str:
    try:
        return _Accepted.model_validate_json(body).message_id[:256]
    except ValidationError:
        return ""


def _error(body: bytes) -> _Error:
    try:
        return _Error.model_validate_json(body)
    except ValidationError:
        return _Error()


def _reason(answer: HttpAnswer, error: _Error) -> str:
    """The exception's name; two of them are told apart by their text."""
    name = (answer.headers.get(ERROR_TYPE) or error.type).partition(":")[0].rpartition("#")[2]
    if name == "MessageRejected" and _UNVERIFIED.search(error.message):
        return "MessageRejected.unverified"
    if name == "TooManyRequestsException" and _DAILY_QUOTA.search(error.message):
        return "TooManyRequestsException.quota"
    return name
