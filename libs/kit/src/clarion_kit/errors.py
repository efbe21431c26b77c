"""Typed errors: rules raise `DomainError`, one interceptor turns it into a gRPC status with one ErrorInfo.

The form is AIP-193's: a status code for machines that know nothing of us, a reason from the public enum for those that
do, metadata for what varies, BadRequest for field faults, RetryInfo where the time of the next try is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

MAX_FIELD_FAULTS = 20
"""Faults named on the wire: gRPC refuses answers whose trailers are over 8 KB."""
DOMAIN = "clarion"
"""The domain of every ErrorInfo."""


class ErrorReason(IntEnum):
    """Why a call is refused: `clarion.errors.v1.ErrorReason`, compared with it by a test; documented there."""

    INVALID_FIELD = 1
    EXPIRY_IN_PAST = 2
    TEMPLATE_NOT_FOUND = 3
    LOCALE_NOT_FOUND = 4
    MISSING_VARIABLE = 5
    TEMPLATE_INVALID = 6
    CATEGORY_NOT_FOUND = 7
    INVALID_ADDRESS = 8
    PROVIDER_NOT_FOUND = 9
    PROVIDER_SETTINGS_INVALID = 10
    CURSOR_INVALID = 11
    UNAUTHENTICATED = 20
    SCOPE_MISSING = 21
    CALLER_REFUSED = 22
    NETWORK_NOT_ALLOWED = 23
    NOTIFICATION_NOT_FOUND = 30
    RECIPIENT_NOT_FOUND = 31
    APP_NOT_FOUND = 32
    ADDRESS_NOT_FOUND = 33
    BROADCAST_NOT_FOUND = 36
    SCHEDULE_NOT_FOUND = 37
    WEBHOOK_NOT_FOUND = 38
    EVENT_ID_REUSED = 40
    NAME_TAKEN = 41
    NOT_CANCELLABLE = 42
    REVISION_CONFLICT = 43
    BROADCAST_ENDED = 46
    NOT_SCHEDULED = 47
    CURSOR_EXPIRED = 49
    KEY_ENDED = 48
    TOO_LARGE = 50
    STORAGE_FULL = 51
    OVERLOADED = 52
    SUBSCRIBER_TOO_SLOW = 54
    QUOTA_EXCEEDED = 53
    DEPENDENCY_UNAVAILABLE = 60
    DEADLINE_TOO_SHORT = 61
    NOT_BUILT = 62
    INTERNAL = 63


_CODES: Mapping[ErrorReason, grpc.StatusCode] = {
    ErrorReason.INVALID_FIELD: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.EXPIRY_IN_PAST: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.TEMPLATE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.LOCALE_NOT_FOUND: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.MISSING_VARIABLE: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.TEMPLATE_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.CATEGORY_NOT_FOUND: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.INVALID_ADDRESS: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.PROVIDER_NOT_FOUND: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.PROVIDER_SETTINGS_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.CURSOR_INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorReason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorReason.SCOPE_MISSING: grpc.StatusCode.PERMISSION_DENIED,
    ErrorReason.CALLER_REFUSED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorReason.NETWORK_NOT_ALLOWED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorReason.NOTIFICATION_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.RECIPIENT_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.APP_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.ADDRESS_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.BROADCAST_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.SCHEDULE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.WEBHOOK_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorReason.EVENT_ID_REUSED: grpc.StatusCode.ALREADY_EXISTS,
    ErrorReason.NAME_TAKEN: grpc.StatusCode.ALREADY_EXISTS,
    ErrorReason.NOT_CANCELLABLE: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.REVISION_CONFLICT: grpc.StatusCode.ABORTED,
    ErrorReason.BROADCAST_ENDED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.NOT_SCHEDULED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.CURSOR_EXPIRED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.KEY_ENDED: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorReason.TOO_LARGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.STORAGE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.SUBSCRIBER_TOO_SLOW: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.DEPENDENCY_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorReason.DEADLINE_TOO_SHORT: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorReason.NOT_BUILT: grpc.StatusCode.UNIMPLEMENTED,
    ErrorReason.INTERNAL: grpc.StatusCode.INTERNAL,
}


def status_code(reason: ErrorReason) -> grpc.StatusCode:
    """The gRPC code a reason always travels with."""
    return _CODES[reason]


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One faulty field: its path in the request ("notification.event_id") and what its rule is."""

    field: str
    description: str


class DomainError(Exception):
    """A refusal that the caller can understand; never a defect of ours (but for reason INTERNAL).

    `metadata` carries what varies and holds no personal data; `fields` only goes with INVALID_FIELD and its kin;
    `retry_after`: when another try may do better.
    """

    def __init__(
        self,
        reason: ErrorReason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        fields: Iterable[FieldFault] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.fields = tuple(fields)
        self.retry_after = retry_after

    def to_status(self) -> status_pb2.Status:
        """The wire form: code, message, one ErrorInfo; for field faults one BadRequest with the first of them; RetryInfo."""
        status = status_pb2.Status(code=status_code(self.reason).value[0], message=self.message)
        info = error_details_pb2.ErrorInfo(reason=self.reason.name, domain=DOMAIN, metadata=self.metadata)
        status.details.append(_pack(info))
        if self.fields:
            bad_request = error_details_pb2.BadRequest()
            for fault in self.fields[:MAX_FIELD_FAULTS]:
                bad_request.field_violations.add(field=fault.field[:128], description=fault.description[:128])
            status.details.append(_pack(bad_request))
        if self.retry_after is not None:
            retry_info = error_details_pb2.RetryInfo()
            retry_info.retry_delay.FromTimedelta(self.retry_after)
            status.details.append(_pack(retry_info))
        return status


class Unavailable(Exception):
    """A dependency does not answer: nothing is wrong with the work, it can be done again later."""

    dependency = "dependency"
    """What is away, as callers are told it."""


def invalid_fields(faults: Iterable[FieldFault]) -> DomainError:
    """INVALID_FIELD with every fault named."""
    listed = tuple(faults)
    message = "; ".join(f"{fault.field}: {fault.description}" for fault in listed[:5])
    return DomainError(ErrorReason.INVALID_FIELD, message, fields=listed)


def unavailable(dependency: str) -> DomainError:
    """DEPENDENCY_UNAVAILABLE: `dependency` ("ledger", "preference", …) did not answer in time."""
    return DomainError(
        ErrorReason.DEPENDENCY_UNAVAILABLE,
        f"{dependency} does not answer; try again",
        metadata={"dependency": dependency},
    )


def _pack(
    message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
