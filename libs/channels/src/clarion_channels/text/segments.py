"""Cutting a text into SMS segments (3GPP TS 23.040 §9.2.3.24.1 and §9.2.3.24.8).

A segment never ends inside an escape pair, a surrogate pair or a grapheme cluster, so each part can be shown alone.
Only a cluster longer than a whole segment is cut between its code points.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Literal

import regex

from clarion_channels.text import gsm7

ReferenceBits = Literal[8, 16]
"""Width of the reference number that ties the parts together; 16 bits collide less and cost one octet a part."""

MAX_PARTS = 255
_USER_DATA_OCTETS = 140
_UDH_OCTETS: dict[ReferenceBits, int] = {8: 6, 16: 7}
_GRAPHEME = regex.compile(r"\X")


class Alphabet(Enum):
    """How a message is coded."""

    GSM7 = "gsm7"
    UCS2 = "ucs2"


class TooManyParts(ValueError):
    """The text needs more parts than allowed."""


@dataclass(frozen=True, slots=True)
class Segmented:
    """A text ready for the wire.

    `parts` holds each part's user data without header: unpacked septets for GSM-7, UTF-16 big-endian for UCS-2. More
    than one part needs `user_data_header` in front of each.
    """

    alphabet: Alphabet
    parts: tuple[bytes, ...]


def split(text: str, *, reference_bits: ReferenceBits = 8, max_parts: int = MAX_PARTS) -> Segmented:
    """Code `text` and cut it into parts; an empty text gives one empty part.

    One part holds 160 septets or 70 UTF-16 units; of several, each holds 153 or 67 (152 or 66 with 16-bit references).
    Raises `TooManyParts`.
    """
    alphabet = Alphabet.GSM7 if gsm7.is_gsm7(text) else Alphabet.UCS2
    data = _encode(alphabet, text)
    if len(data) <= _capacity(alphabet, 0):
        return Segmented(alphabet, (data,))
    parts = _pack(alphabet, text, _capacity(alphabet, _UDH_OCTETS[reference_bits]))
    if len(parts) > min(max_parts, MAX_PARTS):
        raise TooManyParts(f"the text needs {len(parts)} parts, {min(max_parts, MAX_PARTS)} are allowed")
    return Segmented(alphabet, parts)


def join(message: Segmented) -> str:
    """The text that a phone shows for the parts, in order. Raises `UnicodeDecodeError` or `gsm7.NotGsm7`."""
    if message.alphabet is Alphabet.GSM7:
        return "".join(gsm7.decode(part) for part in message.parts)
    return "".join(part.decode("utf-16-be") for part in message.parts)


def user_data_header(reference: int, total: int, number: int, reference_bits: ReferenceBits = 8) -> bytes:
    """The concatenation header of part `number` (from 1) of `total`; the reference is cut to its width.

    Raises `ValueError` for a part number outside 1..total or a total above 255.
    """
    if not 1 <= number <= total <= MAX_PARTS:
        raise ValueError(f"part {number} of {total} cannot be expressed")
    if reference_bits == 8:
        return bytes([5, 0x00, 3, reference & 0xFF, total, number])
    return bytes([6, 0x08, 4, *(reference & 0xFFFF).to_bytes(2, "big"), total, number])


def _capacity(alphabet: Alphabet, header_octets: int) -> int:
    """Bytes of unpacked user data that fit into one part."""
    octets = _USER_DATA_OCTETS - header_octets
    return octets * 8 // 7 if alphabet is Alphabet.GSM7 else octets // 2 * 2


def _encode(alphabet: Alphabet, text: str) -> bytes:
    return gsm7.encode(text) if alphabet is Alphabet.GSM7 else text.encode("utf-16-be")


def _pack(alphabet: Alphabet, text: str, capacity: int) -> tuple[bytes, ...]:
    parts: list[bytes] = []
    part = bytearray()
    for cluster in _GRAPHEME.findall(text):
        data = _encode(alphabet, cluster)
        pieces = [data] if len(data) <= capacity else [_encode(alphabet, character) for character in cluster]
        for piece in pieces:
            if len(part) + len(piece) > capacity:
                parts.append(bytes(part))
                part.clear()
            part += piece
    parts.append(bytes(part))
    return tuple(parts)
