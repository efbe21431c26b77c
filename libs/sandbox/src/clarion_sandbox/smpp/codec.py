"""SMPP 3.4 PDUs on the wire: framing, the bodies a message centre reads, and the ones it writes (SMPP v3.4 §3-5)."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

HEADER_BYTES = 16
MAX_PDU_BYTES = 70_000
RESPONSE = 0x80000000
_HEADER = struct.Struct(">IIII")
_TLV = struct.Struct(">HH")


class Command(IntEnum):
    """command_id of the requests a message centre knows."""

    BIND_RECEIVER = 0x01
    BIND_TRANSMITTER = 0x02
    SUBMIT_SM = 0x04
    DELIVER_SM = 0x05
    UNBIND = 0x06
    BIND_TRANSCEIVER = 0x09
    ENQUIRE_LINK = 0x15
    GENERIC_NACK = 0x80000000


class Status(IntEnum):
    """command_status values the message centre gives by itself."""

    OK = 0x00
    INVALID_MESSAGE_LENGTH = 0x01
    INVALID_COMMAND_LENGTH = 0x02
    INVALID_COMMAND_ID = 0x03
    INVALID_BIND_STATUS = 0x04
    ALREADY_BOUND = 0x05
    INVALID_PRIORITY = 0x06
    INVALID_REGISTERED_DELIVERY = 0x07
    INVALID_SOURCE = 0x0A
    INVALID_DESTINATION = 0x0B
    INVALID_PASSWORD = 0x0E
    INVALID_SYSTEM_ID = 0x0F
    INVALID_ESM_CLASS = 0x43
    SUBMIT_FAILED = 0x45
    THROTTLED = 0x58
    INVALID_SCHEDULE = 0x61
    INVALID_VALIDITY = 0x62
    INVALID_OPTIONAL_PART = 0xC0
    OPTIONAL_NOT_ALLOWED = 0xC1


class Tag(IntEnum):
    """Tags of the optional parameters used here."""

    RECEIPTED_MESSAGE_ID = 0x001E
    USER_MESSAGE_REFERENCE = 0x0204
    SAR_REFERENCE = 0x020C
    SAR_TOTAL = 0x020E
    SAR_SEQUENCE = 0x020F
    MESSAGE_PAYLOAD = 0x0424
    MESSAGE_STATE = 0x0427


class PduError(Exception):
    """The PDU is refused with ``status``."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class FrameError(Exception):
    """The stream holds no PDU here: its length is impossible, nothing after it can be trusted."""


class Pdu(NamedTuple):
    """One PDU, body undecoded."""

    command: int
    status: int
    sequence: int
    body: bytes


class Bind(NamedTuple):
    """What a bind request says that matters here."""

    system_id: str
    password: str


@dataclass(frozen=True, slots=True)
class SubmitSm:
    """A submit_sm body."""

    source_ton: int
    source: str
    destination: str
    esm_class: int
    priority: int
    schedule: str
    validity: str
    registered_delivery: int
    data_coding: int
    short_message: bytes
    tlvs: dict[int, bytes]

    def number(self, tag: Tag) -> int | None:
        """An integer parameter, None if absent."""
        value = self.tlvs.get(tag)
        return None if value is None else int.from_bytes(value, "big")


def encode(command: int, status: int, sequence: int, body: bytes = b"") -> bytes:
    """A whole PDU."""
    return _HEADER.pack(HEADER_BYTES + len(body), command, status, sequence) + body


def take_pdus(buffer: bytearray) -> list[Pdu]:
    """Remove the complete PDUs from the front of ``buffer``.

    Raises:
        FrameError: a length below 16 or above ``MAX_PDU_BYTES``; the PDUs before it are lost with the stream.
    """
    pdus: list[Pdu] = []
    position = 0
    while len(buffer) - position >= HEADER_BYTES:
        length, command, status, sequence = _HEADER.unpack_from(buffer, position)
        if not HEADER_BYTES <= length <= MAX_PDU_BYTES:
            raise FrameError(f"command_length {length}")
        if len(buffer) - position < length:
            break
        pdus.append(Pdu(command, status, sequence, bytes(buffer[position + HEADER_BYTES : position + length])))
        position += length
    del buffer[:position]
    return pdus


def decode_bind(body: bytes) -> Bind:
    """A bind body.

    Raises:
        PduError: fields longer than the standard allows, or missing.
    """
    reader = _Reader(body)
    system_id, password = reader.text(16), reader.text(9)
    reader.text(13)
    reader.octets(3)
    reader.text(41)
    return Bind(system_id, password)


def decode_submit(body: bytes) -> SubmitSm:
    """A submit_sm body.

    Raises:
        PduError: it is cut short, or a field is longer than the standard allows.
    """
    reader = _Reader(body)
    reader.text(6)
    source_ton = reader.octets(2)[0]
    source = reader.text(21, Status.INVALID_SOURCE)
    reader.octets(2)
    destination = reader.text(21, Status.INVALID_DESTINATION)
    esm_class, _, priority = reader.octets(3)
    schedule = reader.text(17, Status.INVALID_SCHEDULE)
    validity = reader.text(17, Status.INVALID_VALIDITY)
    registered_delivery, _, data_coding, _, length = reader.octets(5)
    if length > 254:
        raise PduError(Status.INVALID_MESSAGE_LENGTH)
    return SubmitSm(
        source_ton,
        source,
        destination,
        esm_class,
        priority,
        schedule,
        validity,
        registered_delivery,
        data_coding,
        reader.octets(length, Status.INVALID_MESSAGE_LENGTH),
        reader.tlvs(),
    )


def c_octets(text: str) -> bytes:
    """A C-octet string."""
    return text.encode("ascii", "replace") + b"\0"


def encode_tlv(tag: Tag, value: bytes) -> bytes:
    """One optional parameter."""
    return _TLV.pack(tag, len(value)) + value


def encode_receipt(source: str, destination: str, text: bytes, tlvs: bytes) -> bytes:
    """A deliver_sm body that carries a delivery receipt (esm_class 0x04)."""
    return b"".join(
        (
            b"\0\x01\x01",
            c_octets(source),
            b"\x01\x01",
            c_octets(destination),
            b"\x04\0\0\0\0\0\0\0\0",
            bytes((len(text),)),
            text,
            tlvs,
        )
    )


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    def text(self, size: int, fault: Status = Status.INVALID_COMMAND_LENGTH) -> str:
        """A C-octet string of at most ``size`` octets, the NUL among them."""
        end = self._body.find(b"\0", self._position, self._position + size)
        if end < 0:
            raise PduError(fault)
        value = self._body[self._position : end].decode("latin-1")
        self._position = end + 1
        return value

    def octets(self, count: int, fault: Status = Status.INVALID_COMMAND_LENGTH) -> bytes:
        end = self._position + count
        if end > len(self._body):
            raise PduError(fault)
        value = self._body[self._position : end]
        self._position = end
        return value

    def tlvs(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        while self._position < len(self._body):
            tag, length = _TLV.unpack(self.octets(_TLV.size, Status.INVALID_OPTIONAL_PART))
            found[tag] = self.octets(length, Status.INVALID_OPTIONAL_PART)
        return found
