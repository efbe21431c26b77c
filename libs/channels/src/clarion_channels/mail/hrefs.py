"""Links of one mail as they go out, in HTML: a few microseconds for each."""

import re
from functools import partial
from html import escape, unescape
from urllib.parse import quote

from clarion_channels.clicks import Clicks
from clarion_channels.mail.anchors import rewritten

_REFERENCE = re.compile(r"&(?:#[0-9]+;?|#x[0-9a-f]+;?|[a-z][a-z0-9]*;)", re.IGNORECASE)
"""In an attribute a name without its semicolon is text: "?a=1&copy=2" (HTML, section 13.2.5.73)."""
_BLANK = " \t\r\n\f"
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def href(clicks: Clicks, number: int, value: str) -> str:
    """The value of an `href` in its place, escaped as it came."""
    if not clicks.given:
        return value
    target = target_of(value)
    url = clicks.url(number, target)
    return value if url is target else escape(url)


def linked_html(clicks: Clicks, number: int, html: str) -> str:
    """HTML whose links all have one number."""
    return html if not clicks.given or "<" not in html else rewritten(html, partial(href, clicks, number))


def target_of(value: str) -> str:
    """The URL that the value of an `href` names: without its escapes, and in ASCII (RFC 3987 section 3.1)."""
    target = _REFERENCE.sub(lambda reference: unescape(reference[0]), value) if "&" in value else value
    target = target.strip(_BLANK)
    return target if target.isascii() else quote(target, safe=_PRINTABLE)
