"""Delivery receipts of an SMSC (SMPP v3.4 §2.11 and appendix B). Pure.

Receipts are not ordered, may repeat, may come on another bind and before the submit_sm_resp: apply them by rank.
"""

import re
from dataclasses import dataclass
from enum import IntEnum

from clarion_channels.providers.smpp.codec import DeliverSm, ShortMessage, Tag, decode

_RECEIPT_BITS = 0x3C
_IS_RECEIPT = 0x04
_TEXT_STATES = {
    "ENROUTE": 1,
    "DELIVRD": 2,
    "EXPIRED": 3,
    "DELETED": 4,
    "UNDELIV": 5,
    "ACCEPTD": 6,
    "UNKNOWN": 7,
    "REJECTD": 8,
}
_FIELD = re.compile(r"\b(id|stat|err|submit date|done date):\s*([^\s]*)", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{1,32}")
_DECIMAL = re.compile(r"[0-9]{1,39}")


class NotAReceipt(ValueError):
    """The PDU is no delivery receipt: a message from a person, or a receipt without id or state."""


class State(IntEnum):
    """message_state (§5.2.28)."""

    ENROUTE = 1
    DELIVERED = 2
    EXPIRED = 3
    DELETED = 4
    UNDELIVERABLE = 5
    ACCEPTED = 6
    UNKNOWN = 7
    REJECTED = 8

    @property
    def final(self) -> bool:
        return self.rank >= _FINAL_RANK

    @property
    def rank(self) -> int:
        """A receipt may replace only one of lower rank; delivered outranks every failure."""
        return _RANKS[self]


_FINAL_RANK = 3
_RANKS = {
    State.UNKNOWN: 0,
    State.ENROUTE: 1,
    State.ACCEPTED: 2,
    State.EXPIRED: 3,
    State.DELETED: 3,
    State.UNDELIVERABLE: 3,
    State.REJECTED: 3,
    State.DELIVERED: 4,
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt says.

    `ids` are the forms, each as `normalise_id` gives it, under which the id of submit_sm_resp may have been kept: as it
    stands, and from decimal to hexadecimal and back. `error` is the carrier's code, "" where none is given, with the
    network's type before a colon when it came as a TLV. `done_date` is the SMSC's text YYMMDDhhmm[ss], in its own zone.
    """

    ids: tuple[str, ...]
    state: State
    error: str = ""
    done_date: str = ""


def normalise_id(message_id: str) -> str:
    """A message id in lower case without leading zeros, as it is to be kept for matching."""
    text = message_id.strip().lower()
    return text.lstrip("0") or text[:1]


def parse_receipt(pdu: bytes) -> Receipt:
    """The receipt in a deliver_sm, given as its bytes; TLVs win over the text.

    Raises `NotAReceipt`, and `codec.CodecError` for bytes that are no PDU.
    """
    deliver = decode(pdu)
    if not isinstance(deliver, DeliverSm):
        raise NotAReceipt("the PDU is no deliver_sm")
    message = deliver.message
    fields = _fields(message)
    message_id = _tlv_text(message, Tag.RECEIPTED_MESSAGE_ID) or fields.get("id", "")
    state = _state(message, fields)
    if not message_id or state is None:
        raise NotAReceipt("the deliver_sm names no message id or no state")
    if message.esm_class & _RECEIPT_BITS != _IS_RECEIPT and Tag.RECEIPTED_MESSAGE_ID not in message.tlvs:
        raise NotAReceipt("the deliver_sm is not marked as a receipt")
    return Receipt(_candidates(message_id), state, _error(message, fields), fields.get("done date", ""))


def _fields(message: ShortMessage) -> dict[str, str]:
    text = (message.short_message or message.tlvs.get(Tag.MESSAGE_PAYLOAD, b"")).decode("latin-1")
    # What follows "text:" is the person's own message and may imitate a field.
    head = re.split(r"\btext:", text, maxsplit=1, flags=re.IGNORECASE)[0]
    return {name.lower(): value for name, value in _FIELD.findall(head)}


def _tlv_text(message: ShortMessage, tag: Tag) -> str:
    return message.tlvs.get(tag, b"").rstrip(b"\0").decode("latin-1")


def _state(message: ShortMessage, fields: dict[str, str]) -> State | None:
    tlv = message.tlvs.get(Tag.MESSAGE_STATE, b"")
    number = tlv[0] if len(tlv) == 1 else _TEXT_STATES.get(fields.get("stat", "").upper(), 0)
    return State(number) if number in State.__members__.values() else None


def _error(message: ShortMessage, fields: dict[str, str]) -> str:
    tlv = message.tlvs.get(Tag.NETWORK_ERROR_CODE, b"")
    if len(tlv) == 3:
        return f"{tlv[0]}:{int.from_bytes(tlv[1:], 'big')}"
    return fields.get("err", "")


def _candidates(message_id: str) -> tuple[str, ...]:
    text = normalise_id(message_id)
    found = [text]
    if _DECIMAL.fullmatch(text):
        found.append(f"{int(text):x}")
    if _HEX.fullmatch(text):
        found.append(str(int(text, 16)))
    return tuple(dict.fromkeys(found))
