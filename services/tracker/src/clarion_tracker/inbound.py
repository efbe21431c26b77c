"""The rules of receipts: which delivery one means, what it says, when to try again. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from clarion_kit.vocabulary import DeliveryState, Receipt

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
    """What became of an inbound row, as stored with it and counted."""

    APPLIED = "applied"
    """The delivery's receipt was raised."""
    UNCHANGED = "unchanged"
    """A repeat, or it came after a higher one."""
    INTERMEDIATE = "intermediate"
    """Not final: nothing to keep."""
    NOT_SENT = "not_sent"
    """The delivery ended otherwise, e.g. cancelled between two attempts."""
    UNKNOWN = "unknown"
    """No delivery of ours in the time we look for one."""
    MESSAGE = "message"
    """Not a receipt: a person wrote. Nothing reads these yet."""
    MALFORMED = "malformed"
    """Cannot be read."""


@dataclass(frozen=True, slots=True)
class InboundRow:
    """A row of `tracking.inbound` under our lease; `age` by the database's clock, `tries` counts this one."""

    inbound_id: int
    lane_id: int
    body: bytes
    tries: int
    age: timedelta


@dataclass(frozen=True, slots=True)
class Reported:
    """What a final receipt says. `ids`: the message id as it stands, then other forms it may have been kept under."""

    ids: tuple[str, ...]
    receipt: Receipt
    code: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryReceipt:
    """A receipt of a known delivery; `code` is the provider's word."""

    delivery_id: UUID
    receipt: Receipt
    code: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """A row's end, or (`result` None) how long it rests until the next try."""

    inbound_id: int
    result: Result | None
    delay: timedelta = timedelta(0)


def keys(lane_id: int, reported: Reported) -> list[str]:
    """Under which keys the message's attempt may be stored, best first."""
    return [f"{lane_id}:{id_}" for id_ in reported.ids]


def match(row: InboundRow, reported: Reported, deliveries: Mapping[str, UUID]) -> UUID | None:
    """The delivery a receipt means, None if it is not (yet) known."""
    exact, *others = keys(row.lane_id, reported)
    found = deliveries.get(exact)
    if found is None and row.age >= OTHER_FORMS_AFTER:
        found = next((deliveries[key] for key in others if key in deliveries), None)
    return found


def settle_unmatched(row: InboundRow) -> Settled:
    """No delivery (yet): later, or given up."""
    if row.age >= GIVE_UP_AFTER and row.tries >= LEAST_TRIES:
        return Settled(row.inbound_id, Result.UNKNOWN)
    return Settled(row.inbound_id, None, _delay(row.tries))


def settle_unchanged(row: InboundRow, state: DeliveryState | None) -> Settled:
    """The delivery, now in `state` (None: pruned), took no higher receipt."""
    if state is DeliveryState.SENT:
        return Settled(row.inbound_id, Result.UNCHANGED)
    if state is not None and state.terminal:
        return Settled(row.inbound_id, Result.NOT_SENT)
    return settle_unmatched(row)


def _delay(tries: int) -> timedelta:
    return min(_LONGEST_DELAY, _FIRST_DELAY * (1 << min(tries - 1, 10)))
