"""SMPP 3.4 PDUs as values, to and from bytes (specification v3.4, §3 to §5). Pure.

Only what a transceiver needs is modelled; any other well-framed PDU is `Unsupported`, to be answered with generic_nack.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

HEADER = struct.Struct(">IIII")
MAX_PDU_BYTES = 70_000
"""More than a message_payload of 64 KiB and its fields; longer ones are garbage."""

MAX_SEQUENCE = 0x7FFFFFFF
MAX_SHORT_MESSAGE = 254
INTERFACE_VERSION = 0x34
_RESPONSE = 0x80000000


class CommandId(IntEnum):
    """Commands of the specification's §5.1.2.1 that a transceiver meets."""

    SUBMIT_SM = 0x04
    DELIVER_SM = 0x05
    UNBIND = 0x06
    BIND_TRANSCEIVER = 0x09
    ENQUIRE_LINK = 0x15
    GENERIC_NACK = 0x80000000
    SUBMIT_SM_RESP = 0x80000004
    DELIVER_SM_RESP = 0x80000005
    UNBIND_RESP = 0x80000006
    BIND_TRANSCEIVER_RESP = 0x80000009
    ENQUIRE_LINK_RESP = 0x80000015


class Status(IntEnum):
    """The command_status values that this side sends; what the SMSC sends is read from the error table."""

    OK = 0x00
    INVALID_COMMAND_LENGTH = 0x02
    INVALID_COMMAND_ID = 0x03
    INVALID_BIND_STATUS = 0x04
    TEMPORARY_APPLICATION_ERROR = 0x64


class Tag(IntEnum):
    """Optional parameters (§5.3.2) in use."""

    RECEIPTED_MESSAGE_ID = 0x001E
    USER_MESSAGE_REFERENCE = 0x0204
    SAR_REFERENCE = 0x020C
    SAR_TOTAL = 0x020E
    SAR_SEQUENCE = 0x020F
    NETWORK_ERROR_CODE = 0x0423
    MESSAGE_PAYLOAD = 0x0424
    MESSAGE_STATE = 0x0427


class CodecError(ValueError):
    """Bytes that are no PDU, or a value that does not fit its field."""


class FramingError(CodecError):
    """The length of a PDU is impossible: nothing after it on this connection can be trusted."""


class BodyError(CodecError):
    """A PDU is framed well and its body is not; `command_id` and `sequence` say which to refuse."""

    def __init__(self, message: str, command_id: int, sequence: int) -> None:
        super().__init__(message)
        self.command_id = command_id
        self.sequence = sequence


@dataclass(frozen=True, slots=True)
class Address:
    """Type of number, numbering plan indicator and at most 20 characters."""

    ton: int
    npi: int
    digits: str


@dataclass(frozen=True, slots=True)
class BindTransceiver:
    sequence: int
    system_id: str
    password: str = field(repr=False)
    system_type: str = ""


@dataclass(frozen=True, slots=True)
class BindTransceiverResp:
    sequence: int
    status: int = Status.OK
    system_id: str = ""


@dataclass(frozen=True, slots=True)
class ShortMessage:
    """The body that submit_sm and deliver_sm share; more than 254 bytes need the message_payload TLV."""

    source: Address
    destination: Address
    short_message: bytes = b""
    service_type: str = ""
    esm_class: int = 0
    protocol_id: int = 0
    priority_flag: int = 0
    schedule_delivery_time: str = ""
    validity_period: str = ""
    registered_delivery: int = 0
    replace_if_present: int = 0
    data_coding: int = 0
    default_message_id: int = 0
    tlvs: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubmitSm:
    sequence: int
    message: ShortMessage


@dataclass(frozen=True, slots=True)
class SubmitSmResp:
    """`message_id` is empty in a refusal, for which most SMSCs send no body."""

    sequence: int
    status: int = Status.OK
    message_id: str = ""


@dataclass(frozen=True, slots=True)
class DeliverSm:
    sequence: int
    message: ShortMessage


@dataclass(frozen=True, slots=True)
class DeliverSmResp:
    sequence: int
    status: int = Status.OK


@dataclass(frozen=True, slots=True)
class EnquireLink:
    sequence: int


@dataclass(frozen=True, slots=True)
class EnquireLinkResp:
    sequence: int
    status: int = Status.OK


@dataclass(frozen=True, slots=True)
class Unbind:
    sequence: int


@dataclass(frozen=True, slots=True)
class UnbindResp:
    sequence: int
    status: int = Status.OK


@dataclass(frozen=True, slots=True)
class GenericNack:
    """Sequence 0 when the refused PDU could not be read."""

    sequence: int
    status: int


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A PDU of a command that is not modelled."""

    sequence: int
    command_id: int
    status: int = Status.OK

    @property
    def is_response(self) -> bool:
        return bool(self.command_id & _RESPONSE)


Response = BindTransceiverResp | SubmitSmResp | DeliverSmResp | EnquireLinkResp | UnbindResp | GenericNack
Request = BindTransceiver | SubmitSm | DeliverSm | EnquireLink | Unbind
Pdu = Request | Response | Unsupported


class Framer:
    """Cuts a stream of bytes into PDUs; holds at most one unfinished PDU."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The PDUs that `data` completes, as bytes. Raises `FramingError` at an impossible length."""
        self._buffer += data
        while len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if not HEADER.size <= length <= MAX_PDU_BYTES:
                raise FramingError(f"a PDU cannot be {length} bytes long")
            if len(self._buffer) < length:
                return
            pdu = bytes(self._buffer[:length])
            del self._buffer[:length]
            yield pdu


def encode(pdu: Pdu) -> bytes:
    """The PDU's bytes. Raises `CodecError` for a value that does not fit its field."""
    command_id, status, body = _encode_body(pdu)
    try:
        return HEADER.pack(HEADER.size + len(body), command_id, status, pdu.sequence) + body
    except struct.error as error:
        raise CodecError("the sequence number does not fit") from error


def decode(data: bytes) -> Pdu:
    """One whole PDU from its bytes. Raises `FramingError` and `BodyError`."""
    if len(data) < HEADER.size or int.from_bytes(data[:4], "big") != len(data):
        raise FramingError("the length field and the bytes differ")
    _, command_id, status, sequence = HEADER.unpack_from(data)
    decoder = _DECODERS.get(command_id)
    if decoder is None:
        return Unsupported(sequence, command_id, status)
    try:
        return decoder(_Reader(data), sequence, status)
    except CodecError as error:
        raise BodyError(str(error), command_id, sequence) from None


def _encode_body(pdu: Pdu) -> tuple[int, int, bytes]:
    match pdu:
        case BindTransceiver():
            body = b"".join(
                (
                    _c_string("system_id", pdu.system_id, 15),
                    _c_string("password", pdu.password, 8),
                    _c_string("system_type", pdu.system_type, 12),
                    bytes([INTERFACE_VERSION, 0, 0, 0]),
                )
            )
            return CommandId.BIND_TRANSCEIVER, Status.OK, body
        case BindTransceiverResp():
            body = b"" if pdu.status else _c_string("system_id", pdu.system_id, 15)
            return CommandId.BIND_TRANSCEIVER_RESP, pdu.status, body
        case SubmitSm():
            return CommandId.SUBMIT_SM, Status.OK, _short_message(pdu.message)
        case SubmitSmResp():
            body = b"" if pdu.status else _c_string("message_id", pdu.message_id, 64)
            return CommandId.SUBMIT_SM_RESP, pdu.status, body
        case DeliverSm():
            return CommandId.DELIVER_SM, Status.OK, _short_message(pdu.message)
        case DeliverSmResp():
            return CommandId.DELIVER_SM_RESP, pdu.status, b"\0"
        case EnquireLink():
            return CommandId.ENQUIRE_LINK, Status.OK, b""
        case EnquireLinkResp():
            return CommandId.ENQUIRE_LINK_RESP, pdu.status, b""
        case Unbind():
            return CommandId.UNBIND, Status.OK, b""
        case UnbindResp():
            return CommandId.UNBIND_RESP, pdu.status, b""
        case GenericNack():
            return CommandId.GENERIC_NACK, pdu.status, b""
        case Unsupported():
            return pdu.command_id, pdu.status, b""


def _short_message(message: ShortMessage) -> bytes:
    if len(message.short_message) > MAX_SHORT_MESSAGE:
        raise CodecError(f"short_message: more than {MAX_SHORT_MESSAGE} bytes")
    try:
        return b"".join(
            (
                _c_string("service_type", message.service_type, 5),
                _address("source", message.source),
                _address("destination", message.destination),
                bytes([message.esm_class, message.protocol_id, message.priority_flag]),
                _c_string("schedule_delivery_time", message.schedule_delivery_time, 16),
                _c_string("validity_period", message.validity_period, 16),
                bytes([message.registered_delivery, message.replace_if_present, message.data_coding]),
                bytes([message.default_message_id, len(message.short_message)]),
                message.short_message,
                *(struct.pack(">HH", tag, len(value)) + value for tag, value in message.tlvs.items()),
            )
        )
    except (ValueError, struct.error) as error:
        raise error if isinstance(error, CodecError) else CodecError("a number does not fit its field") from error


def _address(name: str, address: Address) -> bytes:
    return bytes([address.ton, address.npi]) + _c_string(name, address.digits, 20)


def _c_string(name: str, value: str, limit: int) -> bytes:
    if len(value) > limit or not value.isascii() or "\0" in value:
        raise CodecError(f"{name}: not at most {limit} ASCII characters without NUL")
    return value.encode("ascii") + b"\0"


class _Reader:
    """Takes the fields of one PDU in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = HEADER.size

    @property
    def exhausted(self) -> bool:
        return self._position >= len(self._data)

    def octet(self) -> int:
        return self.octets(1)[0]

    def octets(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._data):
            raise CodecError("the body ends inside a field")
        value = self._data[self._position : end]
        self._position = end
        return value

    def c_string(self, limit: int) -> str:
        end = self._data.find(b"\0", self._position, self._position + limit + 1)
        if end < 0:
            raise CodecError(f"a string of at most {limit} characters has no end")
        value = self._data[self._position : end]
        self._position = end + 1
        return value.decode("latin-1")

    def address(self) -> Address:
        return Address(self.octet(), self.octet(), self.c_string(20))

    def tlvs(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        while not self.exhausted:
            tag, length = struct.unpack(">HH", self.octets(4))
            found[tag] = self.octets(length)
        return found

    def short_message(self) -> ShortMessage:
        service_type = self.c_string(5)
        source, destination = self.address(), self.address()
        esm_class, protocol_id, priority_flag = self.octets(3)
        schedule, validity = self.c_string(16), self.c_string(16)
        registered, replace, data_coding, default_message_id, length = self.octets(5)
        short_message = self.octets(length)
        return ShortMessage(
            source=source,
            destination=destination,
            short_message=short_message,
            service_type=service_type,
            esm_class=esm_class,
            protocol_id=protocol_id,
            priority_flag=priority_flag,
            schedule_delivery_time=schedule,
            validity_period=validity,
            registered_delivery=registered,
            replace_if_present=replace,
            data_coding=data_coding,
            default_message_id=default_message_id,
            tlvs=self.tlvs(),
        )


def _decode_bind(reader: _Reader, sequence: int, status: int) -> Pdu:
    system_id, password, system_type = reader.c_string(15), reader.c_string(8), reader.c_string(12)
    reader.octets(3)
    reader.c_string(40)
    return BindTransceiver(sequence, system_id, password, system_type)


def _decode_bind_resp(reader: _Reader, sequence: int, status: int) -> Pdu:
    return BindTransceiverResp(sequence, status, "" if reader.exhausted else reader.c_string(15))


def _decode_submit_resp(reader: _Reader, sequence: int, status: int) -> Pdu:
    return SubmitSmResp(sequence, status, "" if status or reader.exhausted else reader.c_string(64))


_DECODERS: Mapping[int, Callable[[_Reader, int, int], Pdu]] = {
    CommandId.BIND_TRANSCEIVER: _decode_bind,
    CommandId.BIND_TRANSCEIVER_RESP: _decode_bind_resp,
    CommandId.SUBMIT_SM: lambda reader, sequence, _: SubmitSm(sequence, reader.short_message()),
    CommandId.SUBMIT_SM_RESP: _decode_submit_resp,
    CommandId.DELIVER_SM: lambda reader, sequence, _: DeliverSm(sequence, reader.short_message()),
    CommandId.DELIVER_SM_RESP: lambda _, sequence, status: DeliverSmResp(sequence, status),
    CommandId.ENQUIRE_LINK: lambda _, sequence, __: EnquireLink(sequence),
    CommandId.ENQUIRE_LINK_RESP: lambda _, sequence, status: EnquireLinkResp(sequence, status),
    CommandId.UNBIND: lambda _, sequence, __: Unbind(sequence),
    CommandId.UNBIND_RESP: lambda _, sequence, status: UnbindResp(sequence, status),
    CommandId.GENERIC_NACK: lambda _, sequence, status: GenericNack(sequence, status),
}
