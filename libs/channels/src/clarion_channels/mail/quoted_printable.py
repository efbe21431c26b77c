"""Quoted-printable (RFC 2045 §6.7) for pieces of a body that are encoded one by one and then concatenated."""

import re
from binascii import b2a_qp

MAX_LINE = 76
"""Characters of an encoded line without its CRLF, the soft break's "=" included."""

SOFT_BREAK = b"=\r\n"
"""Ends a line on the wire and adds nothing to the decoded text."""

_NEEDS_ENCODING = re.compile(r"[^ -<>-~]")
_LINE_END = re.compile(r"\r\n|\r|\n")


def encode(text: str) -> bytes:
    """`text` in UTF-8, quoted-printable, with CRLF line ends however it had them.

    It may follow any line end; every line leaves room for a soft break, so `SOFT_BREAK` may follow it. White space at
    the end of a line is encoded.
    """
    if len(text) < MAX_LINE and not _NEEDS_ENCODING.search(text) and not text.endswith(" "):
        return text.encode("ascii")
    if "\n" in text or "\r" in text:
        text = _LINE_END.sub("\r\n", text)
    encoded = b2a_qp(text.encode(), istext=True)
    if b"\r\n" not in encoded:
        # b2a_qp breaks softly the way the data breaks its lines; data of one line gets bare LF.
        encoded = encoded.replace(b"=\n", SOFT_BREAK)
    last_line = encoded.rfind(b"\n") + 1
    if len(encoded) - last_line < MAX_LINE:
        return encoded
    cut = last_line + MAX_LINE - 1
    token = encoded.find(b"=", cut - 2, cut)
    if token >= 0:
        cut = token
    return encoded[:cut] + SOFT_BREAK + encoded[cut:]
