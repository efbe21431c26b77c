"""The GSM 7-bit default alphabet (3GPP TS 23.038 §6.2.1), unpacked: one septet per octet, as SMPP carries it."""

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_ESCAPE = 0x1B
_EXTENSION = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}


_EXTENDED = frozenset(_EXTENSION.values())
_ALPHABET = _EXTENDED.union(_BASIC) - {"\x1b"}


def length(text: str) -> int | None:
    """How many septets the text takes, None if it has a character outside the alphabet."""
    if not _ALPHABET.issuperset(text):
        return None
    return len(text) + sum(character in _EXTENDED for character in text)


def decode(septets: bytes) -> str:
    """The text of unpacked septets; an unknown escape shows as a space (TS 23.038 note 1).

    Raises:
        ValueError: an octet above 0x7F.
    """
    if septets and max(septets) > 0x7F:
        raise ValueError("not septets")
    if _ESCAPE not in septets:
        return "".join([_BASIC[septet] for septet in septets])
    text: list[str] = []
    escaped = False
    for septet in septets:
        if escaped:
            text.append(_EXTENSION.get(septet, " "))
            escaped = False
        elif septet == _ESCAPE:
            escaped = True
        else:
            text.append(_BASIC[septet])
    return "".join(text)
