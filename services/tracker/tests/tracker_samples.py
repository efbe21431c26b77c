"""Receipts as carriers send them, and the ports as small fakes."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prometheus_client import Counter

from clarion_channels.errortable import load
from clarion_channels.providers.smpp.codec import Address, DeliverSm, ShortMessage, encode
from clarion_kit.errors import Unavailable
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.vocabulary import DeliveryState, Receipt
from clarion_tracker.activity import Activity, AppEvent
from clarion_tracker.adapters import smpp
from clarion_tracker.inbound import AddressNews, DeliveryReceipt, InboundRow, Segment, Settled, Target
from clarion_tracker.machines import TOO_SOON
from clarion_tracker.ports import Account
from clarion_tracker.statistics import Counted, Query
from clarion_tracker.words import Words

APP = 3
WORDS = Words.load()
READ_SMPP = smpp.Reader(WORDS, load(smpp.RECEIPT_TABLE))


def deliver_sm(message_id: str, stat: str = "DELIVRD", err: str = "000") -> bytes:
    text = (
        f"id:{message_id} sub:001 dlvrd:001 submit date:2603011230 done date:2603011231 stat:{stat} err:{err} text:Hi"
    )
    return _pdu(text, esm_class=4)


def a_persons_message(text: str = "When do you open?") -> bytes:
    return _pdu(text, esm_class=0)


def _pdu(text: str, *, esm_class: int) -> bytes:
    source, destination = Address(1, 1, "821012345678"), Address(5, 0, "Shop")
    return encode(DeliverSm(1, ShortMessage(source, destination, text.encode("latin-1"), esm_class=esm_class)))


def tracked() -> tuple[Counter, Metrics]:
    metrics = Metrics()
    return metrics.counter(names.TRACKED), metrics


def count(metrics: Metrics, kind: str, result: str) -> float:
    return metrics.registry.get_sample_value(names.TRACKED.name, {"kind": kind, "result": result}) or 0.0


class Away(Unavailable):
    dependency = "ledger"


class FixedClock:
    """Always the same moment."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return 0.0


class HandClock:
    """Moves by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


class FakeActivities:
    """Notes in memory; `handed_over`: how long ago mails were, where it was lately."""

    def __init__(self) -> None:
        self.noted: dict[Activity, int] = {}
        self.told: dict[tuple[UUID, int, str], AppEvent] = {}
        self.handed_over: dict[UUID, timedelta | None] = {}
        self.instead: dict[UUID, UUID] = {}
        self.away = False

    async def replaced(self, delivery_ids: Collection[UUID]) -> Mapping[UUID, UUID]:
        if self.away:
            raise Away
        return {id_: self.instead[id_] for id_ in delivery_ids if id_ in self.instead}

    async def note(self, done: Mapping[Activity, int]) -> None:
        if self.away:
            raise Away
        for activity, times in done.items():
            self.noted[activity] = self.noted.get(activity, 0) + times

    async def too_soon(self, clicked: Mapping[UUID, timedelta]) -> Collection[UUID]:
        if self.away:
            raise Away
        return [
            id_
            for id_, ago in clicked.items()
            if id_ in self.handed_over and ((since := self.handed_over[id_]) is None or since < ago + TOO_SOON)
        ]

    async def keep(self, kept: timedelta) -> None:
        pass

    async def store(self, events: Sequence[AppEvent]) -> int:
        if self.away:
            raise Away
        before = len(self.told)
        for one in events:
            self.told.setdefault((one.delivery.delivery_id, one.kind, one.id), one)
        return len(self.told) - before


class FakeDeliveries:
    """A ledger in memory: deliveries by receipt key, their states and receipts."""

    def __init__(self, app_id: int = APP) -> None:
        self.app_id = app_id
        self.by_key: dict[str, UUID] = {}
        self.state: dict[UUID, DeliveryState] = {}
        self.receipt: dict[UUID, Receipt] = {}
        self.away = False

    def add(self, delivery_id: UUID, key: str = "", state: DeliveryState = DeliveryState.SENT) -> UUID:
        if key:
            self.by_key[key] = delivery_id
        self.state[delivery_id] = state
        return delivery_id

    async def find(self, receipt_keys: Sequence[str]) -> Mapping[str, UUID]:
        return {key: self.by_key[key] for key in receipt_keys if key in self.by_key}

    async def raise_receipts(self, receipts: Sequence[DeliveryReceipt]) -> set[UUID]:
        if self.away:
            raise Away
        changed = set()
        for one in receipts:
            sent = self.state.get(one.delivery_id) is DeliveryState.SENT
            if sent and self.receipt.get(one.delivery_id, 0) < one.receipt:
                self.receipt[one.delivery_id] = one.receipt
                changed.add(one.delivery_id)
        return changed

    async def targets(self, delivery_ids: Collection[UUID]) -> Mapping[UUID, Target]:
        return {
            id_: Target(id_, self.app_id, address_of(id_), self.state[id_]) for id_ in delivery_ids if id_ in self.state
        }


def address_of(delivery_id: UUID) -> UUID:
    """The address that a delivery of `FakeDeliveries` goes to."""
    return UUID(int=delivery_id.int + 1_000)


class FakeSegments:
    """Segments in memory: those of a delivery by their keys, in order."""

    def __init__(self, by_delivery: Mapping[UUID, Sequence[str]] | None = None) -> None:
        self._by_delivery = by_delivery or {}
        self._receipts: dict[Segment, Receipt] = {}

    async def find(self, receipt_keys: Sequence[str]) -> Mapping[str, Segment]:
        return {
            key: Segment(delivery, position)
            for delivery, segment_keys in self._by_delivery.items()
            for position, key in enumerate(segment_keys)
            if key in receipt_keys
        }

    async def raise_receipts(self, receipts: Sequence[tuple[Segment, Receipt]]) -> Mapping[UUID, Receipt | None]:
        for segment, receipt in receipts:
            self._receipts[segment] = max(receipt, self._receipts.get(segment, receipt))
        return {segment.delivery_id: self._whole(segment.delivery_id) for segment, _ in receipts}

    async def prune(self, older_than: timedelta, limit: int) -> int:
        return 0

    def _whole(self, delivery_id: UUID) -> Receipt | None:
        count = len(self._by_delivery[delivery_id])
        found = [self._receipts.get(Segment(delivery_id, position)) for position in range(count)]
        if Receipt.UNDELIVERED in found:
            return Receipt.UNDELIVERED
        return None if None in found else Receipt.DELIVERED


class FakeAddresses:
    """Remembers news; `unknown`: numbers that nobody can know."""

    def __init__(self, *unknown: str) -> None:
        self.told: list[AddressNews] = []
        self.away = False
        self._unknown = unknown

    async def tell(self, news: Sequence[AddressNews]) -> Collection[AddressNews]:
        if self.away:
            raise Away
        self.told += news
        return [one for one in news if one.address in self._unknown]


class FakeAccounts:
    """Accounts by their id, with their kinds."""

    def __init__(self, *accounts: tuple[str, Account]) -> None:
        self.by_id = {account.lane_id: (kind, account) for kind, account in accounts}
        self.away = False

    async def account(self, lane_id: int, kind: str = "") -> Account | None:
        if self.away:
            raise Away
        found = self.by_id.get(lane_id)
        return found[1] if found is not None and kind in ("", found[0]) else None


class FakeArrivals:
    """Stores calls in memory, each identity once."""

    def __init__(self) -> None:
        self.stored: list[tuple[int, int, str, bytes]] = []
        self.away = False
        self._identities: set[tuple[int, str, bytes]] = set()

    async def store(self, app_id: int, lane_id: int, provider: str, kind: str, body: bytes, identity: bytes) -> bool:
        if self.away:
            raise Away
        if (lane_id, kind, identity) in self._identities:
            return False
        self._identities.add((lane_id, kind, identity))
        self.stored.append((app_id, lane_id, kind, body))
        return True


class FakeInbound:
    """Gives its rows once and remembers how they were settled."""

    def __init__(self, *rows: InboundRow) -> None:
        self.rows = list(rows)
        self.settled: list[Settled] = []

    async def take(self, limit: int) -> list[InboundRow]:
        taken, self.rows = self.rows[:limit], self.rows[limit:]
        return taken

    async def settle(self, settled: Sequence[Settled]) -> None:
        self.settled += settled

    async def prune(self, older_than: timedelta, limit: int) -> int:
        return 0


class FakeStatistics:
    """Answers with the same counts and remembers what it was asked."""

    def __init__(self, counted: Counted) -> None:
        self.answer = counted
        self.asked: list[Query] = []

    async def count(self, query: Query) -> Counted:
        self.asked.append(query)
        return self.answer


class FakeNames:
    """Names by id, each with the app it belongs to."""

    def __init__(
        self,
        apps: Mapping[str, int],
        categories: Mapping[int, tuple[int, str]],
        providers: Mapping[int, tuple[int, str]],
    ) -> None:
        self._apps, self._categories, self._providers = apps, categories, providers

    def app(self, app_id: int) -> str:
        return next((name for name, known in self._apps.items() if known == app_id), "")

    def category(self, category_id: int) -> str:
        return self._categories.get(category_id, (0, ""))[1]

    def provider(self, lane_id: int) -> str:
        return self._providers.get(lane_id, (0, ""))[1]

    def app_id(self, name: str) -> int | None:
        return self._apps.get(name)

    def categories(self, apps: Collection[int] | None, name: str) -> list[int]:
        return _of(self._categories, apps, name)

    def providers(self, apps: Collection[int] | None, name: str) -> list[int]:
        return _of(self._providers, apps, name)


def _of(known: Mapping[int, tuple[int, str]], apps: Collection[int] | None, name: str) -> list[int]:
    return [id_ for id_, (app_id, named) in known.items() if named == name and (apps is None or app_id in apps)]
