"""What the tracker's rules need of the world."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from clarion_kit.vocabulary import Channel, Receipt
from clarion_tracker.activity import Activity, AppEvent, EventIdentity
from clarion_tracker.inbound import AddressNews, DeliveryReceipt, InboundRow, Reading, Segment, Settled, Target
from clarion_tracker.quality import Judged, Standing, Tally
from clarion_tracker.statistics import Counted, Query
from clarion_tracker.wish_page import Change, Offered, Wanted


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

    async def targets(self, delivery_ids: Collection[UUID]) -> Mapping[UUID, Target]:
        """Those that exist. Raises Unavailable."""
        ...


class Activities(Protocol):
    """What was done with deliveries."""

    async def note(self, done: Mapping[Activity, int]) -> None:
        """Each with how often; durable once it returns. Raises Unavailable."""
        ...

    async def too_soon(self, clicked: Mapping[UUID, timedelta]) -> Collection[UUID]:
        """Of deliveries that were clicked so long ago, those that were handed over less than a second before, or not at
        all. Raises Unavailable."""
        ...

    async def replaced(self, delivery_ids: Collection[UUID]) -> Mapping[UUID, UUID]:
        """Of deliveries that were redriven, those that went in their place. Raises Unavailable."""
        ...

    async def keep(self, kept: timedelta) -> None:
        """Make room for days to come and forget those older than `kept`. Raises Unavailable."""
        ...


class AppEvents(Protocol):
    """Where what apps tell rests."""

    async def store(self, events: Sequence[AppEvent]) -> int:
        """Returns after the COMMIT, all or none; gives how many are new. Raises Unavailable, and DomainError
        STORAGE_FULL."""
        ...


class AppEventRows(Protocol):
    """What writes them down, of several calls at once."""

    async def store(self, events: Sequence[AppEvent]) -> Collection[EventIdentity]:
        """Returns after the COMMIT, all or none; gives those that are new. Of several with one identity the first counts.
        Raises Unavailable, and DomainError STORAGE_FULL."""
        ...


class Segments(Protocol):
    """Segments of messages that have more than one."""

    async def find(self, receipt_keys: Sequence[str]) -> Mapping[str, Segment]:
        """Segments by the key that their receipts are found by. Raises Unavailable."""
        ...

    async def raise_receipts(self, receipts: Sequence[tuple[Segment, Receipt]]) -> Mapping[UUID, Receipt | None]:
        """Note receipts; gives what follows for their deliveries: undelivered as soon as one segment is, delivered once all
        are, else None. Raises Unavailable."""
        ...

    async def prune(self, older_than: timedelta, limit: int) -> int:
        """Forget old segments; gives how many. Raises Unavailable."""
        ...


class Qualities(Protocol):
    """How well accounts deliver, as their receipts say; kept for the routes that go by it."""

    async def mine(self) -> bool:
        """Whether judging is this tracker's job for now. Raises Unavailable."""
        ...

    async def tallies(self, window: timedelta) -> Mapping[tuple[int, str], Tally]:
        """Receipts of the last `window` by account and country. Raises Unavailable."""
        ...

    async def standings(self) -> Sequence[Standing]:
        """Every account that was judged. Raises Unavailable."""
        ...

    async def put(self, judged: Sequence[Judged]) -> None:
        """Keep what was found; daemons see changed factors within seconds. Raises Unavailable."""
        ...


class Addresses(Protocol):
    """Whoever owns addresses and their suppression lists."""

    async def tell(self, news: Sequence[AddressNews]) -> Collection[AddressNews]:
        """Pass news on, durably and as often as one likes; gives those whose address nobody can know. Raises Unavailable."""
        ...


class Wishes(Protocol):
    """Whoever owns wishes."""

    async def unsubscribe(self, app_id: int, recipient_ref: UUID, category: str, channel: Channel) -> None:
        """Durable once it returns; a recipient who is gone has nothing to be told. Raises Unavailable."""
        ...


class PageWishes(Protocol):
    """Whoever owns wishes, for the page where people change them."""

    async def wanted(self, app_id: int, recipient_ref: UUID) -> Wanted | None:
        """What somebody wants now, None for one who is gone. Raises Unavailable."""
        ...

    async def turn(self, app_id: int, recipient_ref: UUID, changes: Sequence[Change]) -> bool:
        """Turn switches, all or none; durable once it returns. False: they are gone. Raises Unavailable."""
        ...


class Categories(Protocol):
    """The categories of every app."""

    def category(self, app_id: int, category_id: int) -> str | None:
        """Its name. Raises Unavailable before they were read."""
        ...


class Offers(Protocol):
    """What people may choose from."""

    def offered(self, app_id: int) -> Sequence[Offered]:
        """The categories of an app. Raises Unavailable before they were read."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """A provider account, opened. `settings`: its credential document."""

    app_id: int
    lane_id: int
    revision: int
    settings: bytes = field(repr=False)


class Accounts(Protocol):
    """The provider accounts of every app."""

    async def account(self, lane_id: int, kind: str = "") -> Account | None:
        """The account of that id and kind (empty: any). Raises Unavailable, also before accounts were read."""
        ...


class Arrivals(Protocol):
    """Where what comes in rests until it is applied."""

    async def store(self, app_id: int, lane_id: int, provider: str, kind: str, body: bytes, identity: bytes) -> bool:
        """Returns after the COMMIT; False: a call of the same `identity` is there already. Raises Unavailable, and
        DomainError STORAGE_FULL."""
        ...


class Statistics(Protocol):
    """Counts of apps."""

    async def count(self, query: Query) -> Counted:
        """Groups in the order of their keys. Raises Unavailable, DomainError INVALID_FIELD where they are too many."""
        ...


class Names(Protocol):
    """Names of apps, categories and provider accounts; each method raises Unavailable before they were read."""

    def app(self, app_id: int) -> str:
        """Its name, empty where it is not known."""
        ...

    def category(self, category_id: int) -> str:
        """Its name, empty where it is not known."""
        ...

    def provider(self, lane_id: int) -> str:
        """An account's name, empty where it is not known."""
        ...

    def app_id(self, name: str) -> int | None:
        """The app of that name."""
        ...

    def categories(self, apps: Collection[int] | None, name: str) -> Sequence[int]:
        """The categories of that name of some apps, None: of all."""
        ...

    def providers(self, apps: Collection[int] | None, name: str) -> Sequence[int]:
        """The accounts of that name of some apps, None: of all."""
        ...


Read = Callable[[bytes], Reading]
"""Reads a raw row; never raises for what is in it."""

Fetch = Callable[[str], Awaitable[bytes]]
"""GETs an https URL that was checked. Raises Unavailable."""


class BodyTooLarge(Exception):
    """A request's body is longer than it may be; the rest was not read."""


class Body(Protocol):
    """A request's body, read when it is wanted."""

    async def read(self, limit: int) -> bytes:
        """All of it. Raises BodyTooLarge, having read at most `limit` bytes and one piece more."""
        ...


class NoBody:
    """Of a request without one."""

    async def read(self, limit: int) -> bytes:
        return b""


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; `path` without the query, header names in lower case."""

    method: str
    path: str
    user_agent: str = ""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=NoBody)


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
