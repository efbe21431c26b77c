"""From Twilio's HTTP answer to a `Result`: pure rules, no I/O."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clarion_channels.errortable import ErrorTable
from clarion_channels.excerpt import excerpt
from clarion_channels.http import HttpAnswer
from clarion_channels.outcome import Outcome, Result
from clarion_channels.receipt import News


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Created(_Lenient):
    sid: str = Field(default="", pattern=r"^[A-Za-z0-9]{0,64}$")


class _Error(_Lenient):
    code: int | None = None
    message: str = ""


def classify(table: ErrorTable, answer: HttpAnswer, number: str, now: datetime) -> Result:
    """The meaning of an answer; `number` is kept out of the detail."""
    if answer.status in (200, 201):
        return Result(Outcome.ACCEPTED, provider_message_id=_sid(answer.body))
    error = _error(answer.body)
    reason = "" if error.code is None else str(error.code)
    verdict = table.lookup(answer.status, reason)
    outcome, retry_after = verdict.outcome, answer.retry_after(now)
    if outcome is Outcome.RETRY and retry_after is not None:
        outcome = Outcome.AFTER
    return Result(
        outcome,
        code=verdict.code(answer.status, reason),
        detail=excerpt(error.message or answer.body, number, number.removeprefix("+")),
        retry_after=retry_after if outcome.retryable else None,
        opted_out=verdict.opted_out,
    )


def code_news(table: ErrorTable, error_code: str) -> News | None:
    """What the error code of a receipt says of the number."""
    return table.lookup(0, error_code).news


def _sid(body: bytes) -> str:
    try:
        return _Created.model_validate_json(body).sid
    except ValidationError:
        return ""


def _error(body: bytes) -> _Error:
    try:
        return _Error.model_validate_json(body)
    except ValidationError:
        return _Error()
