"""Partials: `{% include "name" %}` is replaced by the partial's source, before anything else looks at a text.

A partial sees the variables of the text it is put into; what it sets itself does not show outside. It must be whole: every block
that it opens it closes.
"""

import re
from collections.abc import Callable, Iterator

from clarion_template.source.lexer import Kind, Segment, SourceFault, line_of, segments
from clarion_template.source.split import split

MAX_DEPTH = 8
MAX_EXPANDED_BYTES = 512 << 10
MAX_INCLUDES = 1_000
"""Of one text, those of its partials counted each time."""
CONTENT = "content"
"""What a layout includes to get the body."""

_REFERENCE = re.compile(r"(?P<name>[a-z0-9][a-z0-9_-]{0,63})(@(?P<version>[1-9][0-9]{0,8}))?")

Find = Callable[[str], str | None]
"""The source of a reference ("footer", "footer@3"); None where there is no such partial."""


def parse_reference(reference: str) -> tuple[str, int] | None:
    """Name and version (0: the newest) of a reference; None for what is none."""
    found = _REFERENCE.fullmatch(reference)
    return (found["name"], int(found["version"] or 0)) if found else None


def references(source: str) -> set[str]:
    """What a source includes. Raises SourceFault."""
    if "include" not in source:
        return set()
    return {reference for _, reference in _includes(source)}


def expand(source: str, find: Find, max_bytes: int = MAX_EXPANDED_BYTES) -> str:
    """The source with every partial put in. Raises SourceFault for one that is unknown, not whole, part of itself, nested
    more than 8 deep, or too large with its own."""
    if "include" not in source:
        return source
    return _Expansion(find, max_bytes).of(source, ())


class _Expansion:
    """One text's: what all its includes together may take."""

    def __init__(self, find: Find, max_bytes: int) -> None:
        self._find = find
        self._max_bytes = max_bytes
        self._included = 0
        self._known: dict[str, str] = {}

    def of(self, source: str, path: tuple[str, ...]) -> str:
        pieces: list[str] = []
        position = 0
        size = 0
        for segment, reference in _includes(source):
            self._included += 1
            if self._included > MAX_INCLUDES:
                raise SourceFault(line_of(source, segment.start), f"more than {MAX_INCLUDES} includes")
            piece = _trimmed(source, segment, self._partial(reference, path, line_of(source, segment.start)))
            pieces += (source[position : segment.start], piece)
            size += len(piece) + segment.start - position
            if size > self._max_bytes:
                raise SourceFault(line_of(source, segment.start), f"over {self._max_bytes} bytes with its partials")
            position = segment.end
        whole = "".join((*pieces, source[position:]))
        if len(whole.encode()) > self._max_bytes:
            raise SourceFault(0, f"over {self._max_bytes} bytes with its partials")
        return whole

    def _partial(self, reference: str, path: tuple[str, ...], line: int) -> str:
        inner = (*path, reference)
        if reference in path:
            raise SourceFault(line, f"includes itself: {' → '.join(inner[path.index(reference) :])}")
        if len(inner) > MAX_DEPTH:
            raise SourceFault(line, f"includes more than {MAX_DEPTH} deep: {' → '.join(inner)}")
        if (known := self._known.get(reference)) is not None:
            return known
        source = self._find(reference)
        if source is None:
            raise SourceFault(line, f"there is no partial {reference!r} for this locale")
        try:
            expanded = self.of(source, inner)
            assigns = split(expanded, segments(expanded)).assigns
        except SourceFault as fault:
            if fault.message.startswith(("includes ", "in the partial ")):
                raise
            raise SourceFault(fault.line, f"in the partial {reference!r}: {fault.message}") from None
        self._known[reference] = f"{{% with %}}{expanded}{{% endwith %}}" if assigns else expanded
        return self._known[reference]


def _includes(source: str) -> Iterator[tuple[Segment, str]]:
    for segment in segments(source):
        if segment.kind is not Kind.TAG or not segment.tokens or segment.tokens[0].text != "include":
            continue
        if len(segment.tokens) != 2 or segment.tokens[1].kind != "string":
            raise SourceFault(line_of(source, segment.start), 'an include names one partial: {% include "name" %}')
        reference = segment.tokens[1].text[1:-1]
        if parse_reference(reference) is None:
            raise SourceFault(line_of(source, segment.start), "a partial is named by 1-64 of a-z 0-9 _ -, and @version")
        yield segment, reference


def _trimmed(source: str, segment: Segment, piece: str) -> str:
    """The piece between comments that trim the text around it as the tag did."""
    before = "{#- #}" if source[segment.start + 2] == "-" else ""
    after = "{# -#}" if source[segment.end - 3] == "-" else ""
    return f"{before}{piece}{after}"
