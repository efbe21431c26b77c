"""What the tracker's rules need of the world."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from clarion_kit.vocabulary import DeliveryState
from clarion_tracker.funnel import Funnel
from clarion_tracker.inbound import DeliveryReceipt, InboundRow, Reported, Result, Settled


class Inbound(Protocol):
    """Rows that came from providers and wait to be applied."""

    async def take(self, limit: int) -> list[InboundRow]:
        """Due rows, leased: nobody else gets them for a while. Raises Unavailable."""
        ...

    async def settle(self, settled: Sequence[Settled]) -> None:
        """End or postpone rows. Raises Unavailable."""
        ...

    async def prune(self, older_than: timedelta, limit: int) -> int:
        """Delete applied rows, the oldest first; gives how many. Raises Unavailable."""
        ...


class Deliveries(Protocol):
    """The ledger's deliveries."""

    async def find(self, receipt_keys: Sequence[str]) -> Mapping[str, UUID]:
        """Deliveries by the key their attempt was stored under. Raises Unavailable."""
        ...

    async def raise_receipts(self, receipts: Sequence[DeliveryReceipt]) -> set[UUID]:
        """Gives the deliveries that changed; only those that are `sent` do. Raises Unavailable."""
        ...

    async def states(self, delivery_ids: Sequence[UUID]) -> Mapping[UUID, DeliveryState]:
        """Raises Unavailable."""
        ...


class Statistics(Protocol):
    """Counts of an app."""

    async def funnel(self, app_id: int, since: datetime, until: datetime) -> Funnel:
        """Raises Unavailable."""
        ...


Read = Callable[[bytes], Reported | Result]
"""Reads a raw receipt, or says at once what becomes of its row."""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, as far as pages look at it; `path` without the query."""

    method: str
    path: str
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer; the server leaves the body out for HEAD."""

    status: int
    content_type: str = "text/plain"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Reply]]


class HttpServer(Protocol):
    """Serves HTTP; which library does is decided in one adapter (adr/0002)."""

    def serve(self, handler: Handler) -> AbstractAsyncContextManager[int]:
        """Serve while entered; gives the port. On leaving, requests being answered are finished within a bound."""
        ...

    async def ping(self) -> None:
        """Raises Unavailable unless it serves."""
        ...
