"""Dead letters for people. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import TypeVar

from clarion.deadletter.v1 import dead_letter_service_pb2 as pb
from clarion.notification.v1 import state_pb2
from clarion.types.v1.content_pb2 import Content
from clarion_local.cli import views

NumberT = TypeVar("NumberT", bound=int)

LETTER_COLUMNS = ("ended (UTC)", "channel", "reason", "last code", "provider", "attempts", "redriven as", "id")
ATTEMPT_COLUMNS = ("attempt", "at (UTC)", "took", "provider", "outcome", "code", "provider's id")
OUTCOME_COLUMNS = ("id", "outcome", "new delivery")

_CONTENT_STATES: Mapping[pb.ContentState.ValueType, str] = {
    pb.CONTENT_STATE_GONE: "gone: it cannot be redriven",
    pb.CONTENT_STATE_UNREADABLE: "unreadable",
}


def letter_row(letter: pb.DeadLetter) -> Sequence[str]:
    return (
        views.moment(letter.at),
        views.channel(letter.channel),
        reason(letter.reason),
        letter.last_code,
        letter.provider,
        str(letter.attempts),
        letter.redriven_as,
        letter.delivery_id,
    )


def letter_facts(answer: pb.GetDeadLetterResponse) -> dict[str, str]:
    """A letter's own facts by name; empty ones are not shown."""
    letter = answer.dead_letter
    return {
        "notification": letter.notification_id,
        "channel": views.channel(letter.channel),
        "category": answer.category,
        "provider": letter.provider,
        "planned": views.moment(answer.planned_at),
        "ended": views.moment(letter.at),
        "reason": reason(letter.reason),
        "last code": letter.last_code,
        "ambiguous": "a provider may have taken it" if answer.ambiguous else "",
        "gates": views.gates(answer.gates),
        "redrive of": answer.redrive_of,
        "redriven as": letter.redriven_as,
        "content": _CONTENT_STATES.get(answer.content_state, ""),
    }


def attempt_rows(attempts: Sequence[pb.Attempt]) -> list[Sequence[str]]:
    return [
        (
            str(attempt.attempt),
            attempt.started_at.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            f"{attempt.duration.ToMilliseconds()} ms",
            attempt.provider,
            _short(pb.AttemptOutcome.Name, attempt.outcome, "ATTEMPT_OUTCOME_"),
            attempt.code,
            attempt.provider_message_id,
        )
        for attempt in attempts
    ]


def content_facts(content: Content) -> dict[str, str]:
    """What the recipient would have read."""
    return {
        "title": content.push.title,
        "subject": content.mail.subject,
        "text": content.push.body or content.sms.text or content.mail.text or content.mail.html,
        "link": content.push.link,
    }


def outcome(number: pb.RedriveOutcome.ValueType) -> str:
    return _short(pb.RedriveOutcome.Name, number, "REDRIVE_OUTCOME_").replace("_", " ")


def reason(number: state_pb2.Reason.ValueType) -> str:
    return _short(state_pb2.Reason.Name, number, "REASON_")


def _short(name_of: Callable[[NumberT], str], number: NumberT, prefix: str) -> str:
    """An enum's name as people read it; a newer server's number that has no name here is shown as it is."""
    try:
        short = name_of(number).removeprefix(prefix).lower()
    except ValueError:
        return str(number)
    return "" if short == "unspecified" else short
