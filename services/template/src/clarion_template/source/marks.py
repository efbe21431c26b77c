"""Constructs out of the way: a source whose outputs and tags are replaced by plain words, for those who read its markup."""

import re
from collections.abc import Container
from dataclasses import dataclass

from clarion_template.source.lexer import Kind, SourceFault, line_of, segments

MARK = re.compile(r"qzk([0-9]{5})z")
"""Plain ASCII: a word in any text, attribute or style."""
_BRACE = re.compile(r"\{(?=[{%#])")


@dataclass(frozen=True, slots=True)
class Marked:
    """The text with marks, and the construct that stands for each, without whitespace control (which is done)."""

    text: str
    constructs: tuple[str, ...]
    lines: tuple[int, ...]


def mark(source: str) -> Marked:
    """Raises SourceFault for a source that is not closed, or holds a mark."""
    if (reserved := MARK.search(source)) is not None:
        raise SourceFault(line_of(source, reserved.start()), "holds a reserved word")
    pieces: list[str] = []
    constructs: list[str] = []
    lines: list[int] = []
    for segment in segments(source):
        if segment.kind is Kind.TEXT:
            pieces.append(segment.text)
            continue
        pieces.append(f"qzk{len(constructs):05}z")
        inner = segment.text[2:-2].removeprefix("-").removeprefix("+").removesuffix("-").removesuffix("+").strip()
        constructs.append(f"{segment.text[:2]} {inner} {segment.text[-2:]}")
        lines.append(line_of(source, segment.start))
    if len(constructs) > 99_999:
        raise SourceFault(0, "too many constructs")
    return Marked("".join(pieces), tuple(constructs), tuple(lines))


def unmark(text: str, marked: Marked, trimmed: Container[int] = ()) -> str:
    """The text with its constructs again; what only looks like one is written so that it prints itself. Tags in `trimmed` get
    whitespace control before them."""

    def construct(found: re.Match[str]) -> str:
        number = int(found[1])
        written = marked.constructs[number]
        return f"{{%-{written[2:]}" if number in trimmed else written

    return MARK.sub(construct, _escaped(text))


def _escaped(text: str) -> str:
    return _BRACE.sub('{{ "{" }}', text) if "{" in text else text
