"""From what came back on a stream to a `Result`: pure rules, no I/O."""

import json
from datetime import UTC, datetime
from enum import Enum

from aioapns.common import NotificationResult

from clarion_channels.errortable import ErrorTable
from clarion_channels.excerpt import excerpt
from clarion_channels.outcome import Outcome, Result

_ACCEPTED = "200"


class Ending(Enum):
    """How a stream ended."""

    ANSWERED = 1
    """With a status (the body may be cut short)."""
    UNPROCESSED = 2
    """Without one, and the peer has not acted on the request: safe to send again."""
    LOST = 3
    """Without one; the peer may have acted on the request."""


class ApnsResult(NotificationResult):
    """An aioapns result that also keeps the text of a body that is not Apple's JSON."""

    __slots__ = ("text",)

    def __init__(self, notification_id: str, status: str, reason: str, timestamp: int | None, text: str) -> None:
        super().__init__(notification_id, status, reason, timestamp)
        self.description: str = reason
        self.text = text


def read_answer(notification_id: str, status: str, body: bytes, device_token: str) -> ApnsResult:
    """Read an answer whatever its body is: Apple's JSON, empty, cut off or a proxy's HTML page."""
    try:
        document = json.loads(body) if body else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return ApnsResult(notification_id, status, "", None, excerpt(body, device_token))
    reason, timestamp = document.get("reason"), document.get("timestamp")
    return ApnsResult(
        notification_id,
        status,
        reason if isinstance(reason, str) else "",
        timestamp if isinstance(timestamp, int) else None,
        "",
    )


def classify(table: ErrorTable, answer: ApnsResult) -> Result:
    """The meaning of an answer with a status."""
    if answer.status == _ACCEPTED:
        return Result(Outcome.ACCEPTED, provider_message_id=answer.notification_id)
    status = int(answer.status) if answer.status.isdigit() else 0
    verdict = table.lookup(status, answer.description)
    return Result(
        verdict.outcome,
        code=verdict.code(status, answer.description),
        detail=answer.text or verdict.note,
        dead_since=_moment(answer.timestamp) if verdict.outcome is Outcome.DEAD else None,
    )


def classify_ending(table: ErrorTable, ending: Ending, cause: str) -> Result:
    """The meaning of an end without a status; `cause` is a code like "rst:7", "goaway:Shutdown" or "timeout"."""
    if ending is Ending.LOST:
        return Result(Outcome.UNKNOWN, code=cause, detail="the request was written and no answer came")
    # GOAWAY carries Apple's reason; one that speaks of our credentials must stop the lane rather than be repeated.
    verdict = table.lookup(0, cause.removeprefix("goaway:"))
    if verdict.outcome in {Outcome.CRED, Outcome.THROTTLE}:
        return Result(verdict.outcome, code=cause, detail=verdict.note)
    return Result(Outcome.RETRY, code=cause, detail="not processed by APNs")


def reason_of(debug_data: bytes) -> str:
    """Apple's reason in the debug data of a GOAWAY, at most 32 characters; empty if there is none."""
    try:
        document = json.loads(debug_data)
    except ValueError:
        return ""
    reason = document.get("reason") if isinstance(document, dict) else None
    return reason[:32] if isinstance(reason, str) else ""


def _moment(milliseconds: int | None) -> datetime | None:
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None
