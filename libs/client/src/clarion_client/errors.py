"""What calls raise: one class per kind of refusal, made from the gRPC code and the ErrorInfo beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc

from clarion_client.reasons import ErrorReason


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One faulty field: its path in the request ("notification.event_id") and what its rule is."""

    field: str
    description: str


class ClarionError(Exception):
    """A call, or one item of a bulk call, that failed.

    `code` is the gRPC status. `reason` is a name of `ErrorReason`, or "" where the answer did not come from Clarion (a
    proxy, a broken connection). `metadata` holds what varies with the reason. `trace_id` (32 hex digits, or "") finds
    the call in the traces. `event_id` names the notification of a bulk result, else it is "".
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        field_faults: Sequence[FieldFault] = (),
        trace_id: str = "",
        event_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.field_faults = tuple(field_faults)
        self.trace_id = trace_id
        self.event_id = event_id

    @property
    def retryable(self) -> bool:
        """Whether the same request, with the same event id, may succeed later."""
        return isinstance(self, Unavailable) or self.overloaded

    @property
    def overloaded(self) -> bool:
        """Whether the server asks for less: retry later than after a lost connection.

        RESOURCE_EXHAUSTED without a reason is gRPC's own limit of concurrent calls.
        """
        return self.code is grpc.StatusCode.RESOURCE_EXHAUSTED and self.reason in _OVERLOAD_REASONS

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions travel between worker processes; the default would lose the keyword arguments.
        state = {name: value for name, value in vars(self).items() if not name.startswith("__")}
        return _restore, (type(self), state)


_OVERLOAD_REASONS = frozenset({"", ErrorReason.OVERLOADED, ErrorReason.STORAGE_FULL})


class InvalidArgument(ClarionError):
    """The request breaks a rule; `field_faults` names each field. Repeating it is no use."""


class NotFound(ClarionError):
    """No such thing within the caller's app."""


class AlreadyExists(ClarionError):
    """The event id was used for another payload (EVENT_ID_REUSED), or a name is taken."""


class PermissionDenied(ClarionError):
    """The key lacks the scope in `metadata["scope"]`."""


class Unauthenticated(ClarionError):
    """Key or secret are wrong or revoked; a stale token is renewed without you."""


class ResourceExhausted(ClarionError):
    """Too large (TOO_LARGE), or the server is at its limits (OVERLOADED, STORAGE_FULL)."""


class Unavailable(ClarionError):
    """The server or something behind it does not answer, or a server that stops gave the call up (`code` CANCELLED).
    Whether the call took effect is unknown."""


class DeadlineExceeded(ClarionError):
    """The timeout passed. Whether the call took effect is unknown; repeat it with the same event id."""


class FailedPrecondition(ClarionError):
    """Not possible in this state, e.g. NOT_CANCELLABLE."""


class Aborted(ClarionError):
    """Somebody else changed it first (REVISION_CONFLICT): read it again."""


class Cancelled(ClarionError):
    """The client was closed during the call."""


class Unimplemented(ClarionError):
    """The method is not built (NOT_BUILT), or the server does not know it."""


class Internal(ClarionError):
    """A defect on the other side, or a status that has no class here; `code` tells which."""


def error_class(code: grpc.StatusCode) -> type[ClarionError]:
    """The class that a status raises; `Internal` for those that no Clarion server gives."""
    return _CLASSES.get(code, Internal)


def _restore(kind: type[ClarionError], state: Mapping[str, object]) -> ClarionError:
    error = kind.__new__(kind, state["message"])
    error.__dict__.update(state)
    return error


_CLASSES: Mapping[grpc.StatusCode, type[ClarionError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Aborted,
    # Who cancels here gets an error of the language's own; from the wire it is the server that gave up.
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
}
