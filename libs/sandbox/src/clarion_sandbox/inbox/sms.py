"""Short messages: text, and the segments it travelled in (3GPP TS 23.040 §9.2.3.24).

Facts: ``alphabet``, ``units`` (septets or UTF-16 units in all), ``segments`` (how many).
"""

from clarion_sandbox.ledger import Arrival
from clarion_sandbox.smpp import gsm7
from clarion_sandbox.smpp.message import utf16_units

from .json_value import Json
from .shown import Shown

_MAX_CHARACTERS = 4_000
_ALPHABETS = {"3": "Latin-1", "2": "binary", "4": "binary"}


def shown(arrival: Arrival) -> Shown:
    """The summary of a short message."""
    text = _text(arrival)
    alphabet = _alphabet(arrival, text)
    facts: dict[str, Json] = {
        "alphabet": alphabet,
        "units": _units(text, alphabet),
        "segments": len(segments(arrival)),
    }
    return Shown(arrival.attributes.get("source", ""), "", "", text[:_MAX_CHARACTERS], facts)


def segments(arrival: Arrival) -> list[str]:
    """The text of each segment: as they came in, or as the network would cut a text it took whole.

    A segment border may tear a surrogate pair; each half stands alone then.
    """
    text = _text(arrival)
    lengths = arrival.attributes.get("segment_units", "")
    if lengths:
        return _cut_at(text, [int(length) for length in lengths.split(",")])
    alphabet = _alphabet(arrival, text)
    return cut(text, alphabet) if alphabet in ("GSM-7", "UCS-2") else [text]


def cut(text: str, alphabet: str) -> list[str]:
    """One segment of 160 septets or 70 UTF-16 units; of several, each holds at most 153 or 67.

    No segment ends inside an escape sequence or a surrogate pair.
    """
    single, each = (160, 153) if alphabet == "GSM-7" else (70, 67)
    if _units(text, alphabet) <= single:
        return [text]
    parts, used = [""], 0
    for character in text:
        cost = _units(character, alphabet)
        if used + cost > each:
            parts.append("")
            used = 0
        parts[-1] += character
        used += cost
    return parts


def _cut_at(text: str, units: list[int]) -> list[str]:
    octets = text.encode("utf-16-be", "surrogatepass")
    parts, position = [], 0
    for length in units:
        parts.append(octets[position : position + 2 * length].decode("utf-16-be", "surrogatepass"))
        position += 2 * length
    return parts


def _units(text: str, alphabet: str) -> int:
    septets = gsm7.length(text) if alphabet == "GSM-7" else None
    return utf16_units(text) if septets is None else septets


def _alphabet(arrival: Arrival, text: str) -> str:
    named = _ALPHABETS.get(arrival.attributes.get("data_coding", ""))
    return named or ("UCS-2" if gsm7.length(text) is None or _is_ucs2(arrival) else "GSM-7")


def _is_ucs2(arrival: Arrival) -> bool:
    return arrival.attributes.get("data_coding") in ("8", "24")


def _text(arrival: Arrival) -> str:
    return arrival.content.decode("utf-8", "replace")
