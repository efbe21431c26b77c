"""The message centre behind the sessions: accounts, reassembly, what becomes of a message, the ledger."""

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from clarion_sandbox import content
from clarion_sandbox.answers import Row, Special
from clarion_sandbox.fates import Fates
from clarion_sandbox.ledger import Ledger

from .codec import Bind, Command, PduError, Status, SubmitSm, Tag
from .message import Content, check, decode, join, utf16_units
from .receipts import DELIVERED, ENROUTE, Outlet, Receipt, ReceiptDesk, State

NAME = "smpp"
_MAX_ASSEMBLIES = 10_000
_FAILURES = frozenset((3, 4, 5, 8))
_RECEIVING = (Command.BIND_RECEIVER, Command.BIND_TRANSCEIVER)
_LATER_SECONDS = 0.05
_LATE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Account:
    """Who may bind, and how often at a time: as `system_id`, or as one of its branches, `<system_id>-<anything>`, of which each
    has receipts of its own."""

    system_id: str
    password: str = field(repr=False)
    max_binds: int
    receipt_delay_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a session does with a submit_sm: after ``latency_seconds`` answer, or keep silent or cut."""

    status: int
    message_id: str
    latency_seconds: float
    silence: Special | None = None


@dataclass(frozen=True, slots=True)
class _Binding:
    mode: int
    system_id: str


@dataclass(slots=True)
class _Assembly:
    texts: dict[int, str] = field(default_factory=dict)
    ids: dict[int, str] = field(default_factory=dict)


class MessageCentre:
    """One account's view of the mobile network."""

    def __init__(self, account: Account, fates: Fates, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._account = account
        self._fates = fates
        self._ledger = ledger
        self._clock = clock
        self._desks: dict[str, ReceiptDesk] = {}
        self._bound: dict[Outlet, _Binding] = {}
        self._assemblies: OrderedDict[tuple[str, str, int, int], _Assembly] = OrderedDict()
        # Milliseconds in the high bits: ids stay unique when the sandbox starts again over the same ledger.
        self._last_id = int(clock() * 1000) << 16

    def bind(self, member: Outlet, mode: int, bind: Bind) -> Status:
        """Admit a session; its receipts flow at once if the mode receives."""
        if bind.system_id.partition("-")[0] != self._account.system_id:
            return self._refuse_bind(Status.INVALID_SYSTEM_ID, bind.system_id)
        if not hmac.compare_digest(bind.password.encode(), self._account.password.encode()):
            return self._refuse_bind(Status.INVALID_PASSWORD, bind.system_id)
        bound = sum(binding.system_id == bind.system_id for binding in self._bound.values())
        if member in self._bound or bound >= self._account.max_binds:
            return self._refuse_bind(Status.ALREADY_BOUND, bind.system_id)
        self._bound[member] = _Binding(mode, bind.system_id)
        return Status.OK

    def bound(self, member: Outlet) -> None:
        """The bind response is on its way: receipts may follow it."""
        binding = self._bound.get(member)
        if binding is not None and binding.mode in _RECEIVING:
            self._desk(binding).open(member)

    def leave(self, member: Outlet) -> None:
        """The session unbound or is gone."""
        binding = self._bound.pop(member, None)
        if binding is not None and binding.mode in _RECEIVING:
            self._desk(binding).shut(member)

    def may_submit(self, member: Outlet) -> bool:
        """Whether the session is bound to send."""
        binding = self._bound.get(member)
        return binding is not None and binding.mode in (Command.BIND_TRANSMITTER, Command.BIND_TRANSCEIVER)

    def receipt_answered(self, member: Outlet, sequence: int, status: int) -> None:
        """A deliver_sm_resp came."""
        if (binding := self._bound.get(member)) is not None:
            self._desk(binding).answered(member, sequence, status)

    def submit(self, member: Outlet, message: SubmitSm) -> Verdict:
        """Take or refuse a message of a session that may submit."""
        latency = self._fates.latency(NAME, message.destination)
        try:
            check(message)
            decoded = decode(message)
        except PduError as error:
            self._refuse(f"0x{error.status:02X} {error.status.name}", message)
            return Verdict(error.status, "", latency)
        fate = self._fates.decide(NAME, message.destination)
        if isinstance(fate, Row) and fate.status != 0:
            self._refuse(f"0x{fate.status:02X} {fate.reason}", message)
            return Verdict(fate.status, "", latency)
        if fate in (Special.HANG, Special.CUT):
            self._refuse(Special(fate), message)
            return Verdict(0, "", latency, Special(fate))
        self._last_id += 1
        message_id = f"{self._last_id:X}"
        special = fate if isinstance(fate, Special) else None
        self._record(message, decoded, message_id, "0x00" if special is None else special)
        desk = self._desk(self._bound[member])
        self._plan_receipts(desk, message, decoded.text, message_id, fate if isinstance(fate, Row) else None, latency)
        silence = {Special.LOST: Special.HANG, Special.LOST_CUT: Special.CUT}.get(special) if special else None
        return Verdict(Status.OK, message_id, latency, silence)

    def close(self) -> None:
        """Stop every timer."""
        for desk in self._desks.values():
            desk.close()

    def _desk(self, binding: _Binding) -> ReceiptDesk:
        if binding.system_id not in self._desks:
            self._desks[binding.system_id] = ReceiptDesk(self._ledger, self._clock)
        return self._desks[binding.system_id]

    def _record(self, message: SubmitSm, decoded: Content, message_id: str, answer: str) -> None:
        text, ids = decoded.text, message_id
        attributes = {"source": message.source, "data_coding": str(message.data_coding)}
        if decoded.part is not None:
            key = (message.source, message.destination, decoded.part.reference, decoded.part.total)
            assembly = self._assemblies.setdefault(key, _Assembly())
            assembly.texts[decoded.part.sequence] = decoded.text
            assembly.ids[decoded.part.sequence] = message_id
            if len(assembly.texts) < decoded.part.total:
                self._forget_oldest_assembly()
                return
            del self._assemblies[key]
            texts = [assembly.texts[place] for place in sorted(assembly.texts)]
            text = join(texts)
            attributes["segment_units"] = ",".join(str(utf16_units(part)) for part in texts)
            ids = ",".join(assembly.ids[place] for place in sorted(assembly.ids))
        reference = message.number(Tag.USER_MESSAGE_REFERENCE)
        self._ledger.accept(
            NAME,
            answer=answer,
            message_id=ids,
            destination=message.destination,
            digest=content.of_text(text),
            content=text.encode("utf-8", "replace"),
            our_id="" if reference is None else str(reference),
            attributes=attributes,
        )

    def _forget_oldest_assembly(self) -> None:
        if len(self._assemblies) > _MAX_ASSEMBLIES:
            (_, destination, _, _), _ = self._assemblies.popitem(last=False)
            self._ledger.refuse(NAME, answer="incomplete", destination=destination)

    def _plan_receipts(
        self,
        desk: ReceiptDesk,
        message: SubmitSm,
        text: str,
        message_id: str,
        row: Row | None,
        latency_seconds: float,
    ) -> None:
        manner = row.text("manner") if row else None
        state = DELIVERED
        if row is not None:
            state = State(row.number("state") or 7, row.reason, row.text("err") or "000")
        wanted = message.registered_delivery & 0x03
        if wanted == 0 or manner == "never" or (wanted == 2 and state.number not in _FAILURES):
            return
        shown_id = str(int(message_id, 16)) if manner == "decimal_id" else message_id
        delay = latency_seconds + self._account.receipt_delay_seconds + (_LATE_SECONDS if manner == "late" else 0.0)

        def add(reported: State, after: float | None) -> None:
            receipt = Receipt(
                shown_id, message.source, message.destination, reported, self._clock(), text, manner != "without_tlvs"
            )
            desk.add(receipt, after)

        if message.registered_delivery & 0x10:
            add(ENROUTE, delay / 2)
        add(state, None if manner == "before_response" else delay)
        if manner == "twice":
            add(state, delay + _LATER_SECONDS)
        if manner == "out_of_order":
            add(ENROUTE, delay + _LATER_SECONDS)

    def _refuse(self, answer: str, message: SubmitSm) -> None:
        self._ledger.refuse(NAME, answer=answer, destination=message.destination, size=len(message.short_message))

    def _refuse_bind(self, status: Status, system_id: str) -> Status:
        self._ledger.refuse(NAME, answer=f"bind 0x{status:02X} {status.name}", destination=system_id)
        return status
