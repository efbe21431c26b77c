"""From a push service's HTTP answer to a `Result`: pure rules, no I/O."""

import re
from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from clarion_channels.errortable import ErrorTable
from clarion_channels.excerpt import excerpt
from clarion_channels.http import HttpAnswer
from clarion_channels.outcome import Outcome, Result

_ACCEPTED = frozenset({200, 201, 202})
_MAY_BLAME_VAPID = frozenset({400, 403})
_ABOUT_VAPID = re.compile(rb"vapid|authorization header|crypto-key|jwt", re.IGNORECASE)


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    reason: str = ""
    errno: int = 0


def classify(table: ErrorTable, answer: HttpAnswer, secrets: tuple[str, ...], now: datetime) -> Result:
    """The meaning of an answer; `secrets` (endpoint and keys) are kept out of the detail."""
    if answer.status in _ACCEPTED:
        # Location names the message at the push service; its last segment is its id there.
        return Result(Outcome.ACCEPTED, provider_message_id=answer.headers.get("location", "").rpartition("/")[2][:256])
    reason = _reason(answer)
    verdict = table.lookup(answer.status, reason)
    outcome, retry_after = verdict.outcome, answer.retry_after(now)
    if outcome is Outcome.RETRY and retry_after is not None:
        outcome = Outcome.AFTER
    return Result(
        outcome,
        code=verdict.code(answer.status, reason),
        detail=excerpt(answer.body, *secrets),
        retry_after=retry_after if outcome.retryable else None,
    )


def _reason(answer: HttpAnswer) -> str:
    try:
        body = _Body.model_validate_json(answer.body)
    except ValidationError:
        body = _Body()
    if body.reason or body.errno:
        return body.reason or str(body.errno)
    return "vapid" if answer.status in _MAY_BLAME_VAPID and _ABOUT_VAPID.search(answer.body) else ""
