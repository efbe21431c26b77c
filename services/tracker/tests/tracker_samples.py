"""Receipts as carriers send them, and the ports as small fakes."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from prometheus_client import Counter

from clarion_channels.providers.smpp.codec import Address, DeliverSm, ShortMessage, encode
from clarion_kit.errors import Unavailable
from clarion_kit.telemetry import names
from clarion_kit.telemetry.metrics import Metrics
from clarion_kit.vocabulary import DeliveryState, Receipt
from clarion_tracker.funnel import Funnel
from clarion_tracker.inbound import DeliveryReceipt, InboundRow, Settled


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


class FakeDeliveries:
    """A ledger in memory: deliveries by receipt key, their states and receipts."""

    def __init__(self) -> None:
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

    async def states(self, delivery_ids: Sequence[UUID]) -> Mapping[UUID, DeliveryState]:
        return {id_: self.state[id_] for id_ in delivery_ids if id_ in self.state}


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
    """Answers with one funnel and remembers what it was asked."""

    def __init__(self, funnel: Funnel) -> None:
        self.answer = funnel
        self.asked: list[tuple[int, datetime, datetime]] = []

    async def funnel(self, app_id: int, since: datetime, until: datetime) -> Funnel:
        self.asked.append((app_id, since, until))
        return self.answer
