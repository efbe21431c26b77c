"""The rules of what came back: which delivery it means, what it says, when to try again. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from clarion_channels.receipt import News, ProviderReceipt, Source
from clarion_kit.vocabulary import DeliveryState, Receipt
from clarion_tracker.words import Command

GIVE_UP_AFTER = timedelta(minutes=15)
"""Our record of a send is written long before; a receipt that finds none until then is of no message of ours."""
LEAST_TRIES = 5
"""A receipt that waited out an outage is tried this often, however old it is."""
OTHER_FORMS_AFTER = timedelta(seconds=3)
"""How long a receipt waits for an exact match before other forms of its id count.

Hexadecimal "26" is decimal "38", which may be another message of the same carrier: a receipt that overtook the record of
its own message must not be given to that one.
"""
_FIRST_DELAY = timedelta(seconds=1)
_LONGEST_DELAY = timedelta(minutes=2)


class Result(StrEnum):
    """What became of an inbound row or of one thing in it, as stored and counted."""

    APPLIED = "applied"
    """The delivery's receipt was raised."""
    SEGMENT = "segment"
    """Noted for one segment of a message; what it means for the whole waits for the others."""
    UNCHANGED = "unchanged"
    """A repeat, or it came after a higher one."""
    STOPPED = "stopped"
    """A person wrote STOP: the number is on the app's suppression list."""
    STARTED = "started"
    """A person wrote START: what STOP had done is undone."""
    HELP = "help"
    """A person asked for help, which the app gives."""
    NOT_SENT = "not_sent"
    """The delivery ended otherwise, e.g. cancelled between two attempts."""
    INTERMEDIATE = "intermediate"
    """Not final: nothing to keep."""
    MESSAGE = "message"
    """A person wrote something else."""
    UNKNOWN = "unknown"
    """No delivery of the app in the time we look for one, or a number that cannot be told."""
    MALFORMED = "malformed"
    """Cannot be read."""


_RANKING = tuple(Result)
"""What a row with several things in it ends as: the first of these."""


@dataclass(frozen=True, slots=True)
class InboundRow:
    """A row of `tracking.inbound` under our lease; `age` by the database's clock, `tries` counts this one."""

    inbound_id: int
    app_id: int
    lane_id: int
    kind: str
    body: bytes = field(repr=False)
    received_at: datetime
    tries: int
    age: timedelta


@dataclass(frozen=True, slots=True)
class Said:
    """A person's message that asks for something; `number` in E.164, as far as the carrier tells it."""

    number: str = field(repr=False)
    command: Command


Reading = tuple[ProviderReceipt, ...] | Said | Result
"""What a row says; a Result where that is its end already."""


@dataclass(frozen=True, slots=True)
class Target:
    """The delivery behind a receipt; `address_id` None: it was never planned to an address."""

    delivery_id: UUID
    app_id: int
    address_id: UUID | None
    state: DeliveryState


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a delivery's message; the first is 0."""

    delivery_id: UUID
    position: int


@dataclass(frozen=True, slots=True)
class DeliveryReceipt:
    """A receipt of a known delivery; `code` is the provider's word."""

    delivery_id: UUID
    receipt: Receipt
    code: str = ""


@dataclass(frozen=True, slots=True)
class AddressNews:
    """News of an app's address, given by its id or, as a number in E.164, by itself."""

    app_id: int
    address: UUID | str = field(repr=False)
    news: News
    at: datetime
    source: Source
    delivery_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """A row's end, or (`result` None) how long it rests until the next try."""

    inbound_id: int
    result: Result | None
    delay: timedelta = timedelta(0)


def keys(lane_id: int, receipt: ProviderReceipt) -> list[str]:
    """Under which keys the message's attempt may be stored, best first.

    Ids are a stranger's words and end in one statement with others: what Postgres cannot store is none of ours.
    """
    return [f"{lane_id}:{id_}" for id_ in receipt.ids if id_.isprintable()]


def match(row: InboundRow, receipt: ProviderReceipt, known: Collection[str]) -> str | None:
    """The key of `known` that a receipt means, None if it is not (yet) known."""
    exact, *others = keys(row.lane_id, receipt) or [""]
    if exact in known:
        return exact
    if row.age >= OTHER_FORMS_AFTER:
        return next((key for key in others if key in known), None)
    return None


def unmatched(row: InboundRow) -> Result | None:
    """No delivery (yet): None, to be tried again, or given up."""
    return Result.UNKNOWN if row.age >= GIVE_UP_AFTER and row.tries >= LEAST_TRIES else None


def unchanged(row: InboundRow, state: DeliveryState) -> Result | None:
    """The delivery, in `state`, took no higher receipt."""
    if state is DeliveryState.SENT:
        return Result.UNCHANGED
    return Result.NOT_SENT if state.terminal else unmatched(row)


def happened_at(row: InboundRow, reported_at: datetime | None) -> datetime:
    """When it happened: never after it came in, whatever the provider's clock says."""
    return min(reported_at or row.received_at, row.received_at)


def settle(row: InboundRow, results: Iterable[Result | None]) -> Settled:
    """A row with its things: over once all are, else tried again as a whole (what was applied stays as it is)."""
    found = set(results)
    if None in found:
        return postpone(row)
    return Settled(row.inbound_id, min((one for one in found if one is not None), key=_RANKING.index))


def postpone(row: InboundRow) -> Settled:
    """To be tried again, later each time."""
    return Settled(row.inbound_id, None, min(_LONGEST_DELAY, _FIRST_DELAY * (1 << min(row.tries - 1, 10))))
