"""Links in HTML: where their `href` stands, and which of them may tell of clicks.

Found once, when a frame is made; only what a slot brings is searched for each mail. Left alone are links that lead to no
http or https URL (`mailto:`, `tel:`, anchors), those with the attribute `data-clarion-notrack`, and what stands in
comments, which Outlook reads as it likes.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence

from clarion_channels.mail.frame import Link, LinkedSlot, Part

MAX_LINKS = 500
"""Of one body; those behind them are left alone."""
NO_TRACK = "data-clarion-notrack"

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
"""Around the number of a slot, in a text that is searched; no source of a template may hold them."""
_SLOT = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
_TAG = re.compile(
    r"""<!--.*?-->|<(?:a|area)(?=[\s/])((?:[^<>"']|"[^"]*"|'[^']*')*+)>""",
    re.IGNORECASE | re.DOTALL,
)
_ATTRIBUTE = re.compile(r"""([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'=<>`]+)))?""")
_WEB = re.compile(r"\s*https?://", re.IGNORECASE)


def with_links(html: Sequence[str | int], linked: Collection[int] = ()) -> list[Part]:
    """A body with its links set apart, numbered in their order. `linked`: slots whose HTML may hold links."""
    if any(isinstance(part, str) and (_OPEN in part or _CLOSE in part) for part in html):
        return list(html)
    text = "".join(part if isinstance(part, str) else f"{_OPEN}{part}{_CLOSE}" for part in html)
    parts: list[Part] = []
    done = number = 0
    for start, end in _hrefs(text):
        pieces = tuple(_pieces(text[start:end]))
        if number >= MAX_LINKS or not _may_be_web(pieces):
            continue
        number = _add(parts, _pieces(text[done:start]), linked, number)
        parts.append(Link(number, pieces))
        number += 1
        done = end
    _add(parts, _pieces(text[done:]), linked, number)
    return parts


def rewritten(html: str, href: Callable[[str], str]) -> str:
    """HTML with `href` of every link's value, as it is escaped, in its place."""
    found: list[str] = []
    done = 0
    for start, end in _hrefs(html):
        if _WEB.match(html[start:end]):
            found += (html[done:start], href(html[start:end]))
            done = end
    return "".join((*found, html[done:]))


def _hrefs(html: str) -> Iterator[tuple[int, int]]:
    """Where the values of the links' `href` begin and end."""
    for tag in _TAG.finditer(html):
        if tag[1] is None:
            continue
        place: tuple[int, int] | None = None
        for attribute in _ATTRIBUTE.finditer(html, tag.start(1), tag.end(1)):
            name = attribute[1].lower()
            if name == NO_TRACK:
                place = None
                break
            if name == "href" and place is None and attribute.lastindex is not None and attribute.lastindex > 1:
                place = attribute.span(attribute.lastindex)
        if place is not None:
            yield place


def _pieces(text: str) -> Iterator[str | int]:
    for index, piece in enumerate(_SLOT.split(text)):
        if index % 2:
            yield int(piece)
        elif piece:
            yield piece


def _may_be_web(pieces: Sequence[str | int]) -> bool:
    """Whether it leads to http or https, as far as can be told before its slots are filled."""
    return bool(pieces) and (isinstance(pieces[0], int) or _WEB.match(pieces[0]) is not None)


def _add(parts: list[Part], pieces: Iterator[str | int], linked: Collection[int], number: int) -> int:
    """Append what stands between links; gives the number of the next one."""
    for piece in pieces:
        if isinstance(piece, int) and piece in linked and number < MAX_LINKS:
            parts.append(LinkedSlot(number, piece))
            number += 1
        else:
            parts.append(piece)
    return number
