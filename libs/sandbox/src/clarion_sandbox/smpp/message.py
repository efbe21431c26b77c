"""From submit_sm to text: checks of a message centre, user data header, character sets (3GPP TS 23.038, 23.040)."""

import re
from typing import NamedTuple

from . import gsm7
from .codec import PduError, Status, SubmitSm, Tag

_UDHI = 0x40
_ALPHANUMERIC_TON = 5
_SINGLE_OCTETS = 140
_SINGLE_SEPTETS = 160
_GSM7 = frozenset((0x00, 0x01, 0x10, 0x11))
_UCS2 = frozenset((0x08, 0x18))
_LATIN1 = frozenset((0x03,))
_BINARY = frozenset((0x02, 0x04))
_NUMBER = re.compile(r"[0-9]{3,20}")
_ALPHANUMERIC = re.compile(r"[A-Za-z0-9 .&_-]{1,11}")
_TIME = re.compile(r"[0-9]{13}[0-9]{2}[+-]|[0-9]{12}000R|")


class Part(NamedTuple):
    """A piece of a longer message: reference, number of parts, this one's place (from 1)."""

    reference: int
    total: int
    sequence: int


class Content(NamedTuple):
    """The text of one submit_sm and, if it is a piece, its place."""

    text: str
    part: Part | None


def check(message: SubmitSm) -> None:
    """Refuse what a message centre refuses before it looks at the text.

    Raises:
        PduError: with the status of the first fault.
    """
    if _NUMBER.fullmatch(message.destination) is None:
        raise PduError(Status.INVALID_DESTINATION)
    source = _ALPHANUMERIC if message.source_ton == _ALPHANUMERIC_TON else _NUMBER
    if message.source and source.fullmatch(message.source) is None:
        raise PduError(Status.INVALID_SOURCE)
    if message.priority > 3:
        raise PduError(Status.INVALID_PRIORITY)
    if _TIME.fullmatch(message.schedule) is None:
        raise PduError(Status.INVALID_SCHEDULE)
    if _TIME.fullmatch(message.validity) is None:
        raise PduError(Status.INVALID_VALIDITY)
    if message.registered_delivery & 0x03 == 3:
        raise PduError(Status.INVALID_REGISTERED_DELIVERY)


def decode(message: SubmitSm) -> Content:
    """The text and place of a submit_sm.

    Raises:
        PduError: too long for one short message, a broken header, octets outside the character set, or two ways of
            carrying the text at once.
    """
    payload = message.tlvs.get(Tag.MESSAGE_PAYLOAD)
    if payload is not None and message.short_message:
        raise PduError(Status.OPTIONAL_NOT_ALLOWED)
    data = message.short_message if payload is None else payload
    header = b""
    if message.esm_class & _UDHI:
        if not data or 1 + data[0] > len(data):
            raise PduError(Status.INVALID_ESM_CLASS)
        header, data = data[: 1 + data[0]], data[1 + data[0] :]
    if payload is None:
        _check_length(len(header), len(data), message.data_coding)
    part = _part_of_header(header) if header else _part_of_sar(message)
    return Content(_text(data, message.data_coding), part)


def _check_length(header: int, data: int, data_coding: int) -> None:
    if data > _longest(header, data_coding):
        raise PduError(Status.INVALID_MESSAGE_LENGTH)


def _longest(header: int, data_coding: int) -> int:
    """Octets of text that fit beside a header; septets travel unpacked, one to the octet."""
    if data_coding not in _GSM7:
        return _SINGLE_OCTETS - header
    return (_SINGLE_OCTETS - header) * 8 // 7 if header else _SINGLE_SEPTETS


def _text(data: bytes, data_coding: int) -> str:
    try:
        if data_coding in _GSM7:
            return gsm7.decode(data)
        if data_coding in _UCS2:
            # A surrogate pair may be torn apart by a segment border; it is whole again after reassembly.
            return data.decode("utf-16-be", "surrogatepass")
    except ValueError as error:
        raise PduError(Status.SUBMIT_FAILED) from error
    if data_coding in _LATIN1:
        return data.decode("latin-1")
    if data_coding in _BINARY:
        return data.hex()
    raise PduError(Status.SUBMIT_FAILED)


def _part_of_header(header: bytes) -> Part | None:
    position = 1
    while position + 2 <= len(header):
        identifier, length = header[position], header[position + 1]
        value = header[position + 2 : position + 2 + length]
        if len(value) != length:
            raise PduError(Status.INVALID_ESM_CLASS)
        if identifier == 0x00 and length == 3:
            return _place(value[0], value[1], value[2])
        if identifier == 0x08 and length == 4:
            return _place(int.from_bytes(value[:2], "big"), value[2], value[3])
        position += 2 + length
    return None


def _part_of_sar(message: SubmitSm) -> Part | None:
    reference = message.number(Tag.SAR_REFERENCE)
    total, sequence = message.number(Tag.SAR_TOTAL), message.number(Tag.SAR_SEQUENCE)
    if reference is None or total is None or sequence is None:
        return None
    return _place(reference, total, sequence)


def _place(reference: int, total: int, sequence: int) -> Part | None:
    if not 1 <= sequence <= total:
        raise PduError(Status.INVALID_ESM_CLASS)
    return Part(reference, total, sequence) if total > 1 else None


def join(texts: list[str]) -> str:
    """The whole text; surrogates torn by a segment border become one character again."""
    return "".join(texts).encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")


def utf16_units(text: str) -> int:
    """The length in UTF-16 code units, of which a segment border may tear a surrogate pair."""
    return len(text.encode("utf-16-be", "surrogatepass")) // 2
