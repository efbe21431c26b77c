"""From SendGrid's HTTP answer to what it means for the mails of the request: pure rules, no I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from clarion_channels.errortable import ErrorTable
from clarion_channels.excerpt import excerpt
from clarion_channels.http import MAX_RETRY_AFTER, HttpAnswer
from clarion_channels.outcome import Outcome, Result

RATE_LIMIT_RESET = "x-ratelimit-reset"
MESSAGE_ID = "x-message-id"

_TAKEN = frozenset({200, 202})  # 200: in sandbox mode
_TOO_LARGE = 413
_THROTTLED = 429
_ADDRESS = re.compile(r"\S+@\S+")
_INDEX = re.compile(r"\.\d+")
_CULPRIT = re.compile(r"personalizations[.\[](\d{1,4})\b")


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Error(_Lenient):
    message: str = ""
    field: str | None = None


class _ErrorBody(_Lenient):
    errors: tuple[_Error, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """`result` holds for every mail of the request, unless `culprits` names, by index, the mails that are to blame."""

    result: Result
    culprits: Mapping[int, Result] = field(default_factory=dict)
    message_id: str = ""

    @property
    def by_content(self) -> bool:
        """Refused for what it holds: a part of it may well be taken."""
        return self.result.outcome is Outcome.BAD

    def of(self, index: int) -> Result:
        """The result of the mail at `index`. SendGrid gives one id for all, which the index makes the mail's own."""
        if self.result.outcome is not Outcome.ACCEPTED:
            return self.culprits.get(index, self.result)
        own = f"{self.message_id}.{index}" if self.message_id else ""
        return Result(Outcome.ACCEPTED, code=self.result.code, provider_message_id=own)


def classify(table: ErrorTable, answer: HttpAnswer, now: datetime) -> Answer:
    """The meaning of an answer."""
    if answer.status in _TAKEN:
        taken = Result(Outcome.ACCEPTED, code=str(answer.status))
        return Answer(taken, message_id=answer.headers.get(MESSAGE_ID, "")[:200])
    errors = _errors(answer.body)
    whole = _result(table, answer, now, errors[0] if errors else _Error(message=answer.body.decode("utf-8", "replace")))
    if whole.outcome is not Outcome.BAD or answer.status == _TOO_LARGE:
        return Answer(whole)
    culprits: dict[int, Result] = {}
    for error in errors:
        match = _CULPRIT.match(error.field or "")
        if match is not None:
            culprits.setdefault(int(match[1]), _result(table, answer, now, error))
    return Answer(whole, culprits)


def _result(table: ErrorTable, answer: HttpAnswer, now: datetime, error: _Error) -> Result:
    reason = _INDEX.sub("", error.field or "")
    verdict = table.lookup(answer.status, reason)
    outcome, retry_after = verdict.outcome, _wait(answer, now)
    if outcome is Outcome.RETRY and retry_after is not None:
        outcome = Outcome.AFTER
    return Result(
        outcome,
        code=verdict.code(answer.status, reason),
        detail=excerpt(_ADDRESS.sub("(address)", error.message)),
        retry_after=retry_after if outcome.retryable else None,
    )


def _wait(answer: HttpAnswer, now: datetime) -> timedelta | None:
    """Until the rate limit is reset (Unix seconds), at most a day; else what Retry-After says."""
    reset = answer.headers.get(RATE_LIMIT_RESET, "").strip()
    if answer.status != _THROTTLED or not (reset.isascii() and reset.isdigit()):
        return answer.retry_after(now)
    seconds = int(reset[:12]) - now.timestamp()
    return timedelta(seconds=min(max(seconds, 0), MAX_RETRY_AFTER.total_seconds()))


def _errors(body: bytes) -> tuple[_Error, ...]:
    try:
        return _ErrorBody.model_validate_json(body).errors
    except ValidationError:
        return ()
