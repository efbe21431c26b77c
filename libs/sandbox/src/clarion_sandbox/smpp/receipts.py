"""Delivery receipts: written, sent over any receiving session of the system_id, and sent again until taken."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from clarion_sandbox.ledger import Ledger

from .codec import Status, Tag, encode_receipt, encode_tlv

_ANSWER_SECONDS = 10.0
_AGAIN_SECONDS = 1.0
_MAX_TRIES = 5
_WINDOW = 100
_MAX_WAITING = 200_000


@dataclass(frozen=True, slots=True)
class State:
    """A message state in both forms: the TLV's number, the text's word and error code."""

    number: int
    word: str
    error: str


ENROUTE = State(1, "ENROUTE", "000")
DELIVERED = State(2, "DELIVRD", "000")


@dataclass(slots=True)
class Receipt:
    """One receipt on its way; ``recipient`` is the phone, ``sender`` who gets the receipt."""

    message_id: str
    sender: str
    recipient: str
    state: State
    submitted: float
    text: str
    with_tlvs: bool = True
    tries: int = 0

    def body(self, now: float) -> bytes:
        """The deliver_sm body."""
        shown = self.text[:20].encode("ascii", "replace").decode()
        delivered = "001" if self.state.number == DELIVERED.number else "000"
        text = (
            f"id:{self.message_id} sub:001 dlvrd:{delivered} submit date:{_minutes(self.submitted)} "
            f"done date:{_minutes(now)} stat:{self.state.word} err:{self.state.error} text:{shown}"
        )
        tlvs = b""
        if self.with_tlvs:
            tlvs = encode_tlv(Tag.RECEIPTED_MESSAGE_ID, self.message_id.encode() + b"\0") + encode_tlv(
                Tag.MESSAGE_STATE, bytes((self.state.number,))
            )
        return encode_receipt(self.recipient, self.sender, text.encode("ascii", "replace"), tlvs)


class Outlet(Protocol):
    """A bound session that can take deliver_sm."""

    def send_deliver(self, body: bytes) -> int:
        """Write a deliver_sm; gives its sequence number."""


class ReceiptDesk:
    """The receipts of one system_id."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._outlets: list[Outlet] = []
        self._next_outlet = 0
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Receipt]] = []
        self._sent: dict[tuple[Outlet, int], tuple[Receipt, asyncio.TimerHandle]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def open(self, outlet: Outlet) -> None:
        """A session that receives has bound."""
        self._outlets.append(outlet)
        self._pump()

    def shut(self, outlet: Outlet) -> None:
        """The session is gone: what it did not answer goes elsewhere."""
        self._outlets.remove(outlet)
        for sequence in [number for owner, number in self._sent if owner is outlet]:
            self.answered(outlet, sequence, Status.SUBMIT_FAILED)

    def add(self, receipt: Receipt, delay_seconds: float | None) -> None:
        """Send ``receipt`` after a delay, or as soon after it as a receiving session is bound.

        Even a delay of 0 lets the caller finish what it is writing first; None does not.
        """
        if len(self._waiting) >= _MAX_WAITING:
            self._give_up(receipt)
            return
        heapq.heappush(self._waiting, (self._loop.time() + (delay_seconds or 0.0), next(self._order), receipt))
        if delay_seconds is None:
            self._pump()
        else:
            self._schedule()

    def answered(self, outlet: Outlet, sequence: int, status: int) -> None:
        """A deliver_sm_resp came, or will not come any more (any status but OK)."""
        sent = self._sent.pop((outlet, sequence), None)
        if sent is None:
            return
        receipt, timer = sent
        timer.cancel()
        if status != Status.OK:
            if receipt.tries >= _MAX_TRIES:
                self._give_up(receipt)
            else:
                self.add(receipt, _AGAIN_SECONDS)
        self._pump()

    def close(self) -> None:
        """Stop every timer."""
        if self._timer is not None:
            self._timer.cancel()
        for _, timer in self._sent.values():
            timer.cancel()
        self._sent.clear()
        self._waiting.clear()

    def _may_send(self) -> bool:
        return bool(self._waiting) and len(self._sent) < _WINDOW * len(self._outlets)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._may_send():
            self._timer = self._loop.call_at(self._waiting[0][0], self._pump)

    def _pump(self) -> None:
        now = self._loop.time()
        while self._may_send() and self._waiting[0][0] <= now:
            self._send(heapq.heappop(self._waiting)[2])
        self._schedule()

    def _send(self, receipt: Receipt) -> None:
        self._next_outlet = (self._next_outlet + 1) % len(self._outlets)
        outlet = self._outlets[self._next_outlet]
        receipt.tries += 1
        sequence = outlet.send_deliver(receipt.body(self._clock()))
        timer = self._loop.call_later(_ANSWER_SECONDS, self.answered, outlet, sequence, Status.SUBMIT_FAILED)
        self._sent[outlet, sequence] = (receipt, timer)

    def _give_up(self, receipt: Receipt) -> None:
        self._ledger.refuse("smpp", answer="receipt given up", destination=receipt.recipient, our_id=receipt.message_id)


def _minutes(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%y%m%d%H%M")
