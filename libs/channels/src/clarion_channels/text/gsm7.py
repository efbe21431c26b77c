"""The GSM 7-bit default alphabet with its extension table (3GPP TS 23.038 §6.2.1).

Septets are kept unpacked, one per byte, as SMPP carries them.
"""

ESCAPE = 0x1B
"""Announces a septet of the extension table; it never stands alone."""

_BASE = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
_EXTENSION = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}

_SEPTETS = {character: bytes([code]) for code, character in enumerate(_BASE) if code != ESCAPE} | {
    character: bytes([ESCAPE, code]) for character, code in _EXTENSION.items()
}
_EXTENDED = {code: character for character, code in _EXTENSION.items()}
_ALPHABET = frozenset(_SEPTETS)

_LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2008\u2009\u200a\u202f\t", " "),
        **dict.fromkeys("\u200b\u2060\ufeff\u00ad", ""),
        "\u2026": "...",
        "\u2022": "*",
        "\u00e7": "Ç",
    }
)


class NotGsm7(ValueError):
    """The text or the bytes are outside the GSM 7-bit alphabet."""


def is_gsm7(text: str) -> bool:
    """Whether every character is in the default alphabet or its extension table."""
    return _ALPHABET.issuperset(text)


def encode(text: str) -> bytes:
    """Unpacked septets of `text`; an extension character gives two. Raises `NotGsm7`, without naming the text."""
    try:
        return b"".join([_SEPTETS[character] for character in text])
    except KeyError:
        raise NotGsm7("a character is outside the GSM 7-bit alphabet") from None


def decode(septets: bytes) -> str:
    """The text of unpacked septets.

    A septet that the extension table does not know is read from the base table, as TS 23.038 asks of receivers.
    Raises `NotGsm7` for a byte above 0x7F, a doubled escape, and an escape at the end.
    """
    characters: list[str] = []
    escaped = False
    for septet in septets:
        if septet >= len(_BASE) or (escaped and septet == ESCAPE):
            raise NotGsm7("a byte is not a septet of the GSM 7-bit alphabet")
        if septet == ESCAPE:
            escaped = True
            continue
        characters.append(_EXTENDED.get(septet, _BASE[septet]) if escaped else _BASE[septet])
        escaped = False
    if escaped:
        raise NotGsm7("the septets end in the middle of an escape")
    return "".join(characters)


def transliterate(text: str) -> str:
    """`text` with typographic quotes, dashes and spaces replaced by their GSM 7-bit look-alikes.

    One such character would otherwise turn the whole message into UCS-2 and more than double its segments. It changes
    only what is a matter of typography: letters stay, but for the small c with cedilla, whose capital alone is in the
    alphabet.
    """
    return text.translate(_LOOKALIKES)
