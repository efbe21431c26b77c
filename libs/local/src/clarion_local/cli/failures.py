"""What went wrong, as people and scripts are told it, and the exit code that goes with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc

from clarion_client import ClarionError
from clarion_kit.errors import DomainError, Unavailable
from clarion_local.process import ProcessError

REFUSED = 1
"""The service said no, or what was looked at is not as it should be."""
USAGE = 2
"""Options, settings or files are faulty; nothing was asked of the service."""
UNREACHABLE = 3
"""The service, or a server behind it, does not answer."""

_NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class UsageFault(Exception):
    """Something that was typed, set or read from a file is wrong."""


class Refused(Exception):
    """What was asked for could not be done, for a reason that is no reason of the service's."""


class Unreachable(Exception):
    """A server does not answer."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure. `reason` is a name of `ErrorReason`, or "" where the service gave none."""

    exit_code: int
    message: str
    reason: str = ""
    fields: Sequence[tuple[str, str]] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The value of `error` in JSON output."""
        return {
            "reason": self.reason,
            "message": self.message,
            "fields": [{"field": name, "description": rule} for name, rule in self.fields],
            "metadata": dict(self.metadata),
            "exit_code": self.exit_code,
        }


Expected = ClarionError | DomainError | Unavailable | ProcessError | UsageFault | Refused | Unreachable
EXPECTED = (ClarionError, DomainError, Unavailable, ProcessError, UsageFault, Refused, Unreachable)
"""What a command may raise; anything else is a defect and keeps its traceback."""


def first_of(group: ExceptionGroup[Exception]) -> Exception:
    """The first exception of a group, however deep."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, ExceptionGroup) else first


def failure(error: Expected) -> Failure:
    """The failure behind an exception."""
    match error:
        case ClarionError():
            unanswered = not error.reason and error.code in _NO_ANSWER
            return Failure(
                UNREACHABLE if unanswered else REFUSED,
                error.message,
                error.reason or error.code.name,
                [(fault.field, fault.description) for fault in error.field_faults],
                error.metadata,
            )
        case DomainError():
            faults = [(fault.field, fault.description) for fault in error.fields]
            return Failure(REFUSED, error.message, error.reason.name, faults, error.metadata)
        case Unavailable():
            return Failure(UNREACHABLE, f"the {error.dependency} does not answer: {error}")
        case Unreachable():
            return Failure(UNREACHABLE, str(error))
        case ProcessError() | Refused():
            return Failure(REFUSED, str(error))
        case UsageFault():
            return Failure(USAGE, str(error))
