"""The provider port: what the dispatch engine needs of a third party, and all that it knows of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable
from uuid import UUID

from clarion.internal.content.v1.rendered_pb2 import Rendered
from clarion.types.v1.address_pb2 import Address
from clarion.types.v1.channel_pb2 import Channel, Priority
from clarion_channels.outcome import Result


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery as it is handed to a provider: address and content opened, nothing else of the ledger.

    `provider_request_id` derives from the delivery and stays the same over retries, for providers that take an id of
    ours. `expire_at` is the notification's one deadline (aware UTC); a provider carries it into its own expiry field.
    `traceparent` is a W3C header value, empty where unsampled.
    """

    delivery_id: UUID
    address: Address
    content: Rendered
    priority: "Priority.ValueType"
    expire_at: datetime
    attempt: int = 1
    collapse_key: str = ""
    traceparent: str = ""

    @property
    def provider_request_id(self) -> UUID:
        return self.delivery_id


Report = Callable[[Message, Result], None]
"""Called exactly once for each message of a batch, as soon as its answer is known; never raises, never blocks."""


class Receipts(Protocol):
    """Where a provider with a receipt path of its own (SMPP) puts what came back; returns once it is durable."""

    async def store(self, provider: str, kind: str, body: bytes) -> None: ...


class Provider(Protocol):
    """A third party that serves one channel, with one set of credentials (a lane).

    `send` reports each message exactly once and returns when all are reported. It bounds itself by `timeout` per
    request, never raises for what a peer does (that is a `Result`), and on cancellation reports what was written as
    UNKNOWN and the rest as RETRY. It may be called concurrently; `max_batch` bounds one call's length and
    `max_in_flight` how many messages it can have open at once.
    """

    name: str
    channel: "Channel.ValueType"
    max_batch: int
    max_in_flight: int
    timeout: timedelta

    async def send(self, batch: Sequence[Message], report: Report) -> None: ...

    async def probe(self) -> None:
        """Raise `ProviderUnavailable` unless a connection with these credentials could be made now."""
        ...

    async def close(self) -> None:
        """Finish what is open within the provider's timeout and free every connection. Idempotent."""
        ...


class ProviderUnavailable(Exception):
    """The provider cannot be reached or refuses our credentials; the text names which, without secrets."""


class ProviderFactory(Protocol):
    """What an entry point of the group `clarion.providers` resolves to.

    The entry point's name is the provider's kind ("apns", "fcm", ...). `settings` is the credential document of one
    lane, as `clarion providers put` stored it; it is validated here and a `pydantic.ValidationError` names each fault.
    """

    channel: "Channel.ValueType"

    async def connect(self, settings: bytes, receipts: Receipts) -> Provider: ...


@runtime_checkable
class ForLane(Protocol):
    """A factory whose providers must know which account they are: a dispatcher asks it for one of the lane's own."""

    def for_lane(self, lane_id: int) -> ProviderFactory:
        """A factory for this lane alone."""
        ...
