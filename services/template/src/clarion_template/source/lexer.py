"""Cuts a minijinja source into text and constructs, with whitespace control applied to the text.

Follows the syntax of minijinja's lexer with its default delimiters: strings and brackets hide an end delimiter,
comments end at the first `#}`, raw blocks are text, `-` beside a delimiter trims the text there and `+` does not.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

RUST_WHITESPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What Rust's `str::trim` removes (Unicode White_Space); Python's `str.strip` removes four control characters more."""

_OPEN = re.compile(r"\{\{|\{%|\{#")
_RAW = re.compile(r"\{%([-+]?)\s*raw\s*([-+]?)%\}")
_END_RAW = re.compile(r"\{%([-+]?)\s*endraw\s*([-+]?)%\}")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<name>[^\W\d]\w*)
    |(?P<number>\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?)
    |(?P<operator>//|\*\*|==|!=|<=|>=|.)""",
    re.VERBOSE | re.DOTALL,
)
_CLOSERS = {"{{": ("}}", "-}}", "+}}"), "{%": ("%}", "-%}", "+%}")}


class SourceFault(Exception):
    """A source that is not accepted. `line` counts from 1; 0: unknown."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class Kind(Enum):
    TEXT = auto()
    OUTPUT = auto()
    TAG = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an expression: `kind` is "string", "name", "number" or "operator"."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of text as it is printed, or one construct: its place in the source and the tokens inside its delimiters."""

    kind: Kind
    start: int
    end: int
    text: str = ""
    tokens: tuple[Token, ...] = ()


@dataclass(slots=True)
class _Construct:
    """A construct as scanned; `segment` None: it prints nothing and does nothing (a comment)."""

    start: int
    end: int
    trims_before: bool
    trims_after: bool
    segment: Segment | None


def line_of(source: str, position: int) -> int:
    """The line a position is on, from 1."""
    return source.count("\n", 0, position) + 1


def segments(source: str) -> list[Segment]:
    """Every segment in order; empty texts and comments are left out. Raises SourceFault for what is not closed."""
    found: list[Segment] = []
    position = 0
    trims = False
    while True:
        opening = _OPEN.search(source, position)
        upto = opening.start() if opening else len(source)
        construct = _construct(source, opening) if opening else None
        text = source[position:upto]
        if trims:
            text = text.lstrip(RUST_WHITESPACE)
        if construct is not None and construct.trims_before:
            text = text.rstrip(RUST_WHITESPACE)
        if text:
            found.append(Segment(Kind.TEXT, position, upto, text))
        if construct is None:
            return found
        if construct.segment is not None and (construct.segment.kind is not Kind.TEXT or construct.segment.text):
            found.append(construct.segment)
        position, trims = construct.end, construct.trims_after


def _construct(source: str, opening: re.Match[str]) -> _Construct:
    start = opening.start()
    if opening.group() == "{#":
        close = source.find("#}", start + 2)
        if close < 0:
            raise SourceFault(line_of(source, start), "a comment is not closed")
        body = source[start + 2 : close]
        return _Construct(start, close + 2, body.startswith("-"), body.endswith("-"), None)
    raw = _RAW.match(source, start)
    return _raw(source, raw) if raw else _expression(source, start, opening.group())


def _raw(source: str, opening: re.Match[str]) -> _Construct:
    closing = _END_RAW.search(source, opening.end())
    if closing is None:
        raise SourceFault(line_of(source, opening.start()), "a raw block is not closed")
    text = source[opening.end() : closing.start()]
    if opening[2] == "-":
        text = text.lstrip(RUST_WHITESPACE)
    if closing[1] == "-":
        text = text.rstrip(RUST_WHITESPACE)
    segment = Segment(Kind.TEXT, opening.start(), closing.end(), text)
    return _Construct(opening.start(), closing.end(), opening[1] == "-", closing[2] == "-", segment)


def _expression(source: str, start: int, delimiter: str) -> _Construct:
    position = start + 2
    marked = source[position : position + 1]
    if marked in ("-", "+"):
        position += 1
    closers = _CLOSERS[delimiter]
    tokens: list[Token] = []
    depth = 0
    while True:
        if depth == 0 and source.startswith(closers, position):
            break
        token = _TOKEN.match(source, position)
        if token is None:
            raise SourceFault(line_of(source, start), f"{delimiter} is not closed")
        position = token.end()
        kind = token.lastgroup or "operator"
        if kind == "space":
            continue
        if kind == "operator":
            depth += (token.group() in "([{") - (token.group() in ")]}")
        tokens.append(Token(kind, token.group()))
    trims_after = source[position] == "-"
    end = position + (2 if source[position] not in "-+" else 3)
    kind_of = Kind.OUTPUT if delimiter == "{{" else Kind.TAG
    segment = Segment(kind_of, start, end, source[start:end], tuple(tokens))
    return _Construct(start, end, marked == "-", trims_after, segment)
