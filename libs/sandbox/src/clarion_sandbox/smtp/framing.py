"""Lines and messages of SMTP (RFC 5321 §2.3.8, §4.5.2): only CRLF ends a line, only CRLF.CRLF ends a message."""

MAX_TEXT_LINE_BYTES = 998
END_OF_DATA = b"\r\n.\r\n"


def has_bare_newline(data: bytes | bytearray) -> bool:
    """Whether a CR or LF stands alone: the stuff smuggled messages are made of."""
    pairs = data.count(b"\r\n")
    return data.count(b"\n") != pairs or data.count(b"\r") != pairs


def unstuff(data: bytes) -> bytes:
    """The message without the dots the client put before lines that begin with one."""
    if data.startswith(b"."):
        data = data[1:]
    return data.replace(b"\r\n.", b"\r\n")


def longest_line(data: bytes) -> int:
    """Length of the longest line in bytes, its CRLF not counted."""
    return max(map(len, data.split(b"\r\n")))
