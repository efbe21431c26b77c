"""Delivery receipts of an SMSC (SMPP v3.4 §2.11 and appendix B). Pure.

Receipts are not ordered, may repeat, may come on another bind and before the submit_sm_resp.
"""

import re
from enum import IntEnum

from clarion_channels.errortable import ErrorTable
from clarion_channels.providers.smpp.codec import CodecError, DeliverSm, ShortMessage, Tag, decode
from clarion_channels.receipt import News, ProviderReceipt, normalise_id
from clarion_kit.vocabulary import Receipt

_RECEIPT_BITS = 0x3C
_IS_RECEIPT = 0x04
_GSM = 3
"""network_error_code: the type of network whose codes the table holds (§5.3.2.31)."""
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
_NOT_IN_CODES = re.compile(r"[^0-9A-Za-z:._-]")
_MAX_CODE = 32


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
    def receipt(self) -> Receipt | None:
        """What it makes of the message, None while it is on its way."""
        if self is State.DELIVERED:
            return Receipt.DELIVERED
        return Receipt.UNDELIVERED if self in _FAILED else None


_FAILED = frozenset({State.EXPIRED, State.DELETED, State.UNDELIVERABLE, State.REJECTED})


def parse_receipt(pdu: bytes, errors: ErrorTable) -> ProviderReceipt:
    """The receipt in a deliver_sm, given as its bytes; TLVs win over the text.

    `ids` are the forms under which the id of submit_sm_resp may have been kept: as it stands, and from decimal to
    hexadecimal and back. `code` is the carrier's, "" where none is given, with the network's type before a colon when it
    came as a TLV. Raises `NotAReceipt`, and `codec.CodecError` for bytes that are no PDU and an id that cannot be one.
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
    if not message_id.isprintable():
        raise CodecError("the message id is not printable")
    code = _NOT_IN_CODES.sub("", _error(message, fields))[:_MAX_CODE]
    return ProviderReceipt(_candidates(message_id), state.receipt, code, news=_news(state, code, errors))


def _news(state: State, code: str, errors: ErrorTable) -> News | None:
    if state is State.DELIVERED:
        return News.ARRIVED
    return errors.lookup(0, _table_code(code)).news if state in _FAILED else None


def _table_code(code: str) -> str:
    """A code as the table has it: three digits; as it stands where it is no number, or of a network that is not GSM."""
    network, _, number = code.rpartition(":")
    if network not in ("", str(_GSM)) or not (number.isascii() and number.isdecimal()):
        return code
    return number.lstrip("0").rjust(3, "0")


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
