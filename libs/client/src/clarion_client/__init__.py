"""The SDK for backend services, async and sync.

`AsyncClient.connect(…)` and `Client.connect(…)` are the doors; README.md shows the way in.
"""

from clarion_client import addresses
from clarion_client._results import SendOutcome
from clarion_client._target import InsecureTarget
from clarion_client._wire import JsonValue
from clarion_client.aio.client import AsyncClient
from clarion_client.calls.recipients import UpsertOutcome
from clarion_client.content import Action, Attachment, Content, Mail, Push
from clarion_client.enums import Channel, ChannelMode, EscalateUntil, Priority
from clarion_client.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    ClarionError,
    DeadlineExceeded,
    FailedPrecondition,
    FieldFault,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from clarion_client.notification import Notification, Sent
from clarion_client.reasons import ErrorReason
from clarion_client.recipient import Recipient
from clarion_client.retry import RetryPolicy
from clarion_client.sync.client import Client

__all__ = [
    "Aborted",
    "Action",
    "AlreadyExists",
    "AsyncClient",
    "Attachment",
    "Cancelled",
    "Channel",
    "ChannelMode",
    "ClarionError",
    "Client",
    "Content",
    "DeadlineExceeded",
    "ErrorReason",
    "EscalateUntil",
    "FailedPrecondition",
    "FieldFault",
    "InsecureTarget",
    "Internal",
    "InvalidArgument",
    "JsonValue",
    "Mail",
    "NotFound",
    "Notification",
    "PermissionDenied",
    "Priority",
    "Push",
    "Recipient",
    "ResourceExhausted",
    "RetryPolicy",
    "SendOutcome",
    "Sent",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "UpsertOutcome",
    "addresses",
]
