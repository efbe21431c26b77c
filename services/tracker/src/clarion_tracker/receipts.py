"""The receipt job: batches of inbound rows become receipts of deliveries and news of addresses."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from prometheus_client import Counter

from clarion_channels.receipt import News, ProviderReceipt, Source
from clarion_kit.errors import Unavailable
from clarion_kit.vocabulary import Receipt
from clarion_tracker.inbound import (
    LEAST_TRIES,
    AddressNews,
    DeliveryReceipt,
    InboundRow,
    Reading,
    Result,
    Said,
    Segment,
    Settled,
    Target,
    happened_at,
    keys,
    match,
    postpone,
    settle,
    unchanged,
    unmatched,
)
from clarion_tracker.ports import Addresses, Deliveries, Inbound, Read, Segments
from clarion_tracker.words import Command

log = logging.getLogger(__name__)

BATCH = 500
PRUNE_BATCH = 1_000
SEGMENTS_KEPT = timedelta(days=5)
"""Longer than a receipt may take to find its attempt."""

_WORDS = {Command.STOP: (News.STOPPED, Result.STOPPED), Command.START: (News.STARTED, Result.STARTED)}


@dataclass(slots=True)
class _Thing:
    """One thing in a row on its way to a result."""

    report: ProviderReceipt
    target: Target | None = None
    segment: Segment | None = None
    result: Result | None = None


@dataclass(slots=True)
class _Work:
    """A row with what it says, and what it ends as."""

    row: InboundRow
    reading: Reading
    things: list[_Thing] = field(default_factory=list)
    news: list[AddressNews] = field(default_factory=list)
    settled: Settled | None = None

    def results(self) -> list[Result | None]:
        if isinstance(self.reading, Result):
            return [self.reading]
        if isinstance(self.reading, Said):
            return [_WORDS[self.reading.command][1] if self.reading.command in _WORDS else Result.HELP]
        return [thing.result for thing in self.things]


class ReceiptJob:
    """Any number of trackers may run it: rows are leased, everything is applied by rank or by its own time and as often
    as one likes."""

    def __init__(
        self,
        inbound: Inbound,
        deliveries: Deliveries,
        segments: Segments,
        addresses: Addresses,
        readers: Mapping[str, Read],
        counter: Counter,
    ) -> None:
        self._inbound = inbound
        self._deliveries = deliveries
        self._segments = segments
        self._addresses = addresses
        self._readers = readers
        self._counter = counter

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Apply what is due. Raises Unavailable; rows then come again when their lease ends."""
        while await self.apply_batch() and not stopped():
            pass

    async def apply_batch(self) -> int:
        """Apply one batch; gives its size. Raises Unavailable."""
        rows = await self._inbound.take(BATCH)
        if not rows:
            return 0
        work = [self._read(row) for row in rows]
        things = [(one.row, thing) for one in work for thing in one.things]
        if things:
            await self._find(things)
            await self._raise(things)
        await self._tell(work)
        settled = [one.settled or settle(one.row, one.results()) for one in work]
        await self._inbound.settle(settled)
        for one, end in zip(work, settled, strict=True):
            if end.result is not None:
                for result in one.results():
                    self._counter.labels("receipt", result).inc()
        return len(rows)

    async def prune(self, kept: timedelta, stopped: Callable[[], bool]) -> None:
        """Delete rows applied longer than `kept` ago, and segments of long ago. Raises Unavailable."""
        while await self._inbound.prune(kept, PRUNE_BATCH) == PRUNE_BATCH and not stopped():
            pass
        while await self._segments.prune(SEGMENTS_KEPT, PRUNE_BATCH) == PRUNE_BATCH and not stopped():
            pass

    def _read(self, row: InboundRow) -> _Work:
        try:
            reading = self._readers[row.kind](row.body)
        except Exception:  # a defect in a reader must not hold up the rows of others
            log.exception("an inbound row cannot be read", extra={"inbound_id": row.inbound_id, "kind": row.kind})
            over = row.tries >= LEAST_TRIES
            return _Work(row, Result.MALFORMED, settled=None if over else postpone(row))
        things = [_Thing(report) for report in reading if not report.empty] if isinstance(reading, tuple) else []
        return _Work(row, reading if things or not isinstance(reading, tuple) else Result.INTERMEDIATE, things)

    async def _find(self, things: list[tuple[InboundRow, _Thing]]) -> None:
        """Each thing's delivery: of the row's own app, whatever id a provider hands back."""
        sought = [
            key for row, thing in things if not thing.report.delivery_id for key in keys(row.lane_id, thing.report)
        ]
        whole: Mapping[str, UUID] = await self._deliveries.find(sought) if sought else {}
        parts: Mapping[str, Segment] = await self._segments.find(sought) if sought else {}
        known = whole.keys() | parts.keys()
        named: list[tuple[InboundRow, _Thing, UUID]] = []
        for row, thing in things:
            delivery_id = thing.report.delivery_id
            if delivery_id is None:
                key = match(row, thing.report, known)
                thing.segment = parts.get(key) if key is not None else None
                if key is not None:
                    delivery_id = thing.segment.delivery_id if thing.segment is not None else whole[key]
            if delivery_id is not None:
                named.append((row, thing, delivery_id))
        targets = await self._deliveries.targets({delivery_id for _, _, delivery_id in named}) if named else {}
        for row, thing, delivery_id in named:
            target = targets.get(delivery_id)
            if target is not None and target.app_id == row.app_id:
                thing.target = target

    async def _raise(self, things: list[tuple[InboundRow, _Thing]]) -> None:
        """Raise receipts, and give each thing its result."""
        parts = [
            (thing.segment, thing.report.receipt)
            for _, thing in things
            if thing.target is not None and thing.segment is not None and thing.report.receipt is not None
        ]
        wholes: Mapping[UUID, Receipt | None] = await self._segments.raise_receipts(parts) if parts else {}
        raised: list[DeliveryReceipt] = []
        for _, thing in things:
            receipt = _receipt(thing, wholes)
            if thing.target is not None and receipt is not None:
                raised.append(DeliveryReceipt(thing.target.delivery_id, receipt, thing.report.code))
        changed = await self._deliveries.raise_receipts(raised) if raised else set()
        for row, thing in things:
            if thing.target is None:
                thing.result = unmatched(row)
            elif thing.target.delivery_id in changed:
                thing.result = Result.APPLIED
            else:
                thing.result = unchanged(row, thing.target.state)
                if thing.result is Result.UNCHANGED and thing.segment is not None and _receipt(thing, wholes) is None:
                    thing.result = Result.SEGMENT

    async def _tell(self, work: list[_Work]) -> None:
        """News of addresses, to whom they belong; while they cannot be told, their rows rest."""
        for one in work:
            one.news = _news(one)
        telling = [one for one in work if one.news]
        if not telling:
            return
        try:
            unknown = await self._addresses.tell([news for one in telling for news in one.news])
        except Unavailable as away:
            log.warning("news of addresses wait: %s", away, extra={"rows": len(telling)})
            for one in telling:
                one.settled = postpone(one.row)
            return
        for one in telling:
            if isinstance(one.reading, Said) and one.news[0] in unknown:
                one.reading = Result.UNKNOWN


def _receipt(thing: _Thing, wholes: Mapping[UUID, Receipt | None]) -> Receipt | None:
    """What a thing means for its whole delivery; None: nothing (yet)."""
    if thing.segment is None or thing.report.receipt is None:
        return thing.report.receipt
    return wholes.get(thing.segment.delivery_id)


def _news(work: _Work) -> list[AddressNews]:
    row, reading = work.row, work.reading
    if isinstance(reading, Said):
        if reading.command not in _WORDS:
            return []
        news = _WORDS[reading.command][0]
        return [AddressNews(row.app_id, reading.number, news, row.received_at, Source.PERSON)]
    return [
        AddressNews(
            row.app_id,
            thing.target.address_id,
            thing.report.news,
            happened_at(row, thing.report.at),
            thing.report.source,
            thing.target.delivery_id,
        )
        for thing in work.things
        if thing.report.news is not None and thing.target is not None and thing.target.address_id is not None
    ]
